"""Turns durations into numbers, to the same bit whatever the number of rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from eagbench.api import FloatArray

HOUR = 3600e6  # microseconds
YEAR = 24 * HOUR * 365.2425


def elapsed_in(unit: float, durations: pl.Series) -> FloatArray:
    """Return durations (to the microsecond) in a unit of so many microseconds, NaN for null.

    This is how polars divides a column by a number, which made the cohorts of earlier versions. A column of one row it
    divides otherwise, so the same time could differ in its last bit between blocks.
    """
    microseconds = durations.dt.total_microseconds().cast(pl.Float64).fill_null(np.nan).to_numpy()
    found: FloatArray = microseconds * (1 / unit)
    return found
