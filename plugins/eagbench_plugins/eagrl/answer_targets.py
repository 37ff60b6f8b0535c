"""What a text to learn answers, if not what the search found, and what of its reasoning stands before the answer.

The answers of a search are drawn by a policy that knows no label yet, and the reward picks the better ones: 0.10 here,
0.35 there, for the same outcome. A small policy needs many examples to see the label through that. The label itself
is a cleaner target, and the expert's cross-fitted probability a calibrated one.

The levels are 0.05 apart by default, and where an outcome is rare most patients share the lowest: rounded to them,
LightGBM's own probabilities on PhysioNet 2012 lose 0.016 of AUROC. With `soft_answers` a case is learnt in several
versions whose levels have the target as their mean; a policy that is asked by `expectation` then answers between them.

Behind reasoning a small pre-trained policy hardly learns any of them, next to the record it does (docs/eagrl.md has the
figures). So its answer may be learnt in both places, in one format (`bare_answers`).

The steps of a policy that can't copy from the record are noise: of those that `tiny` found on PhysioNet 2012, one in a
hundred said what the record says of the feature that it had asked about. Then what is left to learn is which features
matter in this patient, and how high the risk is (`learnt_reasoning: citations`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from eagbench.api import (
    Cases,
    LabelledCases,
    MethodPlan,
    StageNode,
    StageRun,
    Style,
    UserError,
    probability_text,
    question,
    read_cross_fitted_probability,
    write_answer,
)
from eagbench_plugins.eagrl.distillation import SelectedTrajectory

AnswerTarget = Literal["label", "expert"]
# A component by name, or a mapping with `name` and its parameters.
ComponentSpec = str | dict[str, Any]


def expert_to_learn_from(expert: ComponentSpec | None, plan: MethodPlan, method: str) -> StageNode:
    """Declare the expert's cross-fitted probabilities of the training cases.

    Args:
        expert: The expert; None is refused.
        plan: The plan for one fold and seed.
        method: Name of the method, for the error message.

    Raises:
        UserError: The method has no expert.
    """
    if expert is None:
        raise UserError(
            "the answers are to aim at the expert's probability, and the method has no expert",
            where=f"method {method}, answer_target",
            hint="give the method `expert: lightgbm` (or another one), or write `answer_target: label`",
        )
    return plan.cross_fitted_salience(plan.component("expert", expert, "expert"))


def answer_levels(target: AnswerTarget, data: LabelledCases, run: StageRun) -> dict[str, float]:
    """Compute the level nearest each case's target.

    Args:
        target: The label, or the probability by an expert that was not trained on the patient.
        data: The training cases.
        run: The stage's run, with the parameter `levels`, and with the input `salience` if the target is the expert's
            probability.
    """
    levels = run.params["levels"]
    return {case_id: nearest(aim, levels) for case_id, aim in answer_aims(target, data, run).items()}


def answer_aims(target: AnswerTarget, data: LabelledCases, run: StageRun) -> dict[str, float]:
    """Return each case's target itself; see `answer_levels`."""
    if target == "expert":
        aims = read_cross_fitted_probability(run.inputs["salience"])
        return {case_id: aims[case_id] for case_id in data.cases.case_ids}
    return dict(zip(data.cases.case_ids, data.labels.astype(float).tolist(), strict=True))


def levels_around(aim: float, levels: Sequence[float], n: int, rng: np.random.Generator) -> list[float]:
    """Draw n levels from the two around a target, in shares that have it as their mean to within a step / n.

    Outside the levels it is the outermost one, n times.

    Args:
        aim: The target.
        levels: The probabilities that an answer can be, increasing.
        n: How many.
        rng: Random generator.
    """
    below = max((level for level in levels if level <= aim), default=levels[0])
    above = min((level for level in levels if level >= aim), default=levels[-1])
    share = (aim - below) / (above - below) if above > below else 0.0
    n_above = int(n * share + rng.random())
    return [float(level) for level in rng.permutation([above] * n_above + [below] * (n - n_above))]


def nearest(aim: float, levels: Sequence[float]) -> float:
    """Find the level nearest a target."""
    return min(levels, key=lambda level: abs(level - aim))


def with_answers(found: Sequence[Mapping[str, Any]], levels: Mapping[str, float], style: Style) -> list[dict[str, Any]]:
    """Replace the probability of every readable trajectory by its case's level.

    Args:
        found: Lines of `trajectories.jsonl`.
        levels: Level by case id.
        style: The format of the trajectories.
    """
    return [
        {**line, "trajectories": [_with_answer(t, levels[line["case_id"]], style) for t in line["trajectories"]]}
        for line in found
    ]


def _with_answer(trajectory: Mapping[str, Any], level: float, style: Style) -> Mapping[str, Any]:
    if trajectory["probability"] is None:
        return trajectory
    return {**trajectory, "probability": level, "text": answered(trajectory["text"], level, style)}


def answered(text: str, level: float, style: Style) -> str:
    """Replace the probability of a readable text."""
    start = text.rindex(style.answer_open) + len(style.answer_open)
    end = text.index(style.answer_close, start)
    return text[:start] + probability_text(level) + text[end:]


def without_steps(found: Sequence[Mapping[str, Any]], cases: Cases, style: Style) -> list[dict[str, Any]]:
    """Leave of every readable trajectory its list of features and its answer.

    Args:
        found: Lines of `trajectories.jsonl`.
        cases: The training cases.
        style: The format of the trajectories; it cites features.
    """
    asked = question(cases.task)

    def shortened(trajectory: Mapping[str, Any]) -> Mapping[str, Any]:
        probability = trajectory["probability"]
        if probability is None:
            return trajectory
        text = write_answer(style, [], trajectory["cited_features"], probability, asked)
        return {**trajectory, "steps": [], "text": text}

    return [{**line, "trajectories": [shortened(t) for t in line["trajectories"]]} for line in found]


def bare_answers(selected: Sequence[SelectedTrajectory], cases: Cases, style: Style) -> list[SelectedTrajectory]:
    """Write each selected trajectory's answer without steps and features, once for each case and probability.

    Only the probability is learnt of it. If the rest were, too, the policy would learn to leave out its reasoning:
    SmolLM2 wrote bare answers about two thirds of the patients held out, and cited nothing.

    Args:
        selected: The trajectories to learn, including repeats.
        cases: The training cases.
        style: The format of the trajectories; the answers are in the same one.
    """
    distinct = {(item.case_id, item.probability): item for item in selected}
    return [
        replace(item, text=write_answer(style, [], [], item.probability, question(cases.task)), format_weight=0.0)
        for item in distinct.values()
    ]
