"""From a long table of measurements to one series per stay, and to cases where a stay stands for a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from eagbench.api import Case

Index = npt.NDArray[np.integer[Any]]
Values = npt.NDArray[np.floating[Any]]


def series_by_stay(
    stay: Index, hours: Values, feature: Index, values: Values, precedence: Index, stays: int, features: int
) -> list[tuple[Values, Values]]:
    """Gathers measurements by stay and time; nothing is binned or carried forward.

    Of two values of a feature at the same time, the one from the place with the lower precedence number is kept, and
    of the same place the one that stands later in the table.

    Args:
        stay: Position of each measurement's stay, in [0, stays). Shape (M,).
        hours: Hours since the start of the observation window. Shape (M,).
        feature: Position of the feature, in [0, features). Shape (M,).
        values: Values in canonical units, none missing. Shape (M,).
        precedence: Position of the place among those that hold the feature. Shape (M,).
        stays: Number of stays.
        features: Number of features.

    Returns:
        For each stay the distinct times (T,), float64, increasing, and the values (T, features), float32, NaN where
        nothing was measured. T is 0 for a stay without measurements.
    """
    # lexsort is stable: the last key leads, ties keep the table's order. What is written last into a cell stays.
    order = np.lexsort((-precedence, hours, stay))
    stay, hours, feature, values = stay[order], hours[order], feature[order], values[order]
    starts = np.ones(len(stay), dtype=bool)  # (M,) whether a new (stay, time) begins here
    starts[1:] = (stay[1:] != stay[:-1]) | (hours[1:] != hours[:-1])
    row = np.cumsum(starts) - 1  # (M,)
    table = np.full((int(starts.sum()), features), np.nan, dtype=np.float32)  # (R, F)
    table[row, feature] = values
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
    """One case per chosen stay, where the source has no patient id: the stay stands for a patient.

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
