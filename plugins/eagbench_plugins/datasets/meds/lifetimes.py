"""Leaves out labels that contradict when their subject was born or died.

MEDS puts birth and death on the same timeline as everything else, and nothing keeps a label file from asking about a
subject who is already dead (MEDS-DEV 240, MEDS_transforms 209), or not yet born.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from eagbench.api import BoolArray, FloatArray
from eagbench_plugins.datasets.meds.elapsed import HOUR, elapsed_in

BIRTH, DEATH = "MEDS_BIRTH", "MEDS_DEATH"
# Converters append what they know of the source: MEDS_DEATH//HOSPITAL.
IS_BIRTH = (pl.col("code") == BIRTH) | pl.col("code").str.starts_with(f"{BIRTH}//")
IS_DEATH = (pl.col("code") == DEATH) | pl.col("code").str.starts_with(f"{DEATH}//")
# Why such a label is left out, in the order applied.
REASONS = (
    "dead at or before the prediction time",
    "born at or after the prediction time, or after a value of the window",
)


@dataclass(frozen=True, slots=True)
class Contradictions:
    """Which cases contradict their subject's lifetime. Each of shape (N,).

    Attributes:
        dead: The subject died at or before the prediction time.
        unborn: The subject was born at or after the prediction time, or after a value of the window.
    """

    dead: BoolArray
    unborn: BoolArray

    def counts(self) -> dict[str, int]:
        """Count them by `REASONS`; a case counts for the first that applies."""
        return dict(zip(REASONS, (int(self.dead.sum()), int((self.unborn & ~self.dead).sum())), strict=True))


def contradictions(cases: pl.DataFrame, first_hours: FloatArray) -> Contradictions:
    """Find the cases that contradict their subject's lifetime.

    Args:
        cases: `start`, `prediction_time`, and `birth` and `death` as `lifetimes_of` finds them. Length N.
        first_hours: Hours from `start` to the first value, NaN where there is none. Shape (N,).
    """
    born_after = elapsed_in(HOUR, cases["birth"] - cases["start"]) > first_hours
    return Contradictions(
        dead=(cases["death"] <= cases["prediction_time"]).fill_null(False).to_numpy(),
        unborn=(cases["birth"] >= cases["prediction_time"]).fill_null(False).to_numpy() | born_after,
    )


def lifetimes_of(facts: pl.DataFrame) -> pl.DataFrame:
    """Return `subject_id`, `birth` and `death`, the earliest of each, null where unknown.

    Args:
        facts: Events of birth and death: `subject_id`, `time`, `code`.
    """
    return facts.group_by("subject_id").agg(
        pl.col("time").filter(IS_BIRTH).min().alias("birth"), pl.col("time").filter(IS_DEATH).min().alias("death")
    )
