"""The settings of a benchmark that rooms above read: how records are worded, how answers are read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from eagbench.contracts.components import StrictParams


class AnswerMode(StrictParams):
    """How a probability is read from a policy; declared by the benchmark, the same for every method that prompts.

    Attributes:
        mode: `greedy`: the answer of one greedy text. `mean_of_n`: the mean of the parsed answers of `samples` sampled
            texts. `expectation`: the reasoning is written greedily up to the answer's opening tag, then the declared
            levels 0.05, 0.10, ... 0.95 are weighed by their probability as the next text; to two decimals.
        samples: Texts per case in `mean_of_n`.
        temperature: Temperature of these samples.
    """

    mode: Literal["greedy", "mean_of_n", "expectation"] = "greedy"
    samples: int = Field(default=8, ge=1)
    temperature: float = Field(default=1.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        """Lets a benchmark write `answer: expectation`."""
        return {"mode": value} if isinstance(value, str) else value


class RecordTextParams(StrictParams):
    """How records and prompts are worded; the same for every method of a comparison.

    Attributes:
        values: `raw` numbers, numbers `flagged` H, L or N against the reference range, or the `quantile` bin in which
            a number lies among the training cases.
        periods: Number of equal parts of the observation window; of each the last value is shown. None shows every
            recorded time.
        bins: Number of quantile bins.
        units: Whether the unit stands on a feature's line (raw and flagged).
        reference_ranges: Whether the reference range does (raw and flagged).
        instructions: `full` sentences, or the `short` form that names the answer format only, for policies that were
            pre-trained on the formats.
    """

    values: Literal["raw", "flagged", "quantile"] = "raw"
    periods: int | None = Field(default=None, ge=1)
    bins: int = Field(default=10, ge=2, le=100)
    units: bool = True
    reference_ranges: bool = True
    instructions: Literal["full", "short"] = "full"
