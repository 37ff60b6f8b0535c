"""DeLong's standard error and test: against the definition, simulation, a permutation test and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from eagbench.stats.delong import delong_test, mean_components, structural_components


def by_definition(scores: list[np.ndarray], label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas (K,) and their covariance (K, K) as in equations 2 to 5 of the 1988 paper, pair by pair."""
    v10, v01 = [], []
    for score in scores:
        x, y = score[label == 1], score[label == 0]
        kernel = np.array([[1.0 if b < a else 0.5 if b == a else 0.0 for b in y] for a in x])
        v10.append(kernel.mean(axis=1))
        v01.append(kernel.mean(axis=0))
    areas = np.array([v.mean() for v in v10])
    m, n = len(v10[0]), len(v01[0])
    s10, s01 = np.zeros((len(scores),) * 2), np.zeros((len(scores),) * 2)
    for r in range(len(scores)):
        for s in range(len(scores)):
            s10[r, s] = sum((a - areas[r]) * (b - areas[s]) for a, b in zip(v10[r], v10[s], strict=True)) / (m - 1)
            s01[r, s] = sum((a - areas[r]) * (b - areas[s]) for a, b in zip(v01[r], v01[s], strict=True)) / (n - 1)
    return areas, s10 / m + s01 / n


def made(seed: int, n: int = 60, levels: int | None = None, count: int = 4) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.r_[1, 1, 0, 0, (rng.random(n - 4) < 0.3).astype(int)]
    common = rng.normal(size=n)
    scores = [0.5 * k * label + common + rng.normal(size=n) for k in range(count)]
    probabilities = [1 / (1 + np.exp(-s)) for s in scores]
    return [np.round(p * levels) / levels if levels else p for p in probabilities], label


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([None, 10, 3]))
def test_equal_to_the_definition_with_and_without_ties(seed: int, levels: int | None) -> None:
    scores, label = made(seed, levels=levels)
    areas, covariance = by_definition(scores, label)
    parts = [structural_components(score, label) for score in scores]
    assert [p.auroc for p in parts] == pytest.approx([roc_auc_score(label, score) for score in scores], abs=1e-12)
    assert [p.variance for p in parts] == pytest.approx(list(np.diag(covariance)), abs=1e-14)
    found = delong_test(parts[0], parts[1])
    contrast = np.array([1.0, -1.0, 0.0, 0.0])
    error = float(np.sqrt(contrast @ covariance @ contrast))
    assert found.difference == pytest.approx(areas[0] - areas[1], abs=1e-12)
    assert found.standard_error == pytest.approx(error, abs=1e-10)
    if error > 1e-9:
        assert found.p_value == pytest.approx(2 * norm.sf(abs(areas[0] - areas[1]) / error), abs=1e-9)


def test_a_mean_over_seeds_is_the_contrast_of_all_areas() -> None:
    scores, label = made(3)
    areas, covariance = by_definition(scores, label)
    parts = [structural_components(score, label) for score in scores]
    found = delong_test(mean_components(parts[:2]), mean_components(parts[2:]))
    contrast = np.array([0.5, 0.5, -0.5, -0.5])
    assert found.difference == pytest.approx(contrast @ areas)
    assert found.standard_error == pytest.approx(np.sqrt(contrast @ covariance @ contrast))


def test_the_standard_error_is_the_scatter_over_samples() -> None:
    rng = np.random.default_rng(0)
    areas, errors = [], []
    for _ in range(1500):
        label = np.repeat([1, 0], [30, 120])
        part = structural_components(rng.normal(size=150) + 1.2 * label, label)
        areas.append(part.auroc)
        errors.append(part.standard_error)
    assert np.mean(areas) == pytest.approx(norm.cdf(1.2 / np.sqrt(2)), abs=0.004)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(areas), rel=0.06)


@pytest.mark.parametrize("gap", [0.0, 0.5, 0.9])
def test_the_p_value_is_near_that_of_a_permutation_test(gap: float) -> None:
    """Under the null the two answers to a case may change places (Venkatraman and Begg 1996, on ranks)."""
    rng = np.random.default_rng(5)
    n = 300
    label = (np.arange(n) % 4 == 0).astype(int)
    common = rng.normal(size=n)
    ranks = [
        np.argsort(np.argsort(skill * label + common + 0.8 * rng.normal(size=n))).astype(float)
        for skill in (1.2 - gap, 1.2)
    ]
    found = delong_test(*(structural_components(r, label) for r in ranks))
    swapped = []
    for _ in range(2000):
        swap = rng.random(n) < 0.5
        first, second = np.where(swap, ranks[1], ranks[0]), np.where(swap, ranks[0], ranks[1])
        swapped.append(structural_components(first, label).auroc - structural_components(second, label).auroc)
    permuted = (1 + np.sum(np.abs(swapped) >= abs(found.difference) - 1e-12)) / 2001
    assert found.p_value == pytest.approx(permuted, abs=0.03)


def test_what_can_not_be_tested() -> None:
    label = np.array([1, 1, 0, 0, 0])
    same = structural_components(np.array([0.9, 0.8, 0.1, 0.2, 0.3]), label)
    assert delong_test(same, same).p_value == 1
    opposite = structural_components(np.array([0.1, 0.2, 0.9, 0.8, 0.7]), label)
    perfect = delong_test(same, opposite)
    assert (perfect.difference, perfect.standard_error) == (1, 0)
    assert np.isnan(perfect.p_value)  # the formula has no scatter to go by
    one_event = structural_components(np.array([0.9, 0.1, 0.2]), np.array([1, 0, 0]))
    assert one_event.auroc == 1
    assert np.isnan(one_event.variance)
    assert np.isnan(structural_components(np.array([0.9, 0.1]), np.array([0, 0])).auroc)
