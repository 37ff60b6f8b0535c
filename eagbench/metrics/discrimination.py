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
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.parameterless import ParameterlessMetric
from eagbench.stats.weighted import by_row_chunks, ratio, row_totals, transposed


@dataclass(frozen=True, slots=True)
class _GroupSums:
    """Weights summed over the G distinct probabilities of positive cases, highest first.

    Attributes:
        positive: Weight of the positive cases with the group's probability, shape (G, b).
        tied: Weight of the negative cases with the group's probability, shape (G, b).
        above: Weight of the negative cases with a higher probability, shape (G, b).
        all_positive: Weight of all positive cases, shape (b,).
        all_negative: Weight of all negative cases, shape (b,).
    """

    positive: FloatArray
    tied: FloatArray
    above: FloatArray
    all_positive: FloatArray
    all_negative: FloatArray


class _Groups:
    """The cases that enter each sum, as one sparse matrix (3G, N) of zeros and ones."""

    def __init__(self, scored: ScoredCases) -> None:
        is_positive = scored.label == 1
        falling = np.unique(-scored.probability[is_positive])  # (G,)
        self.count = len(falling)
        # The first group whose probability is not above the case's own; G for a negative case below all positives.
        group = np.searchsorted(falling, -scored.probability, side="left")  # (N,)
        is_tied = np.append(-falling, np.nan)[group] == scored.probability
        block = np.where(is_positive, 0, np.where(is_tied, 1, 2))
        case = np.flatnonzero(group < self.count)
        row = (group + block * self.count)[case]
        shape = (3 * self.count, len(scored.label))
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
        per_block = (self.matrix @ transposed(weights)).reshape(3, self.count, len(weights))  # (3, G, b)
        positive, tied, between = per_block
        # `between` holds the negatives between a group and the next higher one.
        between[1:] += tied[:-1]
        above = _running_sums(between)
        all_positive = positive.sum(axis=0)
        return _GroupSums(positive, tied, above, all_positive, total - all_positive)


def _running_sums(rows: FloatArray) -> FloatArray:
    """Sum rows (G, b) from the first on, as `np.cumsum`, which goes down each column by itself: three times as long."""
    sums = rows.copy()
    for g in range(1, len(sums)):
        sums[g] += sums[g - 1]
    return sums


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
            lost = np.einsum("gb,gb->b", sums.positive, sums.above + 0.5 * sums.tied)
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
            true_positive = _running_sums(sums.positive)  # (G, b)
            flagged = true_positive + sums.above + sums.tied
            # A group before which nothing was drawn has no weight either: its precision doesn't matter.
            precision = true_positive / np.maximum(flagged, np.finfo(np.float64).tiny)
            area = np.einsum("gb,gb->b", sums.positive, precision)
            return ratio(np.where(sums.all_negative > 0, area, np.nan), sums.all_positive)

        return by_row_chunks(statistic, weights)
