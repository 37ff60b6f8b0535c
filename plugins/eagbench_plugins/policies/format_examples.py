"""Random well-formed answers about real records, from which a policy learns the answer formats.

No label is used. The probability is drawn uniformly from the declared levels, and the cited features and the
subquestions' features from those observed. A subquestion's answer repeats what the record says about its feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eagbench.api import (
    ANSWER_LEVELS,
    Case,
    Cases,
    RecordText,
    Style,
    TrainingNames,
    prompt_text,
    question,
    write_answer,
)

_SUBQUESTIONS = ("What does the record say about {}?", "How is {}?", "Is {} of concern?")
_MOST_STEPS = 3
_MOST_CITED = 5
_RENAMED = 0.5


@dataclass(frozen=True, slots=True)
class FormatExample:
    """A prompt and a well-formed answer to it."""

    prompt: str
    answer: str


class FormatExamples:
    """Draws examples about unlabelled cases.

    Args:
        cases: Training cases.
        record_text: The fitted record text.
        names: Names that about every second record shows features under; None changes no name. An answer always cites
            a feature by its own name.
    """

    def __init__(self, cases: Cases, record_text: RecordText, names: TrainingNames | None = None) -> None:
        self._cases = cases
        self._record_text = record_text
        self._names = names
        self._question = question(cases.task)

    def draw(self, style: Style, rng: np.random.Generator, most_features: int | None = None) -> FormatExample:
        """Draw an example about a random case.

        Args:
            style: The format of the answer.
            rng: Random generator.
            most_features: If given, the record shows at most that many of the case's observed features.
        """
        case: Case = self._cases.items[int(rng.integers(len(self._cases)))]
        if most_features is not None:
            case = _with_some_features(case, int(rng.integers(_MOST_CITED, most_features + 1)), rng)
        case = often_renamed(case, self._names, rng)
        feature_texts = self._record_text.feature_texts(case, self._cases)
        observed = [name for name in case.observed() if name in feature_texts]
        asked = rng.permutation(observed)[: int(rng.integers(1, _MOST_STEPS + 1))]
        cited = rng.permutation(observed)[: int(rng.integers(1, _MOST_CITED + 1))]
        steps = [(_SUBQUESTIONS[int(rng.integers(len(_SUBQUESTIONS)))].format(n), feature_texts[n]) for n in asked]
        level = float(ANSWER_LEVELS[int(rng.integers(len(ANSWER_LEVELS)))])
        prompt = prompt_text(style, case, self._cases, self._record_text)
        return FormatExample(prompt, write_answer(style, steps, list(cited), level, self._question))


def often_renamed(case: Case, names: TrainingNames | None, rng: np.random.Generator) -> Case:
    """Write about every second record under names to train with; without such names nothing is drawn."""
    return names.draw(case, rng) if names and rng.random() < _RENAMED else case


def _with_some_features(case: Case, n_features: int, rng: np.random.Generator) -> Case:
    """Keep `n_features` of the case's observed features (all, if it has fewer), in the record's order."""
    observed = set(case.observed())
    columns = [column for column, name in enumerate(case.features) if name in observed]
    return case.with_columns(np.sort(rng.permutation(columns)[:n_features]))
