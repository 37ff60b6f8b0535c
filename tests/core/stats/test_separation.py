"""How well a number separates two classes, against references and under resampling."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from eagbench.stats.bootstrap import patient_weights
from eagbench.stats.delong import structural_components
from eagbench.stats.separation import separation


def test_area_and_error_of_independent_cases() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    numbers = rng.normal(size=400) + labels
    found = separation(numbers, labels, [str(i) for i in range(400)], 0.95)
    assert found.auroc == pytest.approx(roc_auc_score(labels, numbers))
    assert (found.n_positive, found.n_negative) == (labels.sum(), 400 - labels.sum())
    error = structural_components(numbers, labels).standard_error
    width = np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))
    assert width == pytest.approx(2 * 1.959964 * error / (found.auroc * (1 - found.auroc)), rel=0.01)


def test_cases_of_one_patient_widen_it_as_resampling_patients_does() -> None:
    rng = np.random.default_rng(1)
    of_patient = rng.integers(2, size=120)
    labels = np.repeat(of_patient, 5)
    numbers = np.repeat(rng.normal(size=120) + of_patient, 5) + 0.1 * rng.normal(size=600)
    patients = [str(i) for i in np.repeat(np.arange(120), 5)]
    clustered = separation(numbers, labels, patients, 0.95)
    as_if = separation(numbers, labels, [str(i) for i in range(600)], 0.95)
    assert clustered.high - clustered.low > 1.5 * (as_if.high - as_if.low)
    draws = [roc_auc_score(labels, numbers, sample_weight=row) for row in patient_weights(patients, 500, 0)]
    reach = (np.quantile(draws, 0.975) - np.quantile(draws, 0.025)) / (clustered.high - clustered.low)
    assert reach == pytest.approx(1, abs=0.15)


def test_lower_numbers_separate_as_well() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(2, size=200)
    numbers = rng.normal(size=200) + 2 * labels
    patients = [str(i) for i in range(200)]
    up, down = separation(numbers, labels, patients, 0.95), separation(-numbers, labels, patients, 0.95)
    assert (down.strength, down.surely) == (pytest.approx(up.strength), pytest.approx(up.surely))
    assert up.low < up.auroc < up.high


def test_perfect_separation_has_no_interval() -> None:
    labels = np.array([0] * 10 + [1] * 10)
    found = separation(labels * 1.0, labels, [str(i) for i in range(20)], 0.95)
    assert (found.auroc, found.surely) == (1.0, 1.0)
    assert np.isnan(found.low)
