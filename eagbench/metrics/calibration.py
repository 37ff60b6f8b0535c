"""Calibration of probabilities: Brier score and its components, ECE, calibration slope and intercept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.components import StrictParams
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.parameterless import ParameterlessMetric
from eagbench.stats.logistic import fit_intercept, fit_line, log_odds
from eagbench.stats.weighted import by_row_chunks, ratio, row_totals, weighted_mean


class Brier(ParameterlessMetric):
    """Mean squared difference between probability and outcome, mean((p - y)^2).

    Source: Brier, Monthly Weather Review 1950, in its one-sided binary form (half of Brier's own). Equal to
    scikit-learn's `brier_score_loss`. A constant prediction of the prevalence q scores q(1 - q).
    """

    name: ClassVar[str] = "brier"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Brier score",
        better="lower",
        reads_probability=True,
        no_skill="event_variance",
        depends_on_scale=True,
    )

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the Brier score per row of weights (B, N), shape (B,)."""
        return weighted_mean((scored.probability - scored.label) ** 2, weights)


class BrierSkill(ParameterlessMetric):
    """Brier skill score against the event rate: 1 - Brier / (q(1 - q)), q the event rate of the cases themselves.

    Source: Murphy, Journal of Applied Meteorology 1973, "Hedging and skill scores for probability forecasts". 1 is
    perfect, 0 is as good as always predicting q, below 0 is worse. The reference knows the event rate of the held-out
    cases, so the score is a little too strict. NaN if there is one class only.
    """

    name: ClassVar[str] = "brier_skill"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Brier skill",
        definition="share by which the Brier score falls below that of always predicting the event rate",
        better="higher",
        reads_probability=True,
        no_skill=0.0,
        depends_on_scale=True,
        decimals=3,
    )

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the skill per row of weights (B, N), shape (B,)."""
        rate = weighted_mean(scored.label.astype(np.float64), weights)
        return 1 - ratio(weighted_mean((scored.probability - scored.label) ** 2, weights), rate * (1 - rate))


def bin_of(probability: FloatArray, bins: int) -> IntArray:
    """Find the equal-width bin of each probability: bin k is [k/bins, (k+1)/bins), and the last one also holds 1.

    Args:
        probability: Shape (N,), in [0, 1].
        bins: Number of bins.

    Returns:
        Shape (N,), 0 to bins - 1. Edges are the float64 quotients k/bins.
    """
    return np.digitize(probability, np.arange(1, bins) / bins)


class ExpectedCalibrationError:
    """Gap between mean probability and event rate, averaged over bins of the probability.

    Sum over bins of (n_bin / n) * |mean(y in bin) - mean(p in bin)|; empty bins count 0. Source: Naeini, Cooper and
    Hauskrecht, AAAI 2015, with the equal-width bins of Guo et al., ICML 2017. Unlike theirs, our bins are closed on the
    left (see `bin_of`). The estimate is biased upwards: a perfectly calibrated model does not score 0 on a finite
    sample (docs/metrics.md).
    """

    name: ClassVar[str] = "ece"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="ECE", better="lower", reads_probability=True, biased=True, depends_on_scale=True, curve=False
    )

    class Params(StrictParams):
        """Parameters.

        Attributes:
            bins: Number of equal-width bins on [0, 1].
        """

        bins: int = Field(default=10, ge=1, le=1000)

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the ECE per row of weights (B, N), shape (B,)."""
        gap = np.zeros((len(scored.label), self.params.bins))  # (N, M)
        case = np.arange(len(scored.label))
        gap[case, bin_of(scored.probability, self.params.bins)] = scored.label - scored.probability
        # n_bin cancels: (n_bin / n) * |mean y - mean p| = |sum of (y - p) in the bin| / n.
        per_bin = np.abs(weights @ gap)  # (B, M)
        return ratio(per_bin.sum(axis=1), row_totals(weights))


@dataclass(frozen=True, slots=True)
class _Bins:
    """Sums over the M bins under each row of weights, all of shape (B, M).

    Attributes:
        count: Weight of the cases.
        events: Weight of the cases with the event.
        predicted: Weighted sum of the cases' probabilities.
    """

    count: FloatArray
    events: FloatArray
    predicted: FloatArray

    @classmethod
    def of(cls, scored: ScoredCases, weights: FloatArray, bins: int) -> _Bins:
        member = np.zeros((len(scored.label), bins))  # (N, M)
        member[np.arange(len(scored.label)), bin_of(scored.probability, bins)] = 1.0
        return cls(
            weights @ member,
            weights @ (member * scored.label[:, None]),
            weights @ (member * scored.probability[:, None]),
        )


