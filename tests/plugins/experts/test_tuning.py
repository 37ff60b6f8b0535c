from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builders import make_cases
from eagbench.api import LabelledCases
from eagbench_plugins.experts.tuning import is_large_enough, patient_folds


def with_labels(n_cases: int, n_events: int) -> LabelledCases:
    cases = make_cases(n_cases, {"a": 1.0}, n_noise=0, n_times=1).cases
    return LabelledCases(cases, (np.arange(n_cases) < n_events).astype(np.int64))


@pytest.mark.parametrize(
    ("n_cases", "n_events", "enough"),
    [(100, 20, True), (99, 20, False), (100, 19, False), (100, 80, True), (100, 81, False), (0, 0, False)],
)
def test_hundred_cases_and_twenty_events_are_enough(n_cases: int, n_events: int, enough: bool) -> None:
    assert is_large_enough(with_labels(n_cases, n_events)) is enough


def test_folds_keep_patients_together_and_cover_every_case_once() -> None:
    cases = make_cases(300, {"a": 1.0}, n_noise=0, n_times=1)
    shared = [replace(case, patient_id=f"patient-{n // 3}") for n, case in enumerate(cases.cases)]
    cases = LabelledCases(cases.cases.with_items(shared), cases.labels)
    folds = patient_folds(cases, seed=3)
    assert folds is not None
    np.testing.assert_array_equal(np.sort(np.concatenate([out for _, out in folds])), np.arange(300))
    patients = np.array(cases.cases.patient_ids)
    for remaining, left_out in folds:
        assert not set(patients[remaining]) & set(patients[left_out])
        assert abs(cases.labels[left_out].mean() - cases.prevalence) < 0.1


def test_too_few_events_are_not_divided() -> None:
    assert patient_folds(with_labels(200, 19), seed=0) is None
    assert patient_folds(with_labels(200, 20), seed=0) is not None
