"""What counts as 0: the one tolerance of every comparison with 0 that decides a number of a run's tables."""

from __future__ import annotations

import numpy as np

from eagbench.contracts.records import FloatArray

# Metrics and their differences are of the order of 1, and sums of float64 in another order move them by some 1e-16 to
# 1e-14. So a number this near 0 is 0, and two numbers this near each other are equal.
ZERO = 1e-12


def percent_of(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Return 100 x part / |whole| elementwise; NaN where the whole is 0 (`ZERO`)."""
    size = np.abs(whole)
    out = np.full(np.shape(part), np.nan, dtype=np.float64)
    return np.divide(100 * part, size, out=out, where=size > ZERO)
