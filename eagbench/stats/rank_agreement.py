"""Rank correlations on many resamples at once: Kendall's tau-b between rankings, Spearman's rho over weighted cases."""

from __future__ import annotations

import numpy as np

from eagbench.contracts.records import FloatArray, IntArray
from eagbench.stats.weighted import by_row_chunks, ratio
from eagbench.stats.zero import ZERO


def kendall_tau(first: FloatArray, second: FloatArray) -> FloatArray:
    """Compute Kendall's tau-b between two rankings of K items, row by row.

    (concordant - discordant pairs) / sqrt(pairs untied in the first x pairs untied in the second), Kendall 1945. Equal
    to `scipy.stats.kendalltau`.

    Args:
        first: Shape (B, K).
        second: Shape (B, K).

    Returns:
        Shape (B,); NaN where a number is NaN, or where a ranking ties everything.
    """
    low, high = np.triu_indices(first.shape[1], 1)
    signs = []
    for values in (first, second):
        gap = values[:, high] - values[:, low]  # (B, pairs)
        signs.append(np.where(np.isnan(gap), np.nan, np.where(np.abs(gap) <= ZERO, 0.0, np.sign(gap))))
    untied = np.sqrt((signs[0] ** 2).sum(axis=1) * (signs[1] ** 2).sum(axis=1))
    return ratio((signs[0] * signs[1]).sum(axis=1), untied)


def spearman(first: FloatArray, second: FloatArray, weights: FloatArray) -> FloatArray:
    """Compute Spearman's rank correlation over weighted cases, ties at their mean rank.

    Each case counts as often as its weight says. Row b equals `scipy.stats.spearmanr` on the sample in which case n is
    repeated `weights[b, n]` times.

    Args:
        first: One number per case, shape (N,).
        second: Another, shape (N,).
        weights: Whole numbers, shape (B, N).

    Returns:
        Shape (B,); NaN where one of the two does not vary.
    """
    groups = [np.unique(np.round(values, 12), return_inverse=True)[1] for values in (first, second)]

    def correlation(rows: FloatArray) -> FloatArray:
        total = rows.sum(axis=1, keepdims=True)
        # The mean of all ranks is (n + 1) / 2, whatever the ties.
        a, b = (_midranks(codes, rows) - (total + 1) / 2 for codes in groups)
        weighted = rows * a
        products = np.einsum("bn,bn->b", weighted, b)
        squares = np.einsum("bn,bn->b", weighted, a) * np.einsum("bn,bn,bn->b", rows, b, b)
        return ratio(products, np.sqrt(squares))

    return by_row_chunks(correlation, weights)


def _midranks(codes: IntArray, rows: FloatArray) -> FloatArray:
    """Compute the mean rank of each case's group, numbered by `codes`, among the weighted cases, shape (b, N)."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    sizes = np.add.reduceat(rows[:, order], starts, axis=1)  # (b, groups)
    ranks: FloatArray = (np.cumsum(sizes, axis=1) - sizes + (sizes + 1) / 2)[:, codes]
    return ranks
