"""Operating points and curves on resamples: scikit-learn on the repeated cases, and numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_score, recall_score, roc_curve

from eagbench.stats.curves import decision
from eagbench.stats.operating_points import Counts

CASES = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1), st.integers(0, 3)), min_size=4, max_size=40)


def both_classes(label: np.ndarray, weights: np.ndarray) -> bool:
    return all(weights[label == y].sum() > 0 for y in (0, 1))


@given(CASES)
def test_resamples_are_repeated_cases(cases: list[tuple[int, int, int]]) -> None:
    """Check every number of one row of weights against scikit-learn on the cases repeated so often."""
    probability = np.array([p / 6 for p, _, _ in cases])
    label, times = np.array([y for _, y, _ in cases]), np.array([w for _, _, w in cases])
    if not both_classes(label, times):
        return
    p, y = np.repeat(probability, times), np.repeat(label, times)
    other = np.ones(len(label))  # another resample beside it must not matter
    counts = Counts.of(probability, label, np.stack([other, times, other]).astype(float))
    fpr, tpr, thresholds = roc_curve(y, p, drop_intermediate=False)
    at = np.linspace(0, 1, 11)
    read = counts.sensitivity_at(at)[1]
    for x, found in zip(at, read, strict=True):
        below = np.flatnonzero(fpr <= x + 1e-12)[-1]
        above = min(below + 1, len(fpr) - 1)
        share = (x - fpr[below]) / (fpr[above] - fpr[below]) if above > below else 0.0
        assert found == pytest.approx(tpr[below] + share * (tpr[above] - tpr[below]))
    ts = np.array([0.05, 0.25, 0.5, 0.9])
    assert counts.net_benefit_at(ts)[1] == pytest.approx(decision(p, y, ts))
    recalls = np.array([0.1, 0.5, 1.0])
    for recall, found in zip(recalls, counts.precision_at(recalls)[1], strict=True):
        first = thresholds[np.flatnonzero(tpr >= recall - 1e-12)[0]]
        assert found == pytest.approx(precision_score(y, p >= first))
    for least in (0.5, 0.9):
        point = counts.at("specificity", least)
        allowed = [k for k in range(len(fpr)) if 1 - fpr[k] >= least - 1e-12]
        assert point.sensitivity[1] == pytest.approx(max(tpr[k] for k in allowed))
        assert point.specificity[1] >= least - 1e-12
        flagged = p >= point.threshold[1]
        assert point.alerts[1] == pytest.approx(100 * flagged.mean())
        point = counts.at("sensitivity", least)
        flagged = p >= point.threshold[1]
        assert point.sensitivity[1] == pytest.approx(recall_score(y, flagged))
        assert point.specificity[1] == pytest.approx(1 - fpr[np.flatnonzero(tpr >= least - 1e-12)[0]])


def test_points_by_hand() -> None:
    label = np.array([1] * 4 + [0] * 10)
    probability = np.array([0.9, 0.8, 0.55, 0.1, 0.85, 0.6, 0.5, 0.4, 0.3, 0.3, 0.2, 0.2, 0.1, 0.05])
    counts = Counts.of(probability, label, np.ones((1, 14)))
    point = counts.at("specificity", 0.9)  # one of ten may be flagged: 0.1 * 10 exactly
    assert (point.threshold[0], point.sensitivity[0], point.specificity[0]) == (0.8, 0.5, 0.9)
    assert point.precision[0] == pytest.approx(2 / 3)
    assert point.alerts[0] == pytest.approx(100 * 3 / 14)
    point = counts.at("sensitivity", 0.75)
    assert (point.threshold[0], point.sensitivity[0], point.specificity[0]) == (0.55, 0.75, 0.8)


def test_a_constant_answer_has_no_threshold_with_a_specificity() -> None:
    counts = Counts.of(np.full(6, 0.3), np.array([1, 0, 0, 1, 0, 0]), np.ones((2, 6)))
    point = counts.at("specificity", 0.9)
    assert list(point.sensitivity) == [0, 0]
    assert np.isnan(point.precision).all()
    assert np.isinf(point.threshold).all()
    assert counts.sensitivity_at(np.array([0, 0.25, 1]))[0] == pytest.approx([0, 0.25, 1])


def test_a_resample_of_one_class_is_undefined() -> None:
    counts = Counts.of(np.array([0.9, 0.4, 0.2]), np.array([1, 0, 0]), np.array([[0, 1, 2.0], [3, 0, 0]]))
    assert np.isnan(counts.sensitivity_at(np.array([0.5]))).all()
    assert np.isnan(counts.precision_at(np.array([0.5]))[0, 0])
    assert np.isnan(counts.at("sensitivity", 0.9).sensitivity[0])
