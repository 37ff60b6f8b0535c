"""What the text shows of a record's series: every value, or statistics of equal parts of the observation window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eagbench.config.settings import RecordTextParams, Statistic
from eagbench.contracts.records import Cases, FloatArray, IntArray


def shown(
    values: FloatArray, times: FloatArray, cases: Cases, params: RecordTextParams
) -> tuple[FloatArray, dict[Statistic, FloatArray]]:
    """Select what the text shows.

    Args:
        values: Measurements, NaN where nothing was measured, (T, F).
        times: Their hours, increasing, (T,).
        cases: Cases of the same cohort, for the observation window.
        params: The wording.

    Returns:
        Times in hours, the ends of the periods, shape (P,); and of each statistic the values, shape (P, F). Without
        periods every value is the last of its time.
    """
    if params.periods is None:
        return times, {"last": values}
    hours = cases.task.window_hours
    ends = np.arange(1, params.periods + 1) * hours / params.periods
    return ends, summaries(values, times, hours, params.periods, params.shows)


def summaries(
    values: FloatArray, times: FloatArray, hours: float, periods: int, statistics: Sequence[Statistic]
) -> dict[Statistic, FloatArray]:
    """Compute statistics of each period.

    A time on a border is in the later period, the end of the window in the last one.

    Args:
        values: Measurements, NaN where nothing was measured, (T, F).
        times: Their hours, increasing, (T,).
        hours: Length of the window.
        periods: P, number of its equal parts.
        statistics: Which.

    Returns:
        For each statistic shape (P, F), float32; NaN where a period has no value.
    """
    row, column = np.nonzero(~np.isnan(values))
    period = np.clip((np.asarray(times) * periods / hours).astype(int), 0, periods - 1)  # (T,)
    place, known, shape = (period[row], column), values[row, column].astype(float), (periods, values.shape[1])
    measured = np.zeros(shape, bool)
    measured[place] = True
    return {
        statistic: np.where(measured, _summary(statistic, place, known, shape), np.nan).astype(np.float32)
        for statistic in statistics
    }


def _summary(
    statistic: Statistic, place: tuple[IntArray, IntArray], known: FloatArray, shape: tuple[int, int]
) -> FloatArray:
    """Summarise the values of each place; what stands where there are none has no meaning."""
    found: FloatArray = np.zeros(shape)
    match statistic:
        case "last":
            found[place] = known  # in order of time, so a place that comes again keeps its last value
        case "count":
            np.add.at(found, place, 1)
        case "mean":
            np.add.at(found, place, known)
            found /= np.maximum(_summary("count", place, known, shape), 1)
        case "lowest":
            found[:] = np.inf
            np.minimum.at(found, place, known)
        case "highest":
            found[:] = -np.inf
            np.maximum.at(found, place, known)
    return found
