"""Benchmark settings that higher-level packages read: the wording of records and the reading of answers."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from eagbench.contracts.components import StrictParams

LEVELS = tuple(percent / 100 for percent in range(5, 100, 5))


class AnswerMode(StrictParams):
    """How to read a probability from a policy; set by the benchmark, the same for every method that prompts.

    Attributes:
        mode: `greedy`: the answer of one greedy text. `mean_of_n`: the mean of the parsed answers of `samples` sampled
            texts. `expectation`: the policy writes its reasoning greedily up to the answer's opening tag. The answer is
            the mean of the `levels`, weighted by their probability as the next text, to two decimals.
        levels: Probabilities that an answer can be, increasing and with two decimals, each 0.05 apart by default. A
            rare outcome needs lower ones: at 0.05 most patients are alike.
        samples: Texts per case in `mean_of_n`.
        temperature: Temperature of these samples.
    """

    mode: Literal["greedy", "mean_of_n", "expectation"] = "greedy"
    levels: tuple[float, ...] = Field(default=LEVELS, min_length=2)
    samples: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """Allow `answer: expectation` in a benchmark."""
        return {"mode": value} if isinstance(value, str) else value

    @field_validator("levels")
    @classmethod
    def _can_be_written(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= level <= 1 or round(level, 2) != level for level in levels):
            raise ValueError("`levels` are probabilities with at most two decimals, as answers write them")
        if any(level >= following for level, following in pairwise(levels)):
            raise ValueError("`levels` increase, and none is there twice")
        return tuple(level + 0.0 for level in levels)  # a -0.0 would be written as -0.00


Statistic = Literal["last", "lowest", "highest", "mean", "count"]


class RecordTextParams(StrictParams):
    """The wording of records and prompts, the same for every method of a comparison.

    Attributes:
        values: `raw` numbers, numbers `flagged` H, L or N against the reference range, `compact`: only what was
            measured, numbers outside the reference range marked, or a number's `quantile` bin among the training cases.
        periods: Number of equal parts of the observation window; the text shows the last value of each. None shows
            every recorded time.
        shows: What the text shows of each part instead of its last value alone (quantile): the `last` value, the
            `lowest`, the `highest`, their `mean`, or the `count` of values.
        bins: Number of quantile bins.
        units: Whether a feature's line shows the unit (raw, flagged and compact).
        reference_ranges: Whether a feature's line shows the reference range (raw and flagged).
        instructions: `full` sentences, or the `short` form, which only names the answer format, for policies that were
            pre-trained on the formats.
    """

    values: Literal["raw", "flagged", "compact", "quantile"] = "raw"
    periods: int | None = Field(default=None, ge=1)
    shows: tuple[Statistic, ...] = Field(default=("last",), min_length=1)
    bins: int = Field(default=10, ge=2, le=100)
    units: bool = True
    reference_ranges: bool = True
    instructions: Literal["full", "short"] = "full"

    @model_validator(mode="after")
    def _statistics_can_be_shown(self) -> RecordTextParams:
        if len(set(self.shows)) < len(self.shows):
            raise ValueError("`shows` names a statistic twice")
        if self.shows != ("last",) and (self.values != "quantile" or self.periods is None):
            raise ValueError(
                "`shows` other than the last value needs `values: quantile` and `periods`, the parts of which it is"
            )
        return self
