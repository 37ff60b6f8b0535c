"""Cases as dense arrays, for models that read columns."""

from __future__ import annotations

import numpy as np

from eagbench.contracts.records import Cases, FloatArray


def time_grid(cases: Cases, periods: int) -> FloatArray:
    """Return the last value of each feature in each of `periods` equal parts of the observation window.

    Columns are found by name, so a record that lists its features in another order gives the same array.

    Args:
        cases: N cases.
        periods: Number of parts, at least 1.

    Returns:
        Shape (N, periods, F), float32, NaN where a period has no value. Nothing is carried forward.
    """
    names = cases.feature_names
    hours = cases.task.window_hours
    grid = np.full((len(cases), periods, len(names)), np.nan, dtype=np.float32)  # (N, P, F)
    for n, case in enumerate(cases):
        if not len(case.times):
            continue
        values = case.values_in_order(names)  # (T, F)
        period = np.clip((case.times / hours * periods).astype(int), 0, periods - 1)  # (T,)
        row, column = np.nonzero(~np.isnan(values))
        # Rows are in order of time, so for a repeated (period, feature) the assignment keeps the last value.
        grid[n, period[row], column] = values[row, column]
    return grid


def as_recorded(limit: float) -> float:
    """Round a limit as records round their values, to float32, so that a value equal to it is neither below nor above.

    A pH of 7.35 stands in a record as 7.3499999, and a creatinine of 1.2 as 1.2000000477.
    """
    return float(np.float32(limit))
