from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench_plugins.perturbations.training_values import observed_values, scales
from tests.plugins.perturbations.records import FEATURES, NAMES, NAN, TRAINING, cohort_of, fitted, of_series

MEASURED = [NAMES.index(f.name) for f in FEATURES if f.unit != "1"]
SCORES = [NAMES.index(f.name) for f in FEATURES if f.unit == "1"]


def full_case(n_times: int = 400):  # type: ignore[no-untyped-def]
    middle = {"heart_rate": 100.0, "glucose": 120.0, "temperature": 36.0, "creatinine": 8.0}
    rest = {"alanine_aminotransferase": 400.0, "gcs_total": 9.0, "mechanical_ventilation": 1.0, "weight": 90.0}
    return of_series({name: [value] * n_times for name, value in {**middle, **rest}.items()}, [0.1] * n_times)


def test_values_of_training_are_gathered_by_name() -> None:
    turned = cohort_of(*(replace(c, features=c.features[::-1], values=c.values[:, ::-1].copy()) for c in TRAINING))
    for name, values in observed_values(TRAINING).items():
        np.testing.assert_array_equal(values, observed_values(turned)[name])


def test_scales_tell_scores_from_measurements_and_know_how_values_are_recorded() -> None:
    case = of_series(
        {
            "heart_rate": [80.0, 90.0, 100.0],
            "creatinine": [0.9, 1.2, 1.0],
            "temperature": [36.65, 37.0, 38.0],
            "gcs_total": [15.0, 3.0, 8.0],
        }
    )
    found = scales(cohort_of(case))
    np.testing.assert_allclose(found["heart_rate"].standard_deviation, np.std([80, 90, 100]))
    assert [found[n].decimals for n in ("heart_rate", "creatinine", "temperature")] == [0, 1, 2]
    assert [found[n].measured for n in ("heart_rate", "creatinine", "gcs_total")] == [True, True, False]
    assert found["weight"].standard_deviation == 0.0


def test_noise_has_the_standard_deviation_that_was_asked_for() -> None:
    case = full_case()
    changed = fitted("gaussian_noise").apply(case, 0.2, 3)
    for column in MEASURED:
        noise = changed.values[:, column].astype(float) - case.values[:, column]
        expected = 0.2 * np.nanstd(observed_values(TRAINING)[NAMES[column]])
        # The standard error of a standard deviation of 400 values is 3.5 %; rounding to tenths adds next to nothing.
        np.testing.assert_allclose(noise.std(), expected, rtol=0.15)
        assert abs(noise.mean()) < 4 * expected / 20


def test_noise_stretches_with_severity_and_is_rounded_as_values_are() -> None:
    case = full_case(50)
    once, twice = (fitted("gaussian_noise").apply(case, severity, 3).values.astype(float) for severity in (0.2, 0.4))
    for column in MEASURED:
        first, second = once[:, column] - case.values[:, column], twice[:, column] - case.values[:, column]
        np.testing.assert_allclose(second, 2 * first, atol=0.16)
        np.testing.assert_allclose(once[:, column], np.round(once[:, column], 1), atol=1e-4)


def test_noise_stays_plausible_and_leaves_scores_and_flags_alone() -> None:
    case = full_case(200)
    changed = fitted("gaussian_noise").apply(case, 50.0, 3)
    low, high = (np.array([f.plausible[side] for f in FEATURES]) for side in (0, 1))
    assert (changed.values >= low - 1e-6).all()
    assert (changed.values <= high + 1e-6).all()
    np.testing.assert_array_equal(changed.values[:, SCORES], case.values[:, SCORES])


def test_outliers_are_what_no_living_patient_has() -> None:
    case = full_case()
    changed = fitted("outliers").apply(case, 0.1, 4)
    replaced = changed.values != case.values
    n_measured = len(MEASURED) * len(case.times)
    assert replaced.sum() == round(0.1 * n_measured)
    assert not replaced[:, SCORES].any()
    for column in MEASURED:
        low, high = FEATURES[column].plausible
        values = changed.values[replaced[:, column], column]
        assert ((values > high) | (values < low)).all()
        assert (values <= high + (high - low)).all()
        assert set(values[values < low]) == {0.0}  # all of these features have a plausible range above 0
        assert 0.3 < (values == 0).mean() < 0.7


def test_a_decimal_point_slips_by_one_place_either_way() -> None:
    case = full_case()
    changed = fitted("decimal_slips").apply(case, 0.2, 4)
    slipped = changed.values != case.values
    assert slipped.sum() == round(0.2 * len(MEASURED) * len(case.times))
    ratio = (changed.values / case.values)[slipped]
    assert set(np.round(ratio, 4)) == {np.float32(0.1), np.float32(10.0)}
    assert 0.4 < (ratio > 1).mean() < 0.6
    assert not slipped[:, SCORES].any()


def test_a_zero_and_a_missing_value_can_not_slip() -> None:
    case = of_series({"glucose": [0.0, NAN, 50.0]})
    values = fitted("decimal_slips").apply(case, 1.0, 4).values[:, NAMES.index("glucose")]
    assert values[0] == 0
    assert np.isnan(values[1])
    assert values[2] in (5.0, 500.0)
