from __future__ import annotations

import numpy as np
import pytest

from builders import TASK, make_case, make_cohort_cases
from eagbench.api import Cases, Feature, vocabulary
from eagbench.registry.plugins import load_registry
from eagbench_plugins.perturbations.missing_by_value import Abnormality
from tests.plugins.perturbations.records import NAMES, NAN, fitted, of_series, typical

FEATURE = Feature("x", "x", "1", plausible=(0, 100), reference=(10.0, 20.0))
TRAINING = np.array([5.0, 8.0, 9.0, 9.5, 12.0, 15.0, 19.0, 25.0, 50.0])


def test_abnormality_is_the_share_of_training_measurements_nearer_to_the_limit() -> None:
    of = Abnormality.fit(FEATURE, TRAINING).of
    # Four training values lie below the range (5, 8, 9, 9.5) and two above it (25, 50).
    np.testing.assert_allclose(of(np.array([10.0, 15.0, 20.0])), 0.0)
    np.testing.assert_allclose(of(np.array([9.8, 8.5, 8.0, 1.0])), [0.0, 0.5, 0.5, 1.0])
    np.testing.assert_allclose(of(np.array([21.0, 25.0, 30.0, 60.0])), [0.0, 0.0, 0.5, 1.0])


@pytest.mark.parametrize("name", [n for n in vocabulary().names if None not in vocabulary().feature(n).reference])
def test_a_value_at_its_limit_is_normal(name: str) -> None:
    """Records hold float32: a pH of 7.35 is 7.3499999 there, a creatinine of 1.2 is 1.2000000477."""
    feature = vocabulary().feature(name)
    low, high = (float(limit) for limit in feature.reference if limit is not None)
    recorded = np.array([low - 1, low, (low + high) / 2, high, high + 1], dtype=np.float32).astype(np.float64)
    of_feature = Abnormality.fit(feature, recorded)
    assert (len(of_feature.below), len(of_feature.above)) == (1, 1)
    np.testing.assert_array_equal(of_feature.of(recorded), [0.0, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(of_feature.of(recorded[[0, 4]] + [-1.0, 1.0]), [1.0, 1.0])


def test_a_ph_at_the_limit_is_lost_as_often_as_one_in_the_middle() -> None:
    """Of a pH of 7.35 and one of 7.40 either goes first in half of the draws, beside training values far below."""
    feature = vocabulary().feature("ph")
    cases = [make_case({"ph": [7.0, 7.1, 7.35, 7.4]}, case_id=str(n)) for n in range(5)]
    perturbation = load_registry().create("perturbation", "missing_by_value", {"ratio": 1000.0})
    perturbation.fit(Cases((feature,), ("age", "sex"), TASK, tuple(cases)))
    asked = make_case({"ph": [7.35, 7.4]})
    first_lost = [bool(np.isnan(perturbation.apply(asked, 0.5, seed).values[0, 0])) for seed in range(400)]
    assert np.mean(first_lost) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / 400))


def test_one_limit_leaves_the_other_side_normal() -> None:
    of = Abnormality.fit(Feature("x", "x", "1", (0, 100), (None, 20.0)), TRAINING).of
    np.testing.assert_allclose(of(np.array([-50.0, 30.0])), [0.0, 0.5])


def test_quartiles_stand_for_limits_that_a_feature_does_not_have() -> None:
    fitted_on = Abnormality.fit(Feature("x", "x", "1", (0, 100)), TRAINING)
    assert (fitted_on.low, fitted_on.high) == (9.0, 19.0)


def test_beyond_a_limit_that_no_training_value_crossed_is_as_abnormal_as_can_be() -> None:
    of = Abnormality.fit(FEATURE, np.array([15.0])).of
    np.testing.assert_allclose(of(np.array([5.0, 15.0, 25.0])), [1.0, 0.0, 1.0])


