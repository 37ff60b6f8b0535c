"""Curves of a classifier over all thresholds: ROC, precision-recall, decision curve; and their mean over models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import FloatArray, IntArray

# Twice the area of the triangle that a left-out point makes with its neighbours, at the most.
_STRAIGHT = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Points joined by straight lines.

    Attributes:
        x: Shape (K,), never falling, from 0 to 1; the same x twice in a row is a vertical step.
        y: Shape (K,).
    """

    x: FloatArray
    y: FloatArray

    @property
    def area(self) -> float:
        """Area under the curve."""
        return float(np.trapezoid(self.y, self.x))


def roc(probability: FloatArray, label: IntArray) -> Curve:
    """Compute the receiver operating characteristic: true positive rate over false positive rate.

    Equal probabilities are one point, so that the area is the AUROC with ties counted half (Hanley and McNeil,
    Radiology 1982).

    Args:
        probability: Shape (N,).
        label: Shape (N,), 0 or 1.

    Raises:
        ValueError: All labels are the same.
    """
    flagged, positive = _counts(probability, label)
    n_positive = positive[-1]
    x = (flagged - positive) / (flagged[-1] - n_positive)
    return Curve(np.append(0.0, x), np.append(0.0, positive / n_positive))


def precision_recall(probability: FloatArray, label: IntArray) -> Curve:
    """Compute precision over recall, as steps: the precision of a threshold holds back to the next lower recall.

    The area is the average precision. Straight lines between the points would be too optimistic (Davis and Goadrich,
    ICML 2006).

    Args:
        probability: Shape (N,).
        label: Shape (N,), 0 or 1.

    Raises:
        ValueError: All labels are the same.
    """
    flagged, positive = _counts(probability, label)
    finds = np.diff(positive, prepend=0) > 0  # other thresholds add no recall
    recall, precision = positive[finds] / positive[-1], positive[finds] / flagged[finds]
    start = np.append(0.0, recall[:-1])
    return Curve(np.stack([start, recall], axis=1).ravel(), np.repeat(precision, 2))


def decision(probability: FloatArray, label: IntArray, thresholds: FloatArray) -> FloatArray:
    """Compute the net benefit of acting on every case with a probability at or above a threshold.

    It is TP/N - FP/N * t/(1 - t): true positives per case, less false positives weighed by the odds of the threshold
    t, at which a benefit and a harm are worth the same. Source: Vickers and Elkin, Medical Decision Making 2006.

    Args:
        probability: Shape (N,).
        label: Shape (N,), 0 or 1.
        thresholds: Shape (T,), within [0, 1).

    Returns:
        Shape (T,).
    """
    acts = probability[None, :] >= thresholds[:, None]  # (T, N)
    true, false = (acts & (label == 1)).mean(axis=1), (acts & (label == 0)).mean(axis=1)
    return np.asarray(true - false * thresholds / (1 - thresholds), dtype=np.float64)


def treat_all(event_rate: float, thresholds: FloatArray) -> FloatArray:
    """Compute the net benefit of acting on every case, shape (T,); that of acting on none is 0."""
    return event_rate - (1 - event_rate) * thresholds / (1 - thresholds)


def corners(curve: Curve) -> Curve:
    """Leave out the points of a curve that lie on the straight line between their neighbours: it is the same curve."""
    moves = np.append(True, (np.diff(curve.x) != 0) | (np.diff(curve.y) != 0))
    x, y = curve.x[moves], curve.y[moves]
    turn = np.diff(x[:-1]) * np.diff(y[1:]) - np.diff(x[1:]) * np.diff(y[:-1])
    is_kept = np.concatenate([[True], np.abs(turn) > _STRAIGHT, [True]])[: len(x)]
    return Curve(x[is_kept], y[is_kept])


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Average curves vertically, at every x of any of them; its area is the mean of their areas.

    Source: Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 2006, section 8.1.
    """
    if len(curves) == 1:
        return curves[0]
    at = np.unique(np.concatenate([curve.x for curve in curves]))
    sides = np.mean([_both_sides(curve, at) for curve in curves], axis=0)  # (2, K)
    return Curve(np.repeat(at, 2), sides.T.ravel())


def _counts(probability: FloatArray, label: IntArray) -> tuple[IntArray, IntArray]:
    """Count, for every distinct probability from the highest down, the cases and the positive ones at or above it."""
    if len(np.unique(label)) < 2:
        raise ValueError("a curve needs cases of both classes")
    order = np.argsort(-probability, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(probability[order]) != 0, True))
    return ends + 1, np.cumsum(label[order])[ends]


def _both_sides(curve: Curve, at: FloatArray) -> FloatArray:
    """Return a curve's values just before and just after each x of `at`, shape (2, K); they differ at a step."""
    knots, first, times = np.unique(curve.x, return_index=True, return_counts=True)
    before, after = curve.y[first], curve.y[first + times - 1]
    here = np.searchsorted(knots, at, side="right") - 1
    following = np.minimum(here + 1, len(knots) - 1)
    is_knot = knots[here] == at
    share = np.where(is_knot, 0.0, (at - knots[here]) / np.where(is_knot, 1.0, knots[following] - knots[here]))
    between = after[here] + share * (before[following] - after[here])
    return np.stack([np.where(is_knot, before[here], between), between])
