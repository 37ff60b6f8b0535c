"""Leaves out labels that contradict when their subject was born or died.

MEDS puts birth and death on the same timeline as everything else, and nothing keeps a label file from asking about a
subject who is already dead (MEDS-DEV 240, MEDS_transforms 209), or not yet born.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from eagbench.api import BoolArray, FloatArray

BIRTH, DEATH = "MEDS_BIRTH", "MEDS_DEATH"
# Converters append what they know of the source: MEDS_DEATH//HOSPITAL.
IS_BIRTH = (pl.col("code") == BIRTH) | pl.col("code").str.starts_with(f"{BIRTH}//")
IS_DEATH = (pl.col("code") == DEATH) | pl.col("code").str.starts_with(f"{DEATH}//")


@dataclass(frozen=True, slots=True)
class Contradictions:
    """Which cases contradict their subject's lifetime. Each of shape (N,).

    Attributes:
        dead: The subject died at or before the prediction time.
        unborn: The subject was born at or after the prediction time, or after a value of the window.
    """

    dead: BoolArray
    unborn: BoolArray

    def exclusions(self) -> tuple[tuple[str, int], ...]:
        """Count them, in the order applied."""
        return (
            ("dead at or before the prediction time", int(self.dead.sum())),
            (
                "born at or after the prediction time, or after a value of the window",
                int((self.unborn & ~self.dead).sum()),
            ),
        )


def contradictions(cases: pl.DataFrame, lifetimes: pl.DataFrame, first_hours: FloatArray) -> Contradictions:
    """Find the cases that contradict their subject's lifetime.

    Args:
        cases: `subject_id`, `start` and `prediction_time`. Length N.
        lifetimes: What `lifetimes_of` returns.
        first_hours: Hours from `start` to the first value, NaN where there is none. Shape (N,).
    """
    joined = cases.join(lifetimes, on="subject_id", how="left", maintain_order="left")
    since_start = (joined["birth"] - joined["start"]).dt.total_microseconds() / 3600e6
    born_after = since_start.cast(pl.Float64).fill_null(np.nan).to_numpy() > first_hours
    return Contradictions(
        dead=(joined["death"] <= joined["prediction_time"]).fill_null(False).to_numpy(),
        unborn=(joined["birth"] >= joined["prediction_time"]).fill_null(False).to_numpy() | born_after,
    )


def lifetimes_of(facts: pl.DataFrame) -> pl.DataFrame:
    """Return `subject_id`, `birth` and `death`, the earliest of each, null where unknown.

    Args:
        facts: Events of birth and death: `subject_id`, `time`, `code`.
    """
    return facts.group_by("subject_id").agg(
        pl.col("time").filter(IS_BIRTH).min().alias("birth"), pl.col("time").filter(IS_DEATH).min().alias("death")
    )
