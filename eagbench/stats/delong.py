"""Standard errors of an AUROC and of the difference of two, without resampling, for independent cases only.

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988 (structural components, and contrasts of correlated areas).
The midranks of Sun and Xu, IEEE Signal Processing Letters 2014, reduce its O(N^2) to O(N log N). An area is the mean
over positive cases of the share of negative ones that each beats, and vice versa. Its variance follows from the spread
of these shares. A mean of areas over training seeds has the mean of their components, so the seeds' correlation on the
same cases is accounted for (a contrast, equation 5 of the 1988 paper).

The formula ignores that cases of one patient are not independent. Use it only if every case is a different patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from eagbench.contracts.records import FloatArray, IntArray
from eagbench.stats.zero import ZERO


@dataclass(frozen=True, slots=True, eq=False)
class StructuralComponents:
    """The contribution of each case to an AUROC.

    Attributes:
        positive: For each positive case, the share of negative ones below it, ties counting half, shape (M,).
        negative: For each negative case, the share of positive ones above it, ties counting half, shape (N,).
    """

    positive: FloatArray
    negative: FloatArray

    @property
    def auroc(self) -> float:
        """The area; NaN without cases of both classes."""
        return float(np.mean(self.positive)) if len(self.positive) and len(self.negative) else float("nan")

    @property
    def variance(self) -> float:
        """Variance of the area over samples of independent cases; NaN with fewer than two cases of a class."""
        if min(len(self.positive), len(self.negative)) < 2:
            return float("nan")
        return float(sum(np.var(part, ddof=1) / len(part) for part in (self.positive, self.negative)))

    @property
    def standard_error(self) -> float:
        """Square root of the variance."""
        return float(np.sqrt(self.variance))

    def minus(self, other: StructuralComponents) -> StructuralComponents:
        """Return the components of the difference of two areas on the same cases."""
        return StructuralComponents(self.positive - other.positive, self.negative - other.negative)


def midranks(values: FloatArray) -> FloatArray:
    """Rank values from 1 on, ties at the mean of their ranks. Shape (N,), as `scipy.stats.rankdata`.

    SciPy's own function is in `scipy.stats`, whose import takes longer than all tables of a run together.
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: FloatArray = np.cumsum(counts) - (counts - 1) / 2
    return ranks[place]


def structural_components(probability: FloatArray, label: IntArray) -> StructuralComponents:
    """Compute the contribution of each case to the AUROC of one set of answers.

    Args:
        probability: Shape (N,).
        label: 0 or 1, shape (N,).
    """
    is_positive = np.asarray(label) == 1
    among_all = midranks(probability)  # midranks, shape (N,)
    n_positive = int(is_positive.sum())
    n_negative = len(is_positive) - n_positive
    above_negative = among_all[is_positive] - midranks(probability[is_positive])  # negatives below, ties half
    above_positive = among_all[~is_positive] - midranks(probability[~is_positive])
    return StructuralComponents(
        positive=above_negative / max(1, n_negative), negative=1 - above_positive / max(1, n_positive)
    )


def mean_components(seeds: Sequence[StructuralComponents]) -> StructuralComponents:
    """Average the components of several areas on the same cases."""
    return StructuralComponents(
        np.mean([seed.positive for seed in seeds], axis=0), np.mean([seed.negative for seed in seeds], axis=0)
    )


@dataclass(frozen=True, slots=True)
class DelongTest:
    """A test of the difference of two AUROCs on the same independent cases.

    Attributes:
        difference: First minus second.
        standard_error: Of the difference.
        p_value: Two-sided, by the normal distribution; 1 if the two rankings agree in every pair; NaN where the
            standard error is undefined, or 0 with a difference.
    """

    difference: float
    standard_error: float
    p_value: float


def delong_test(first: StructuralComponents, second: StructuralComponents) -> DelongTest:
    """Test the difference of two correlated areas with DeLong's test.

    Args:
        first: Components of one set of answers, or the mean components of several seeds.
        second: Components of another, on the same cases in the same order.
    """
    contrast = first.minus(second)
    difference, error = contrast.auroc, contrast.standard_error
    # No scatter: areas of 0 or 1, or two rankings that agree in every pair.
    if error > ZERO:
        return DelongTest(difference, error, float(2 * ndtr(-abs(difference) / error)))
    same = error <= ZERO and abs(difference) <= ZERO
    return DelongTest(difference, error, 1.0 if same else float("nan"))
