"""Asks in other words: the record stays as it is, and the prompt around it says the same otherwise."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from eagbench.api import STYLES, Case, PerturbationTraits, PromptSpec, StrictParams, Wording, read_wording, style_of
from eagbench_plugins.perturbations.record_change import RecordChange

_OWN = Path(__file__).parent / "wordings"


class PromptWordingParams(StrictParams):
    """The other words.

    Attributes:
        wordings: Other words by the name of the prompt that they stand for, each a file or the words themselves. They
            replace the built-in ones of that prompt; a prompt of your own has none but these. They ask for the prompt's
            own format.
        variant: Every reworded case gets these words, counted from 1 in the order of `wordings`; None draws for each
            case.
    """

    wordings: dict[str, Annotated[tuple[PromptSpec, ...], Field(min_length=1)]] = Field(default_factory=dict)
    variant: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _ask_for_one_format(self) -> PromptWordingParams:
        for name, specs in self.wordings.items():
            formats = {style_of(spec).format for spec in specs}
            if name in STYLES:
                formats.add(STYLES[name].format)
            if len(formats) > 1:
                raise ValueError(f"the words for '{name}' ask for several formats: {', '.join(sorted(formats))}")
        return self

    @model_validator(mode="after")
    def _has_the_variant(self) -> PromptWordingParams:
        for name, words in self.other_words().items():
            if self.variant is not None and self.variant > len(words):
                raise ValueError(f"there is no variant {self.variant}: '{name}' has {len(words)} other wordings")
        return self

    def other_words(self) -> Mapping[str, Sequence[Wording]]:
        """Return the other wordings of each prompt, at least one."""
        own = {name: tuple(style_of(spec).wording for spec in specs) for name, specs in self.wordings.items()}
        return {**{name: paraphrases(name) for name in STYLES}, **own}


@functools.cache
def paraphrases(name: str) -> tuple[Wording, ...]:
    """Read the built-in paraphrases of a built-in prompt, in the order of their numbers."""
    return tuple(read_wording(file) for file in sorted((_OWN / name).glob("*.yaml")))


class PromptWording(RecordChange):
    """A share of the cases is asked about in other words.

    Stands for another author of the prompt: the same question in the same answer format, with another role, order and
    turn of phrase. The record's own text does not change. A policy that learnt to answer one wording, and not the
    question, loses here. It applies to methods that prompt; a prompt of one's own needs `wordings`.
    """

    name = "prompt_wording"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0), severity_unit="share of the cases", applies_to=frozenset({"text"})
    )
    Params = PromptWordingParams
    params: PromptWordingParams

    def __init__(self, params: PromptWordingParams) -> None:
        super().__init__(params)
        self._words = params.other_words()

    def reworded(self) -> frozenset[str]:
        """Name the prompts that it has other words for."""
        return frozenset(self._words)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Reword the prompts about the case with probability `severity`, wherever a lower severity does."""
        drawn, choice = np.random.default_rng(seed).random(2)
        if drawn >= severity:
            return case
        return replace(case, wordings={name: self._chosen(words, float(choice)) for name, words in self._words.items()})

    def _chosen(self, words: Sequence[Wording], choice: float) -> Wording:
        return words[int(choice * len(words)) if self.params.variant is None else self.params.variant - 1]
