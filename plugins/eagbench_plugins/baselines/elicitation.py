"""The stage `feature_prior`: ask the frozen policy about the features of a task, but not about any case.

Each question uses the style `vanilla`. The answer is started with its opening tag, and its value is the expectation
over the declared levels 0.05, 0.10, ... 0.95. This takes one pass and no sampling, and no answer can be unparsed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from eagbench.api import (
    ANSWER_LEVELS,
    STYLES,
    Cases,
    Feature,
    FloatArray,
    LanguageModel,
    StageRun,
    Task,
    open_policy,
)

_FILE = "feature_prior.json"
_STYLE = STYLES["vanilla"]
# Questions per call of the model, so that a progress bar moves.
_CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class FeaturePrior:
    """A policy's prior beliefs about F features.

    Attributes:
        features: Names of the features.
        relevance: Relevance of each feature to the task's outcome, in (0, 1), shape (F,).
        correlation: Strength of the relation of two features, whatever its direction, in (0, 1), symmetric, 0 on the
            diagonal, shape (F, F).
    """

    features: tuple[str, ...]
    relevance: FloatArray
    correlation: FloatArray

    def save(self, folder: Path) -> None:
        """Write `feature_prior.json`."""
        content = {
            "features": list(self.features),
            "relevance": self.relevance.tolist(),
            "correlation": self.correlation.tolist(),
        }
        (folder / _FILE).write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> FeaturePrior:
        """Read what `save` wrote."""
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        return cls(tuple(content["features"]), np.array(content["relevance"]), np.array(content["correlation"]))


def elicit(run: StageRun) -> None:
    """Ask the policy about every feature and every pair of features.

    Of the input `cases`, only the features and the task are read.
    """
    cases: Cases = run.inputs["cases"]
    features, task = cases.features, cases.task
    pairs = list(combinations(range(len(features)), 2))
    questions = [relevance_question(feature, task) for feature in features]
    questions += [correlation_question(features[i], features[j], task) for i, j in pairs]
    answers = _answers(open_policy(run.inputs["policy"]), questions, run)
    correlation = np.zeros((len(features), len(features)))
    for (i, j), answer in zip(pairs, answers[len(features) :], strict=True):
        correlation[i, j] = correlation[j, i] = answer
    FeaturePrior(cases.feature_names, answers[: len(features)], correlation).save(run.out)


def relevance_question(feature: Feature, task: Task) -> str:
    """Write the prompt that asks how much a feature tells about the outcome."""
    return _prompt(
        task,
        f"How much does {_described(feature)}, in the first {task.window_hours:g} hours of observation, tell about how "
        f"likely it is that a patient will {task.outcome}? 0 is nothing, 1 is as much as one measurement can.",
    )


def correlation_question(first: Feature, second: Feature, task: Task) -> str:
    """Write the prompt that asks how closely two features are related."""
    return _prompt(
        task,
        f"How closely are {_described(first)} and {_described(second)} related in such patients, whatever the "
        "direction? 0 is not at all, 1 is that one tells the other.",
    )


def _prompt(task: Task, question: str) -> str:
    return (
        f"You are {task.role}.\n\nQuestion: {question}\n\n"
        f"Answer with the number only, in this format:\n{_STYLE.answer_open}0.00{_STYLE.answer_close}\n"
        "The number is a decimal number between 0 and 1 with two decimals.\n"
    )


def _described(feature: Feature) -> str:
    return feature.label if feature.unit == "1" else f"{feature.label} ({feature.unit})"


def _answers(model: LanguageModel, questions: Sequence[str], run: StageRun) -> FloatArray:
    """Compute the policy's expectation for each question, shape (Q,)."""
    levels = np.array([float(level) for level in ANSWER_LEVELS])  # (L,)
    parts = [np.empty(0)]
    starts = range(0, len(questions), _CHUNK)
    for start in run.progress(starts, "ask", len(starts)):
        chunk = questions[start : start + _CHUNK]
        weights = model.continuation_probabilities(chunk, [_STYLE.answer_open] * len(chunk), ANSWER_LEVELS)  # (Q, L)
        parts.append(weights @ levels)
    return np.concatenate(parts)
