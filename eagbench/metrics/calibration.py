"""Whether probabilities mean what they say: Brier score and expected calibration error."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from eagbench.metrics.weighted import ratio, weighted_mean
from eagbench.protocols import StrictParams
from eagbench.types import FloatArray, IntArray, ScoredCases


class Brier:
    """Mean squared difference between probability and outcome, mean((p - y)^2).

    Source: Brier, Monthly Weather Review 1950, in its one-sided binary form (half of Brier's own). Equal to
    scikit-learn's `brier_score_loss`. A constant prediction of the prevalence q scores q(1 - q).
    """

    name: ClassVar[str] = "brier"
    better: ClassVar[Literal["higher", "lower", "neither"]] = "lower"
    reads_probability: ClassVar[bool] = True

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Brier score per row of weights (B, N), shape (B,)."""
        return weighted_mean((scored.probability - scored.label) ** 2, weights)


def bin_of(probability: FloatArray, bins: int) -> IntArray:
    """The equal-width bin of each probability: bin k is [k/bins, (k+1)/bins), the last one also holds 1.

    Args:
        probability: Shape (N,), in [0, 1].
        bins: Number of bins.

    Returns:
        Shape (N,), 0 to bins - 1. Edges are the float64 quotients k/bins.
    """
    return np.digitize(probability, np.arange(1, bins) / bins)


class ExpectedCalibrationError:
    """Gap between mean probability and event rate, averaged over bins of the probability.

    sum over bins of (n_bin / n) * |mean(y in bin) - mean(p in bin)|, empty bins counting 0. Source: Naeini, Cooper and
    Hauskrecht, AAAI 2015, with the equal-width bins of Guo et al., ICML 2017, except that our bins are closed on the
    left (see `bin_of`). The estimate is biased upwards: a perfectly calibrated model does not score 0 on a finite
    sample (docs/metrics.md).
    """

    name: ClassVar[str] = "ece"
    better: ClassVar[Literal["higher", "lower", "neither"]] = "lower"
    reads_probability: ClassVar[bool] = True

    class Params(StrictParams):
        """The number of equal-width bins on [0, 1]."""

        bins: int = Field(default=10, ge=1, le=1000)

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """ECE per row of weights (B, N), shape (B,)."""
        gap = np.zeros((len(scored.label), self.params.bins))  # (N, M)
        case = np.arange(len(scored.label))
        gap[case, bin_of(scored.probability, self.params.bins)] = scored.label - scored.probability
        # n_bin cancels: (n_bin / n) * |mean y - mean p| = |sum of (y - p) in the bin| / n.
        per_bin = np.abs(weights @ gap)  # (B, M)
        return ratio(per_bin.sum(axis=1), weights.sum(axis=1, dtype=np.float64))
