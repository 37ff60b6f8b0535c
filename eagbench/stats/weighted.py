"""Sums over cases for many rows of weights at once, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from eagbench.contracts.read_only import read_only
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
    return ratio(weights @ values.astype(np.float64), row_totals(weights))


class _Forms:
    """What several metrics need of the same weights (B, N): their rows' sums, and their transpose in one piece."""

    def __init__(self, weights: FloatArray) -> None:
        self.weights = weights

    @cached_property
    def totals(self) -> FloatArray:
        """The sum of each row, shape (B,)."""
        return read_only(self.weights.sum(axis=1, dtype=np.float64))

    @cached_property
    def transposed(self) -> FloatArray:
        """The weights, case by case, shape (N, B)."""
        return read_only(np.ascontiguousarray(self.weights.T))


_last: list[_Forms] = []


def _forms(weights: FloatArray) -> _Forms:
    """Return the forms of weights, the same as for the metric before if nobody can have changed them meanwhile.

    A single row, with which a cell's values are computed, does not displace those of its resamples, which are the next
    cell's as well.
    """
    if not (_last and _last[0].weights is weights):
        if weights.flags.writeable or len(weights) == 1:
            return _Forms(weights)
        _last[:] = [_Forms(weights)]
    return _last[0]


def row_totals(weights: FloatArray) -> FloatArray:
    """Sum each row of weights (B, N), shape (B,). Don't write to it."""
    return _forms(weights).totals


def transposed(weights: FloatArray) -> FloatArray:
    """Return weights (B, N) case by case, shape (N, B), contiguous. Don't write to it."""
    return _forms(weights).transposed


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
