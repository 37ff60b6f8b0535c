"""The answers of a method under one condition, as arrays over all training seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eagbench.contracts.records import BoolArray, FloatArray, IntArray
from eagbench.metrics.number_names import RECALIBRATED


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Predictions of one method under one condition, pooled over seeds; all arrays have one entry per answer (N,).

    `recalibrated` is None unless all of them were recalibrated.
    """

    seed: tuple[str, ...]
    fold: IntArray
    patient_id: tuple[str, ...]
    probability: FloatArray
    recalibrated: FloatArray | None
    label: IntArray
    parsed: BoolArray
    cited: tuple[frozenset[str], ...] | None
    reference: tuple[frozenset[str], ...] | None


def pooled_answers(rows: Sequence[Mapping[str, Any]]) -> Answers:
    """Pool the rows of a method's predictions on unchanged records."""
    return Answers(
        seed=tuple(str(row["seed"]) for row in rows),
        fold=np.array([row["fold"] for row in rows], dtype=np.int64),
        patient_id=tuple(row["patient_id"] for row in rows),
        probability=np.array([row["probability"] for row in rows], dtype=np.float64),
        recalibrated=_numbers([row.get(RECALIBRATED) for row in rows]),
        label=np.array([row["label"] for row in rows], dtype=np.int64),
        parsed=np.array([row["parsed"] for row in rows], dtype=bool),
        cited=_lists([row["cited_features"] for row in rows]),
        reference=_lists([row["teacher_features"] for row in rows]),
    )


def _numbers(values: list[float | None]) -> FloatArray | None:
    return None if None in values else np.array(values, dtype=np.float64)


def _lists(values: list[list[str] | None]) -> tuple[frozenset[str], ...] | None:
    if all(value is None for value in values):
        return None
    return tuple(frozenset(value or ()) for value in values)