class BrierReliability:
    """Reliability of the binned Brier score: sum over bins of n_k/n (mean p - mean y)^2. 0 is best.

    Source: Murphy, Journal of Applied Meteorology 1973, with the bins of `bin_of`. Biased upwards like the ECE: a
    calibrated bin with event rate q adds q(1 - q)/n in expectation.
    """

    name: ClassVar[str] = "brier_reliability"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Reliability",
        definition="part of the Brier score, on bins, biased upwards",
        better="lower",
        reads_probability=True,
        biased=True,
        table="calibration",
        curve=False,
    )
    Params = ExpectedCalibrationError.Params

    def __init__(self, params: ExpectedCalibrationError.Params) -> None:
        self.params = params

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the reliability per row of weights (B, N), shape (B,)."""
        bins = _Bins.of(scored, weights, self.params.bins)
        gap = bins.predicted - bins.events
        squared = np.divide(gap**2, bins.count, out=np.zeros_like(gap), where=bins.count > 0)
        return ratio(squared.sum(axis=1), row_totals(weights))


class BrierResolution:
    """Resolution of the binned Brier score: sum over bins of n_k/n (mean y of the bin - mean y)^2. Higher is better.

    Source: Murphy 1973. Biased upwards: even bins without skill scatter around the event rate, and so seem to resolve.
    """

    name: ClassVar[str] = "brier_resolution"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Resolution",
        definition="part of the Brier score, on bins, biased upwards",
        better="higher",
        reads_probability=True,
        biased=True,
        table="calibration",
        curve=False,
    )
    Params = ExpectedCalibrationError.Params

    def __init__(self, params: ExpectedCalibrationError.Params) -> None:
        self.params = params

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the resolution per row of weights (B, N), shape (B,)."""
        bins = _Bins.of(scored, weights, self.params.bins)
        total = row_totals(weights)
        base = ratio(bins.events.sum(axis=1), total)  # (B,)
        above = bins.events - bins.count * base[:, None]
        squared = np.divide(above**2, bins.count, out=np.zeros_like(above), where=bins.count > 0)
        return ratio(squared.sum(axis=1), total)


class BrierUncertainty(ParameterlessMetric):
    """Uncertainty of the Brier score: q(1 - q) for the event rate q, the score of always predicting q. Murphy 1973."""

    name: ClassVar[str] = "brier_uncertainty"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Uncertainty", better="neither", table="calibration", curve=False
    )

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the uncertainty per row of weights (B, N), shape (B,)."""
        rate = weighted_mean(scored.label.astype(np.float64), weights)
        return rate * (1 - rate)


class CalibrationSlope(ParameterlessMetric):
    """Slope b of the logistic regression logit P(y = 1) = a + b logit(p): 1 is ideal, below 1 means too extreme.

    Source: Cox, Biometrika 1958; Van Calster et al., Journal of Clinical Epidemiology 2016 ("weak calibration").
    Probabilities are kept 1e-6 away from 0 and 1. NaN if no finite estimate exists: only one class, equal
    probabilities, or probabilities that separate the classes.
    """

    name: ClassVar[str] = "calibration_slope"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Slope",
        better="neither",
        definition="of logistic regression on the answers; 1 is right, below 1 too extreme",
        reads_probability=True,
        table="calibration",
        curve=False,
    )

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the slope per row of weights (B, N), shape (B,)."""
        x = log_odds(scored.probability)
        return by_row_chunks(lambda rows: fit_line(x, scored.label, rows)[1], weights)


class CalibrationIntercept(ParameterlessMetric):
    """Calibration in the large: a of logit P(y = 1) = a + logit(p). 0 is ideal, above 0 means predictions are too low.

    Source: Cox 1958, with the slope held at 1 (Van Calster et al. 2016, "mean calibration"). NaN with only one class.
    """

    name: ClassVar[str] = "calibration_intercept"
    traits: ClassVar[MetricTraits] = MetricTraits(
        label="Intercept",
        better="neither",
        definition="of logistic regression on the answers; 0 is right, above 0 predicted too low",
        reads_probability=True,
        table="calibration",
        curve=False,
    )

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Compute the intercept per row of weights (B, N), shape (B,)."""
        x = log_odds(scored.probability)
        return by_row_chunks(lambda rows: fit_intercept(x, scored.label, rows), weights)
