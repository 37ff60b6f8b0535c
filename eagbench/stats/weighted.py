"""Sums over cases for many rows of weights at once, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eagbench.contracts.records import FloatArray

# Elements of one (b, N) working array: 16 MB of float64, and still some twenty rows at 100,000 cases.
CHUNK_ELEMENTS = 2**21


def weighted_mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Compute the mean of one value per case under each row of weights.

    Args:
        values: Shape (N,).
        weights: Shape (B, N), non-negative.

    Returns:
        Shape (B,), float64; NaN for a row whose weights sum to 0.
    """
    return ratio(weights @ values.astype(np.float64), weights.sum(axis=1, dtype=np.float64))


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Divide elementwise; NaN where the denominator is 0."""
    out = np.full(np.shape(numerator), np.nan, dtype=np.float64)
    return np.divide(numerator, denominator, out=out, where=denominator != 0)


def by_row_chunks(statistic: Callable[[FloatArray], FloatArray], weights: FloatArray) -> FloatArray:
    """Apply a statistic to a few rows of weights at a time.

    This bounds the memory of a statistic that needs several arrays of the weights' size.

    Args:
        statistic: From weights (b, N) to values (b,), each row independently.
        weights: Shape (B, N).

    Returns:
        Shape (B,), float64.
    """
    rows, cases = weights.shape
    step = max(1, CHUNK_ELEMENTS // max(1, cases))
    if rows <= step:
        return statistic(weights)
    out = np.empty(rows, dtype=np.float64)
    for start in range(0, rows, step):
        out[start : start + step] = statistic(weights[start : start + step])
    return out
