"""Turns a long table of measurements into one series per stay, and into cases where each stay counts as a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from eagbench.api import Case

Index = npt.NDArray[np.integer[Any]]
Values = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class StayMeasurements:
    """M measurements of N stays, one after the other.

    Attributes:
        stay: Position of each measurement's stay, in [0, N). Shape (M,).
        hours: Hours since the start of the observation window. Shape (M,).
        feature: Position of the feature among the columns. Shape (M,).
        values: Values in canonical units, none missing. Shape (M,).
        precedence: Position of the place among those that hold the feature. Shape (M,).
    """

    stay: Index
    hours: Values
    feature: Index
    values: Values
    precedence: Index

    @classmethod
    def of_feature(cls, stay: Index, hours: Values, feature: int, values: Values, precedence: int = 0) -> Self:
        """Return the measurements of one feature from one place, all of shape (M,)."""
        return cls(stay, hours, np.full(len(stay), feature), values, np.full(len(stay), precedence))

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the measurements of all parts, in the order of the parts (at least one)."""
        return cls(
            stay=np.concatenate([part.stay for part in parts]),
            hours=np.concatenate([part.hours for part in parts]),
            feature=np.concatenate([part.feature for part in parts]),
            values=np.concatenate([part.values for part in parts]),
            precedence=np.concatenate([part.precedence for part in parts]),
        )


def series_by_stay(measured: StayMeasurements, stays: int, features: int) -> list[tuple[Values, Values]]:
    """Gather measurements by stay and time; nothing is binned or carried forward.

    Of two values of a feature at the same time, the one from the place with the lower precedence number is kept, and
    of the same place the one that comes later in the table.

    Args:
        measured: Measurements of all stays.
        stays: Number of stays.
        features: Number of features.

    Returns:
        For each stay the distinct times (T,), float64, increasing, and the values (T, features), float32, NaN where
        nothing was measured. T is 0 for a stay without measurements.
    """
    # lexsort is stable: the last key leads, ties keep the table's order. What is written last into a cell stays.
    order = np.lexsort((-measured.precedence, measured.hours, measured.stay))
    stay, hours = measured.stay[order], measured.hours[order]
    starts = np.ones(len(stay), dtype=bool)  # (M,) whether a new (stay, time) begins here
    starts[1:] = (stay[1:] != stay[:-1]) | (hours[1:] != hours[:-1])
    row = np.cumsum(starts) - 1  # (M,)
    table = np.full((int(starts.sum()), features), np.nan, dtype=np.float32)  # (R, F)
    table[row, measured.feature[order]] = measured.values[order]
    times = hours[starts].astype(np.float64)  # (R,)
    bounds = np.searchsorted(stay[starts], np.arange(stays + 1))
    return [(times[a:b], table[a:b]) for a, b in pairwise(bounds)]


def cases_of_stays(
    chosen: Index,
    ids: Sequence[str],
    features: tuple[str, ...],
    series: Sequence[tuple[Values, Values]],
    static: Mapping[str, Values],
) -> tuple[Case, ...]:
    """Build one case per chosen stay, for a source without patient ids: each stay counts as a patient.

    Args:
        chosen: Positions of the stays that become cases. Shape (C,).
        ids: Names of all N stays.
        features: Names of the columns.
        series: Times and values of each stay, as `series_by_stay` returns them.
        static: Facts by name, each of shape (N,).
    """
    return tuple(
        Case(
            case_id=ids[i],
            patient_id=ids[i],
            features=features,
            times=series[i][0],
            values=series[i][1],
            static={name: float(column[i]) for name, column in static.items()},
        )
        for i in chosen
    )
