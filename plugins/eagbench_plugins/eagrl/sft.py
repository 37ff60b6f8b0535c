"""Stage `sft`: supervised fine-tuning of the policy, on selected trajectories (or answers alone: `answer_supervision`).

The output is a policy folder (`policy.json` and the files of model and tokenizer) with three more files:
`training.jsonl` (loss over the steps), `selected.json` (summary of the training texts) and `prior.json` (their share of
positive cases, for the prior correction of the answers).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eagbench.api import (
    LabelledCases,
    RecordText,
    StageRun,
    Style,
    TrainingNames,
    UserError,
    prompt_text,
    style_of,
    write_prior,
)
from eagbench_plugins.eagrl.answer_targets import (
    answer_aims,
    answer_levels,
    answered,
    bare_answers,
    levels_around,
    with_answers,
    without_steps,
)
from eagbench_plugins.eagrl.distillation import SelectedTrajectory, Selection, balanced, select
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.record_versions import VERSIONS, RecordVersions
from eagbench_plugins.eagrl.trajectories import read_trajectories


def fine_tune(run: StageRun) -> None:
    """Select the trajectories, train the policy, and write the policy folder.

    Params: `style`, `selection`, `answer_target`, `soft_answers`, `learnt_reasoning`, `bare_answers`, `levels`, `sft`.
    Inputs: `training`, `trajectories`, `policy`, `record_text`, and `salience` if the answers aim at the expert's
    probability.

    Raises:
        UserError: No trajectories are left to learn from, or those of one class only.
    """
    data = run.inputs["training"].train
    label = dict(zip(data.cases.case_ids, data.labels.tolist(), strict=True))
    found = read_trajectories(run.inputs["trajectories"])
    style, target = style_of(run.params["style"]), run.params["answer_target"]
    if target != "searched":
        found = with_answers(found, answer_levels(target, data, run), style)
    if run.params["learnt_reasoning"] == "citations":
        found = without_steps(found, data.cases, style)
    rules = Selection.model_validate(run.params["selection"])
    selected = select(found, label, rules)
    if {item.label for item in selected} != {0, 1}:
        raise UserError(
            f"{len(selected)} trajectories were selected, none of them of "
            + ("a positive case" if all(item.label == 0 for item in selected) else "a negative case"),
            where="stage sft, minimum_reward",
            hint="lower the thresholds, raise token_budget, or see summary.json of the trajectories: perhaps no answer "
            "could be read",
        )
    if run.params["bare_answers"]:
        bare = bare_answers(selected, data.cases, style)
        selected += balanced(bare) if rules.balance else bare
    aims = answer_aims(target, data, run) if run.params["soft_answers"] else None
    learn(selected, data, style, run, aims)


def learn(
    selected: Sequence[SelectedTrajectory],
    data: LabelledCases,
    style: Style,
    run: StageRun,
    aims: Mapping[str, float] | None = None,
) -> None:
    """Train the policy to write the selected texts, and write the policy folder.

    Args:
        selected: Texts to learn, including repeats.
        data: All training cases of the fold.
        style: The format of the texts.
        run: The stage's run, with the parameter `sft` and the inputs `policy` and `record_text`.
        aims: The probability that each case's versions have as their mean; None learns the texts as they are.
    """
    from eagbench_plugins.eagrl.sft_training import Example, train
    from eagbench_plugins.eagrl.trained_policy import free_trainer

    record_text = RecordText.load(run.inputs["record_text"])
    params = FineTuning.model_validate(run.params["sft"])
    case = {item.case_id: item for item in data.cases}
    names = TrainingNames(data.cases.features, params.other_names, params.invented_names)
    versions = RecordVersions(names, params.other_orders, run.seed)
    prompts: dict[str, list[str]] = {}
    levels: dict[str, list[float]] = {}
    for i, case_id in enumerate(dict.fromkeys(item.case_id for item in selected)):
        shown = versions.of(case[case_id], i)
        if aims is not None:
            shown *= VERSIONS // len(shown)
            levels[case_id] = levels_around(
                aims[case_id], run.params["levels"], VERSIONS, np.random.default_rng([run.seed, 8, i])
            )
        prompts[case_id] = [prompt_text(style, version, data.cases, record_text) for version in shown]
    examples = [
        Example(
            prompt=prompt,
            completion=answered(item.text, levels[item.case_id][version], style) if levels else item.text,
            format_weight=item.format_weight,
            version=version,
        )
        for item in selected
        for version, prompt in enumerate(prompts[item.case_id])
    ]
    train(examples, run.inputs["policy"], style, params, run)
    free_trainer()
    shutil.copyfile(run.inputs["policy"] / "policy.json", run.out / "policy.json")
    write_prior(run.out, [item.label for item in selected], data.labels)
    (run.out / "selected.json").write_text(json.dumps(_described(selected, levels), indent=1, sort_keys=True) + "\n")


def _described(selected: Sequence[SelectedTrajectory], levels: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Describe what was learnt; with soft answers each version's answer counts."""
    described: dict[str, Any] = {"trajectories": len(selected), "distinct": len(set(selected))}
    for name, value in (("negative", 0), ("positive", 1)):
        learnt = [item for item in selected if item.label == value]
        answers = [level for item in learnt for level in levels.get(item.case_id, [item.probability])]
        described[name] = {
            "trajectories": len(learnt),
            "answers_by_tenth": np.histogram(answers, bins=10, range=(0.0, 1.0))[0].tolist(),
        }
    return described
