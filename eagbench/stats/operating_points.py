"""What a classifier finds at its thresholds, on many resamples of the cases at once.

A threshold flags the cases with a probability at or above it. All counts are sums of whole weights, so that a target
such as a specificity of 0.9 is met or missed exactly, without rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import FloatArray, IntArray
from eagbench.stats.weighted import ratio

# A share such as 0.9 of 10 cases is 9 cases, although 0.1 * 10 may be a little more than 1 in floating point.
_WITHIN = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class OperatingPoint:
    """What one threshold per resample finds; all arrays have shape (b,), NaN where undefined.

    Attributes:
        sensitivity: Share of the events that are flagged.
        specificity: Share of the other cases that are not flagged.
        precision: Share of the flagged cases that are events (positive predictive value); NaN if none is flagged.
        alerts: Flagged cases per 100 cases.
        threshold: The lowest flagged probability; infinite if none is flagged.
    """

    sensitivity: FloatArray
    specificity: FloatArray
    precision: FloatArray
    alerts: FloatArray
    threshold: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Weights of the cases that each threshold flags, on resamples.

    Attributes:
        thresholds: The K distinct probabilities, falling, shape (K,).
        true: Events flagged by no threshold, then by each, shape (b, K + 1).
        false: Other cases flagged, likewise.
    """

    thresholds: FloatArray
    true: FloatArray
    false: FloatArray

    @classmethod
    def of(cls, probability: FloatArray, label: IntArray, weights: FloatArray) -> Counts:
        """Count at every distinct probability.

        Args:
            probability: Shape (N,).
            label: Shape (N,), 0 or 1.
            weights: Shape (b, N), whole numbers: how often each case occurs. Ones for the sample itself.
        """
        order = np.argsort(-probability, kind="stable")
        ordered = probability[order]
        starts = np.flatnonzero(np.append(True, np.diff(ordered) != 0))  # of equal probabilities
        is_event = label[order] == 1
        drawn = weights[:, order]
        found = []
        for kept in (is_event, ~is_event):
            per_threshold = np.add.reduceat(drawn * kept, starts, axis=1)  # (b, K)
            found.append(np.pad(np.cumsum(per_threshold, axis=1), ((0, 0), (1, 0))))
        return cls(ordered[starts], found[0], found[1])

    def sensitivity_at(self, false_positive_rates: FloatArray) -> FloatArray:
        """Read the ROC curve at false positive rates (G,): straight lines between thresholds, shape (b, G)."""
        wanted = self.false[:, -1:] * false_positive_rates  # (b, G)
        after = _first_at_least(self.false, np.floor(wanted + _WITHIN) + 1)
        before = np.clip(after - 1, 0, None)
        after = np.minimum(after, self.false.shape[1] - 1)
        x0, x1 = (np.take_along_axis(self.false, index, axis=1) for index in (before, after))
        y0, y1 = (np.take_along_axis(self.true, index, axis=1) for index in (before, after))
        share = np.where(x1 > x0, (wanted - x0) / np.where(x1 > x0, x1 - x0, 1.0), 0.0)
        is_defined = self.false[:, -1:] > 0
        return np.where(is_defined, ratio(y0 + share * (y1 - y0), np.broadcast_to(self.true[:, -1:], x0.shape)), np.nan)

    def precision_at(self, recalls: FloatArray) -> FloatArray:
        """Read the precision-recall curve at recalls above 0 (G,): of the first threshold that has it, (b, G)."""
        total = self.true[:, -1:]
        at = _first_at_least(self.true, np.maximum(np.ceil(total * recalls - _WITHIN), 1))
        at = np.minimum(at, self.true.shape[1] - 1)  # without an event there is no such threshold
        true, false = (np.take_along_axis(counts, at, axis=1) for counts in (self.true, self.false))
        return np.where(total > 0, ratio(true, true + false), np.nan)

    def net_benefit_at(self, thresholds: FloatArray) -> FloatArray:
        """Compute the net benefit at thresholds (T,), each within [0, 1), as `curves.decision` does; shape (b, T)."""
        at = np.searchsorted(-self.thresholds, -thresholds, side="right")
        cases = self.true[:, -1:] + self.false[:, -1:]
        return (self.true[:, at] - self.false[:, at] * thresholds / (1 - thresholds)) / cases

    def at(self, what: str, least: float) -> OperatingPoint:
        """Take a threshold with a specificity, or a sensitivity, of at least this much, and the most of the other.

        Args:
            what: `specificity` or `sensitivity`.
            least: A share, above 0 and at most 1.
        """
        if what == "specificity":
            allowed = np.floor(self.false[:, -1:] * (1 - least) + _WITHIN)
            return self._point(_first_at_least(self.false, allowed + 1) - 1)
        return self._point(_first_at_least(self.true, np.ceil(self.true[:, -1:] * least - _WITHIN)))

    def _point(self, at: IntArray) -> OperatingPoint:
        """Evaluate one threshold per resample, by its place, shape (b, 1)."""
        true, false = (np.take_along_axis(counts, at, axis=1)[:, 0] for counts in (self.true, self.false))
        events, others = self.true[:, -1], self.false[:, -1]
        return OperatingPoint(
            sensitivity=ratio(true, events),
            specificity=1 - ratio(false, others),
            precision=ratio(true, true + false),
            alerts=100 * ratio(true + false, events + others),
            threshold=np.append(math.inf, self.thresholds)[at[:, 0]],
        )


def _first_at_least(counts: FloatArray, wanted: FloatArray) -> IntArray:
    """Find in each row of rising whole numbers (b, K) the first place that is at least the wanted ones (b, G).

    Returns:
        Shape (b, G); K where there is none.
    """
    rows, places = counts.shape
    # Shift each row beyond the one before, so that one search serves them all.
    step = max(float(counts[:, -1].max(initial=0.0)), float(wanted.max(initial=0.0))) + 2
    shift = step * np.arange(rows)[:, None]
    found = np.searchsorted((counts + shift).ravel(), (wanted + shift).ravel(), side="left").reshape(wanted.shape)
    return np.asarray(np.minimum(found - places * np.arange(rows)[:, None], places), dtype=np.int64)