def test_normal_values_are_lost_as_many_times_as_often_as_the_ratio_says() -> None:
    # Two measurements, one of which goes first: normal against the most abnormal, 1 to 1/ratio.
    case = of_series({"heart_rate": [80.0, 299.0]})
    first_lost = []
    for ratio in (1.0, 4.0, 20.0):
        perturbation = fitted("missing_by_value", ratio=ratio)
        lost = [np.isnan(perturbation.apply(case, 0.5, seed).values[0, 0]) for seed in range(1500)]
        first_lost.append(float(np.mean(lost)))
    np.testing.assert_allclose(first_lost, [1 / 2, 4 / 5, 20 / 21], atol=4 * np.sqrt(0.25 / 1500))


def test_as_many_are_lost_as_at_random() -> None:
    case = typical(5, n_times=20)
    left = [
        np.isfinite(fitted(name).apply(case, 0.3, 2).values).sum() for name in ("missing_by_value", "missing_values")
    ]
    assert left[0] == left[1]


def test_what_is_left_is_the_abnormal_part() -> None:
    heart_rates = [70.0, 72.0, 75.0, 80.0, 85.0, 90.0, 20.0, 290.0]
    perturbation = fitted("missing_by_value", ratio=1e6)
    for seed in range(50):
        left = perturbation.apply(of_series({"heart_rate": heart_rates}), 0.75, seed).values[:, 0]
        assert set(left[~np.isnan(left)]) == {20.0, 290.0}


def test_ratios_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        fitted("missing_by_value", ratio=0.5)


def test_features_are_lost_as_a_whole_and_only_measured_ones_count() -> None:
    case = of_series({"heart_rate": [80.0, 90.0], "glucose": [100.0, NAN], "weight": [70.0, 70.0], "gcs_total": [3, 4]})
    changed = fitted("missing_features").apply(case, 0.5, 7)
    assert changed.features == case.features
    assert len(changed.observed()) == 2
    for name in changed.observed():
        column = NAMES.index(name)
        np.testing.assert_array_equal(changed.values[:, column], case.values[:, column])
    assert len(fitted("missing_features").apply(case, 1.0, 7).observed()) == 1


def test_visits_are_lost_as_a_whole() -> None:
    case = of_series({"heart_rate": [80.0, 81.0, 82.0, 83.0], "glucose": [100.0, NAN, NAN, 101.0]})
    changed = fitted("missing_visits").apply(case, 0.5, 3)
    assert len(changed.times) == 2
    kept = np.isin(case.times, changed.times)
    np.testing.assert_array_equal(changed.values, case.values[kept])
    assert len(fitted("missing_visits").apply(case, 1.0, 3).times) == 1


def test_a_time_without_a_measurement_is_not_counted_as_a_visit() -> None:
    case = of_series({"heart_rate": [NAN, 81.0, NAN]})
    assert list(fitted("missing_visits").apply(case, 1.0, 3).times) == [0.0, 1.0, 2.0]


def test_the_last_hours_of_the_window_go_and_the_hour_itself_stays() -> None:
    case = of_series({"heart_rate": [70.0, 80.0, 90.0, 95.0]}, [1.0, 36.0, 36.5, 48.0])
    changed = fitted("last_hours_removed").apply(case, 12.0, 0)
    assert list(changed.times) == [1.0, 36.0]
    assert list(changed.values[:, 0]) == [70.0, 80.0]


def test_the_first_measurement_stays_however_late_it_is() -> None:
    case = of_series({"heart_rate": [NAN, 80.0, 90.0]}, [40.0, 41.0, 42.0])
    changed = fitted("last_hours_removed").apply(case, 36.0, 0)
    assert list(changed.times) == [41.0]
    assert changed.observed() == ("heart_rate",)


def test_the_window_is_the_tasks() -> None:
    # TASK of the builders has 48 hours; two hours before its end nothing of the first day is touched.
    case = make_case({"a": [1.0, 2.0]}, times=[2.0, 47.0])
    perturbation = fitted("last_hours_removed")
    perturbation.fit(make_cohort_cases([case], ["a"]))
    assert list(perturbation.apply(case, 2.0, 0).times) == [2.0]
