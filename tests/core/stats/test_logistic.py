"""Logistic regression for many rows of weights, against statsmodels on the repeated cases."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

from eagbench.stats.logistic import fit_intercept, fit_line, log_odds
from eagbench.stats.recalibration import Recalibration, fit_recalibration


def made(seed: int, n: int = 120, slope: float = 0.6, intercept: float = -0.8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(-1.0, 1.5, n)
    label = (rng.random(n) < 1 / (1 + np.exp(-intercept - slope * x))).astype(int)
    label[:2] = 0, 1
    return x, label


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1, 3))
def test_equal_to_statsmodels_on_repeated_cases(seed: int, slope: float) -> None:
    x, label = made(seed, slope=slope)
    weights = np.vstack([np.ones(120), np.random.default_rng(seed).multinomial(120, np.full(120, 1 / 120), 3)])
    intercepts, slopes = fit_line(x, label, weights)
    in_the_large = fit_intercept(x, label, weights)
    for row, a, b, only in zip(weights, intercepts, slopes, in_the_large, strict=True):
        chosen = np.repeat(np.arange(120), row.astype(int))
        found = sm.GLM(label[chosen], sm.add_constant(x[chosen]), family=sm.families.Binomial()).fit(tol=1e-12)
        assert (a, b) == pytest.approx(tuple(found.params), abs=1e-6)
        offset = sm.GLM(label[chosen], np.ones((len(chosen), 1)), family=sm.families.Binomial(), offset=x[chosen]).fit(
            tol=1e-12
        )
        assert only == pytest.approx(offset.params[0], abs=1e-6)


def test_what_has_no_finite_estimate_is_undefined() -> None:
    x = np.array([-2.0, -1.0, 1.0, 2.0])
    rows = np.array([[1.0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]])
    separated = np.array([0, 0, 1, 1])
    intercept, slope = fit_line(x, separated, rows)
    assert np.isnan([*intercept, *slope]).all()
    assert np.isfinite(fit_intercept(x, separated, rows)).tolist() == [True, False, False, True]
    mixed = np.array([0, 1, 0, 1])
    assert np.isnan(fit_line(np.full(4, 0.7), mixed, np.ones((1, 4)))[1][0])
    nearly = fit_line(np.array([0.1 + 0.2, 0.3, 0.3, 0.3]), mixed, np.ones((1, 4)))[1][0]
    assert np.isnan(nearly)  # a spread of rounding is none


def test_extreme_probabilities_stay_finite() -> None:
    assert log_odds(np.array([0.0, 0.5, 1.0])) == pytest.approx([-13.8155, 0, 13.8155], abs=1e-4)
    rng = np.random.default_rng(0)
    p = rng.choice([0.0, 0.2, 0.9, 1.0], 300)
    label = (rng.random(300) < 0.2 + 0.5 * p).astype(int)
    found = sm.Logit(label, sm.add_constant(log_odds(p))).fit(disp=0)
    _, slope = fit_line(log_odds(p), label, np.ones((1, 300)))
    assert slope[0] == pytest.approx(found.params[1], abs=1e-6)


def test_recalibration_undoes_a_distortion() -> None:
    rng = np.random.default_rng(1)
    truth = rng.beta(1, 4, 20_000)
    label = (rng.random(20_000) < truth).astype(int)
    distorted = 1 / (1 + np.exp(-(0.7 + 2.0 * log_odds(truth))))
    fitted = fit_recalibration(distorted, label)
    assert fitted.slope == pytest.approx(0.5, abs=0.02)
    assert np.abs(fitted.apply(distorted) - truth).max() < 0.03
    slope = fit_line(log_odds(fitted.apply(distorted)), label, np.ones((1, 20_000)))[1][0]
    assert slope == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("n", "events", "probability", "reason"),
    [
        (99, 40, None, "99 tuning cases with an answer, 40 of the rarer class"),
        (200, 19, None, "19 of the rarer class"),
        (200, 185, None, "15 of the rarer class"),
        (200, 60, 0.3, "all tuning answers are the same"),
        (200, 60, "label", "separate the classes"),
    ],
)
def test_too_little_to_fit_is_said_and_not_done(n: int, events: int, probability: object, reason: str) -> None:
    label = (np.arange(n) < events).astype(int)
    p = np.random.default_rng(0).random(n) if probability is None else np.full(n, 0.3)
    if probability == "label":
        p = 0.2 + 0.6 * label
    found = fit_recalibration(p, label)
    assert found.slope is None
    assert reason in str(found.reason)
    with pytest.raises(ValueError, match="nothing was fitted"):
        found.apply(p)


def test_a_fit_says_what_it_was_made_of() -> None:
    x, label = made(2, n=300)
    found = fit_recalibration(1 / (1 + np.exp(-x)), label)
    assert isinstance(found, Recalibration)
    assert (found.n_cases, found.n_positive, found.reason) == (300, int(label.sum()), None)


@pytest.mark.filterwarnings("error")
def test_of_no_case_there_is_no_line_and_no_warning() -> None:
    """So it is with the cases that could be read where none could."""
    intercept, slope = fit_line(np.zeros(0), np.zeros(0, dtype=int), np.ones((3, 0)))
    assert np.isnan(intercept).all()
    assert np.isnan(slope).all()
    assert intercept.shape == slope.shape == (3,)
