"""How well probabilities rank cases with the outcome above cases without it: AUROC and AUPRC.

Both need only three sums per distinct probability of a positive case. So the cases are sorted into these groups once,
and each resample costs one sparse product, without a sort. Row b of the result equals scikit-learn's number on the
sample in which case n is repeated `weights[b, n]` times, ties included.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
from scipy import sparse

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.parameterless import ParameterlessMetric
from eagbench.stats.weighted import by_row_chunks, ratio, row_totals, transposed

_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, slots=True)
class _GroupSums:
    """Weights summed over the G distinct probabilities of positive cases, highest first.

    Attributes:
        positive: Weight of the positive cases with the group's probability, shape (G, b).
        ties: The groups with whose probability there are negative cases too, shape (T,).
        tied: Weight of these negative cases, shape (T, b).
        above: Weight of the negative cases with a higher probability, shape (G, b).
        all_positive: Weight of all positive cases, shape (b,).
        all_negative: Weight of all negative cases, shape (b,).
    """

    positive: FloatArray
    ties: IntArray
    tied: FloatArray
    above: FloatArray
    all_positive: FloatArray
    all_negative: FloatArray


class _Groups:
    """The cases that enter each sum, as one sparse matrix (2G + T, N) of zeros and ones.

    Few of the G probabilities of positive cases are those of negative ones as well: T of them.
    """

    def __init__(self, scored: ScoredCases) -> None:
        is_positive = scored.label == 1
        falling = np.unique(-scored.probability[is_positive])  # (G,)
        self.count = len(falling)
        # The first group whose probability is not above the case's own; G for a negative case below all positives.
        group = np.searchsorted(falling, -scored.probability, side="left")  # (N,)
        is_tied = np.append(-falling, np.nan)[group] == scored.probability
        is_tied &= ~is_positive
        self.ties, place = np.unique(group[is_tied], return_inverse=True)  # (T,)
        row = np.where(is_positive, group, group + self.count)  # (N,)
        row[is_tied] = place + 2 * self.count
        case = np.flatnonzero(group < self.count)
        row = row[case]
        shape = (2 * self.count + len(self.ties), len(scored.label))
        self.matrix = sparse.csr_array((np.ones(len(case)), (row, case)), shape=shape)
        self._last: tuple[FloatArray, _GroupSums] | None = None

    @classmethod
    def of(cls, scored: ScoredCases) -> _Groups:
        """Return the groups of some cases, once for both metrics."""
        return _kept_groups(scored)

    def sums(self, weights: FloatArray) -> _GroupSums:
        """Compute the sums for weights (b, N), once for both metrics if nobody can change the weights meanwhile."""
        if self._last is not None and self._last[0] is weights and not weights.flags.writeable:
            return self._last[1]
        found = self._sums(weights)
        self._last = (weights, found)
        return found

    def _sums(self, weights: FloatArray) -> _GroupSums:
        total = row_totals(weights)  # (b,)
        sums = self.matrix @ transposed(weights)  # (2G + T, b)
        positive, between, tied = np.split(sums, [self.count, 2 * self.count])
        # `between` holds the negatives between a group and the next higher one.
        followed = self.ties[self.ties < self.count - 1]
        between[followed + 1] += tied[: len(followed)]
        all_positive = positive.sum(axis=0)
        return _GroupSums(positive, self.ties, tied, _sum_up(between), all_positive, total - all_positive)


def _sum_up(rows: FloatArray) -> FloatArray:
    """Sum rows (G, b) from the first on, in place, as `np.cumsum`, which goes down each column by itself.

    That takes three times as long where there are several columns.
    """
    if rows.shape[1] == 1:
        return np.cumsum(rows, axis=0, out=rows)
    for g in range(1, len(rows)):
        rows[g] += rows[g - 1]
    return rows


@lru_cache(maxsize=2)
def _kept_groups(scored: ScoredCases) -> _Groups:
    return _Groups(scored)


class Auroc(ParameterlessMetric):
    """Area under the receiver operating characteristic: P(score of a positive > score of a negative), ties 1/2.

    Source: Hanley and McNeil, Radiology 1982, equation 1 (the Mann-Whitney form). Equal to scikit-learn's
    `roc_auc_score`. NaN if a row of weights holds only one class.
    """

    name: ClassVar[str] = "auroc"
    traits: ClassVar[MetricTraits] = MetricTraits(label="AUROC", better="higher", reads_probability=True, no_skill=0.5)

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the AUROC per row of weights (B, N), shape (B,)."""
        groups = _Groups.of(scored)

        def statistic(rows: FloatArray) -> FloatArray:
            sums = groups.sums(rows)
            pairs = sums.all_positive * sums.all_negative  # (b,)
            # All terms are whole numbers or halves, so their sum is exact in any order.
            lost = np.einsum("gb,gb->b", sums.positive, sums.above)
            lost += 0.5 * np.einsum("gb,gb->b", sums.positive[sums.ties], sums.tied)
            return ratio(pairs - lost, pairs)

        return by_row_chunks(statistic, weights)


class Auprc(ParameterlessMetric):
    """Area under the precision-recall curve as average precision, sum over thresholds of (R_k - R_{k-1}) P_k.

    No interpolation: linear interpolation between points of the curve is too optimistic (Davis and Goadrich, ICML
    2006). Equal to scikit-learn's `average_precision_score`. NaN if a row of weights holds only one class (where
    scikit-learn gives 0 or 1).
    """

    name: ClassVar[str] = "auprc"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="AUPRC", better="higher", reads_probability=True, no_skill="event_rate", curve=False
    )

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the AUPRC per row of weights (B, N), shape (B,)."""
        groups = _Groups.of(scored)

        def statistic(rows: FloatArray) -> FloatArray:
            sums = groups.sums(rows)
            true_positive = _sum_up(sums.positive.copy())  # (G, b)
            flagged = true_positive + sums.above
            flagged[sums.ties] += sums.tied
            # A group before which nothing was drawn has no weight either: its precision doesn't matter.
            precision = np.divide(true_positive, np.maximum(flagged, _TINY, out=flagged), out=flagged)
            area = np.einsum("gb,gb->b", sums.positive, precision)
            return ratio(np.where(sums.all_negative > 0, area, np.nan), sums.all_positive)

        return by_row_chunks(statistic, weights)
