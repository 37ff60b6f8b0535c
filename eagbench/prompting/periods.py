"""What the text shows of a record's series: every value, or statistics of equal parts of the observation window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eagbench.config.settings import Statistic
from eagbench.contracts.records import FloatArray, IntArray


def ends(hours: float, periods: int) -> FloatArray:
    """Return the ends of the periods in hours, shape (P,)."""
    found: FloatArray = np.arange(1, periods + 1) * hours / periods
    return found


def last_values(values: FloatArray, times: FloatArray, hours: float, periods: int) -> FloatArray:
    """Find the last value of each period.

    Args:
        values: Measurements, NaN where nothing was measured, (T, F).
        times: Their hours, increasing, (T,).
        hours: Length of the window.
        periods: P, number of its equal parts.

    Returns:
        Shape (P, F), float32; NaN where a period has no value.
    """
    last = np.full((periods, values.shape[1]), np.nan, dtype=np.float32)
    row, column = np.nonzero(~np.isnan(values))
    # Rows are in order of time, so a repeated (period, feature) keeps its last value.
    last[_period_of(times, hours, periods)[row], column] = values[row, column]
    return last


def summaries(
    values: FloatArray, times: FloatArray, hours: float, periods: int, statistics: Sequence[Statistic]
) -> dict[Statistic, FloatArray]:
    """Compute statistics of each period; see `last_values`.

    Returns:
        For each statistic shape (P, F), float32; NaN where a period has no value.
    """
    return {statistic: _summary(values, times, hours, periods, statistic) for statistic in statistics}


def _summary(values: FloatArray, times: FloatArray, hours: float, periods: int, statistic: Statistic) -> FloatArray:
    if statistic == "last":
        return last_values(values, times, hours, periods)
    row, column = np.nonzero(~np.isnan(values))
    place, known = (_period_of(times, hours, periods)[row], column), values[row, column].astype(float)
    shape = (periods, values.shape[1])
    count = np.zeros(shape)
    np.add.at(count, place, 1)
    if statistic == "count":
        found = count
    elif statistic == "mean":
        found = np.zeros(shape)
        np.add.at(found, place, known)
        found = found / np.maximum(count, 1)
    else:
        least = statistic == "lowest"
        found = np.full(shape, np.inf if least else -np.inf)
        (np.minimum if least else np.maximum).at(found, place, known)
    return np.where(count > 0, found, np.nan).astype(np.float32)


def _period_of(times: FloatArray, hours: float, periods: int) -> IntArray:
    """Return the period of each time, shape (T,): on a border the later one, at the end of the window the last."""
    found: IntArray = np.clip((np.asarray(times) * periods / hours).astype(int), 0, periods - 1)
    return found
