"""Random well-formed answers about real records: what the tiny policy learns its formats from.

No label enters: the probability is drawn uniformly from the declared levels, the cited features and the subquestions'
features from those observed, and a subquestion's answer repeats what the record says about its feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eagbench.api import ANSWER_LEVELS, STYLES, Case, Cases, RecordText, compose_prompt, question, write_answer

_SUBQUESTIONS = ("What does the record say about {}?", "How is {}?", "Is {} of concern?")
_MOST_STEPS = 3
_MOST_CITED = 5


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
    """

    def __init__(self, cases: Cases, record_text: RecordText) -> None:
        self._cases = cases
        self._record_text = record_text
        self._question = question(cases.task)
        self._read: dict[int, tuple[str, dict[str, str]]] = {}

    def record(self, index: int) -> str:
        """The record of the case at `index`."""
        return self._reading(index)[0]

    def draw(self, rng: np.random.Generator) -> FormatExample:
        """An example in a random style about a random case."""
        index = int(rng.integers(len(self._cases)))
        case: Case = self._cases.items[index]
        record, feature_texts = self._reading(index)
        style = list(STYLES.values())[int(rng.integers(len(STYLES)))]
        observed = [name for name in case.observed() if name in feature_texts]
        asked = rng.permutation(observed)[: int(rng.integers(1, _MOST_STEPS + 1))]
        cited = rng.permutation(observed)[: int(rng.integers(1, _MOST_CITED + 1))]
        steps = [(_SUBQUESTIONS[int(rng.integers(len(_SUBQUESTIONS)))].format(n), feature_texts[n]) for n in asked]
        level = float(ANSWER_LEVELS[int(rng.integers(len(ANSWER_LEVELS)))])
        prompt = compose_prompt(style, record, self._cases.task, self._record_text.params.instructions)
        return FormatExample(prompt, write_answer(style, steps, list(cited), level, self._question))

    def _reading(self, index: int) -> tuple[str, dict[str, str]]:
        if index not in self._read:
            case = self._cases.items[index]
            texts = self._record_text.feature_texts(case, self._cases)
            self._read[index] = (self._record_text.render(case, self._cases), texts)
        return self._read[index]
