"""ROC and precision-recall curves: known points, and the areas that scikit-learn and the metrics give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from eagbench.stats.curves import Curve, corners, decision, mean_curve, precision_recall, roc, treat_all


def test_known_points() -> None:
    probability, label = np.array([0.9, 0.6, 0.6, 0.1]), np.array([1, 0, 1, 0])
    curve = roc(probability, label)
    assert list(zip(curve.x, curve.y, strict=True)) == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]
    steps = precision_recall(probability, label)
    assert list(zip(steps.x, steps.y, strict=True)) == [(0, 1), (0.5, 1), (0.5, 2 / 3), (1, 2 / 3)]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=4, max_size=60))
def test_areas_are_those_of_scikit_learn(answers: list[tuple[int, int]]) -> None:
    probability = np.array([p / 6 for p, _ in answers])
    label = np.array([y for _, y in answers])
    if label.min() == label.max():
        with pytest.raises(ValueError, match="both classes"):
            roc(probability, label)
        return
    assert roc(probability, label).area == pytest.approx(roc_auc_score(label, probability))
    assert precision_recall(probability, label).area == pytest.approx(average_precision_score(label, probability))


@pytest.mark.parametrize("kind", [roc, precision_recall])
def test_the_mean_curve_has_the_mean_area_and_lies_between_its_curves(kind: type) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(2, size=80)
    curves = [kind(np.round(rng.random(80) * 0.6 + 0.3 * label, 1), label) for _ in range(5)]
    mean = mean_curve(curves)
    assert mean.area == pytest.approx(np.mean([curve.area for curve in curves]))
    assert (np.diff(mean.x) >= 0).all()
    middle = (mean.x[1:] + mean.x[:-1])[np.diff(mean.x) > 0] / 2
    values = np.array([np.interp(middle, curve.x, curve.y) for curve in curves])
    assert np.interp(middle, mean.x, mean.y) == pytest.approx(values.mean(axis=0))


def test_the_mean_of_steps_keeps_the_steps() -> None:
    early, late = (
        Curve(np.array([0, 0, 1.0]), np.array([0, 1, 1.0])),
        Curve(np.array([0, 1, 1.0]), np.array([0, 0, 1.0])),
    )
    mean = mean_curve([early, late])
    assert list(zip(mean.x, mean.y, strict=True)) == [(0, 0), (0, 0.5), (1, 0.5), (1, 1)]


def test_net_benefit_by_hand() -> None:
    probability, label = np.array([0.9, 0.6, 0.5, 0.2, 0.1]), np.array([1, 0, 1, 0, 0])
    at = np.array([0.0, 0.2, 0.5, 0.75])
    # At 0: 2/5. At 0.2: (2 - 2 * 1/4) / 5. At 0.5: (2 - 1) / 5. At 0.75: 1/5, and nothing false.
    assert decision(probability, label, at) == pytest.approx([0.4, 0.3, 0.2, 0.2])
    assert treat_all(0.4, at) == pytest.approx([0.4, 0.25, -0.2, -1.4])
    assert decision(np.ones(5), label, at) == pytest.approx(treat_all(0.4, at))
    assert decision(np.zeros(5), label, at[1:]) == pytest.approx(0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=4, max_size=80))
def test_corners_are_the_same_curve(answers: list[tuple[int, int]]) -> None:
    probability, label = np.array([p / 9 for p, _ in answers]), np.array([y for _, y in answers])
    if label.min() == label.max():
        return
    for curve in (roc(probability, label), precision_recall(probability, label)):
        thinned = corners(curve)
        assert thinned.area == pytest.approx(curve.area, abs=1e-12)
        assert len(thinned.x) <= len(curve.x)
        assert {*zip(thinned.x, thinned.y, strict=True)} <= {*zip(curve.x, curve.y, strict=True)}
    straight = Curve(np.array([0, 0.25, 0.5, 0.5, 1.0]), np.array([0, 0.25, 0.5, 0.5, 0.5]))
    assert list(corners(straight).x) == [0, 0.5, 1]
