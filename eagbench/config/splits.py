"""The ways to write `split`: shares or folds drawn by the seed, a file, the data set's own split, or a fact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from eagbench.config.strict import Strict

SOURCE = "source"
Share = Annotated[float, Field(gt=0, lt=1)]
Values = Annotated[tuple[str, ...], Field(min_length=1)]
# What to do with cases or patients that do not fit into a split.
Unfit = Literal["refuse", "leave_out"]


class SplitSpec(Strict):
    """How to split the patients: by shares, or into folds for out-of-fold predictions.

    With `folds`, each fold is held out once; `tuning` is the share of the remaining patients used for tuning.
    """

    train: float | None = Field(default=None, gt=0, lt=1)
    tuning: float = Field(default=0.1, gt=0, lt=1)
    held_out: float | None = Field(default=None, gt=0, lt=1)
    folds: int | None = Field(default=None, ge=2, le=100)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _one_way(self) -> SplitSpec:
        if self.folds is not None:
            if self.train is not None or self.held_out is not None:
                raise ValueError("give either `folds`, or the shares `train`, `tuning` and `held_out`")
        elif self.train is None or self.held_out is None:
            raise ValueError("give the shares `train`, `tuning` and `held_out`, or `folds`")
        elif abs(self.train + self.tuning + self.held_out - 1) > 1e-9:
            raise ValueError(f"the shares add up to {self.train + self.tuning + self.held_out:g}, not to 1")
        return self


class FileSplit(Strict):
    """A split that somebody else made, in a file.

    Attributes:
        file: CSV or Parquet with a column `patient_id`, `subject_id` or `case_id`, and a column `part` or `split` that
            says train, tuning or held_out.
        tuning: Share of the training patients to take for tuning, by the seed, where the file names none.
        missing: What to do with cases that the file does not name: `refuse`, or `leave_out` of every part.
        overlap: What to do with patients in two parts (of a file by case): `refuse`, or `leave_out` all their cases but
            the held-out ones (of a patient in training and tuning, all but the tuning ones).
        seed: Draws the tuning part; perturbations are drawn by it too.
    """

    file: Path
    tuning: Share = 0.1
    missing: Unfit = "refuse"
    overlap: Unfit = "refuse"
    seed: int = Field(default=0, ge=0)

    @property
    def folds(self) -> None:
        """No folds: one part is held out."""


class SourceSplit(Strict):
    """The data set's own split, as MEDS' `metadata/subject_splits.parquet`; `split: source` for short.

    Attributes:
        by: The word `source`.
        tuning: Share of the training patients to take for tuning, by the seed, where the source names none.
        missing: As in `FileSplit`.
        overlap: As in `FileSplit`.
        seed: As in `FileSplit`.
    """

    by: Literal["source"]
    tuning: Share = 0.1
    missing: Unfit = "refuse"
    overlap: Unfit = "refuse"
    seed: int = Field(default=0, ge=0)

    @property
    def folds(self) -> None:
        """No folds: one part is held out."""


class FactSplit(Strict):
    """A split by a fact of the data set, such as the years of admission (`anchor_year_group`) or the `hospital`.

    Attributes:
        by: The fact.
        train: Its values in the training part; None for all values that no other part names.
        tuning: Its values in the tuning part; or a share of the training patients, drawn by the seed.
        held_out: Its values in the held-out part.
        folds: Instead of `held_out`: number of folds. Each value is held out in one of them with all its cases.
        overlap: What to do with patients who have cases in two parts: as in `FileSplit`.
        seed: Draws folds and tuning patients; perturbations are drawn by it too.
    """

    by: str
    train: Values | None = None
    tuning: Annotated[
        Annotated[Share, Tag("split[share]")] | Annotated[Values, Tag("split[values]")],
        Discriminator(lambda value: "split[values]" if isinstance(value, list | tuple) else "split[share]"),
    ] = 0.1
    held_out: Values | None = None
    folds: int | None = Field(default=None, ge=2, le=100)
    overlap: Unfit = "refuse"
    seed: int = Field(default=0, ge=0)

    @field_validator("train", "tuning", "held_out", mode="before")
    @classmethod
    def _are_texts(cls, value: Any) -> Any:
        # A hospital's number is written 73 in YAML.
        is_whole = isinstance(value, list) and all(
            isinstance(item, int | str) and not isinstance(item, bool) for item in value
        )
        return [str(item) for item in value] if is_whole else value

    @model_validator(mode="after")
    def _one_way(self) -> FactSplit:
        tuning = self.tuning if isinstance(self.tuning, tuple) else ()
        if (self.folds is None) == (self.held_out is None):
            raise ValueError(f"give the values of '{self.by}' to hold out (`held_out: [...]`), or `folds`")
        if self.folds is not None and (self.train is not None or tuning):
            raise ValueError("with `folds` each value is held out once: leave `train` out and give `tuning` as a share")
        named = [*(self.train or ()), *tuning, *(self.held_out or ())]
        twice = sorted(value for value, count in Counter(named).items() if count > 1)
        if twice:
            raise ValueError(f"{', '.join(twice)} is named twice: a value belongs to one part")
        return self


def _kind(value: Any) -> str:
    """Tell which model a `split` is written for; the tags in brackets are left out of a message's path."""
    if isinstance(value, str):
        return "split[SourceSplit]"
    if isinstance(value, Mapping):
        if "file" in value:
            return "split[FileSplit]"
        if "by" in value:
            return "split[SourceSplit]" if value["by"] == SOURCE else "split[FactSplit]"
        return "split[SplitSpec]"
    return f"split[{type(value).__name__}]" if isinstance(value, Strict) else "split[SplitSpec]"


AnySplit = Annotated[
    Annotated[SplitSpec, Tag("split[SplitSpec]")]
    | Annotated[FileSplit, Tag("split[FileSplit]")]
    | Annotated[SourceSplit, Tag("split[SourceSplit]")]
    | Annotated[FactSplit, Tag("split[FactSplit]")],
    Discriminator(_kind),
]


def written_out(value: Any) -> Any:
    """Write `split: source` as the mapping that it is short for.

    Raises:
        ValueError: The split is another word.
    """
    if not isinstance(value, str):
        return value
    if value != SOURCE:
        raise ValueError(f"'{value}' doesn't name a split; the only word is `source`, the data set's own split")
    return {"by": SOURCE}


def with_short_form(schema: dict[str, Any]) -> None:
    """Add `split: source` to the JSON Schema of a split."""
    schema["oneOf"].append({"const": SOURCE})
