"""Curves of a classifier over all thresholds, and their mean over several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import FloatArray, IntArray


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
