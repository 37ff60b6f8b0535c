"""Counts how often each number occurs while numbers pass, for quantiles of more of them than memory holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eagbench.contracts.records import FloatArray, IntArray

# Distinct numbers that wait to be merged.
_WAITING = 1_000_000


class ValueTally:
    """Numbers and how often each occurred. Memory grows with the distinct ones, not with all.

    Clinical values are written with few decimals: 100 million of them have some 100,000 distinct ones.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[FloatArray, IntArray]] = []
        self._held = self._merged = 0
        self.n = 0

    def add(self, numbers: FloatArray) -> None:
        """Count numbers, none of them NaN, of any shape and always of the same type."""
        found = np.unique(numbers, return_counts=True)
        self.n += int(found[1].sum())
        self._waiting.append(found)
        self._held += len(found[0])
        if self._held > max(_WAITING, 2 * self._merged):
            self._merge()

    def quantiles(self, probabilities: Sequence[float]) -> FloatArray:
        """Return what `numpy.quantile` (linear) returns for all numbers, NaN without any. Shape (P,), float64."""
        if not self.n:
            return np.full(len(probabilities), np.nan)
        self._merge()
        [(numbers, counts)] = self._waiting
        ends = np.cumsum(counts)
        places = np.asarray(probabilities, dtype=np.float64) * (self.n - 1)
        below = np.floor(places)
        low, high = (
            numbers[np.searchsorted(ends, at, side="right")] for at in (below, np.minimum(below + 1, self.n - 1))
        )
        # As NumPy interpolates: from the nearer end.
        part, step = places - below, high - low
        found: FloatArray = np.where(part < 0.5, low + step * part, high - step * (1 - part))
        return found

    def _merge(self) -> None:
        numbers, place = np.unique(np.concatenate([part for part, _ in self._waiting]), return_inverse=True)
        counts = np.concatenate([part for _, part in self._waiting])
        self._waiting = [(numbers, np.bincount(place, weights=counts, minlength=len(numbers)).astype(np.int64))]
        self._held = self._merged = len(numbers)
