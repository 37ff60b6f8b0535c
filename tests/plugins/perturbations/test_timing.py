from __future__ import annotations

import numpy as np
import pytest

from tests.plugins.perturbations.records import NAN, fitted, of_series, typical


def test_jitter_moves_rows_as_a_whole_by_no_more_than_asked_for() -> None:
    n = 300
    case = of_series(
        {"heart_rate": list(np.arange(n) + 20.0), "glucose": list(np.arange(n) + 500.0)}, list(np.linspace(10, 38, n))
    )
    changed = fitted("time_jitter").apply(case, 3.0, 5)
    assert (np.diff(changed.times) >= 0).all()
    np.testing.assert_array_equal(changed.values[:, 0] + 480, changed.values[:, 1])  # a row stays together
    before = case.times[(changed.values[:, 0] - 20).astype(int)]
    moved = changed.times - before
    assert np.abs(moved).max() <= 3.0
    # Even between -3 and 3 hours: the standard deviation is 3 / sqrt(3), that of 300 draws within a tenth.
    np.testing.assert_allclose(moved.std(), np.sqrt(3), rtol=0.1)


def test_jitter_stays_in_the_window() -> None:
    case = of_series({"heart_rate": [80.0] * 40}, [0.0] * 20 + [48.0] * 20)
    times = fitted("time_jitter").apply(case, 6.0, 5).times
    assert times.min() == 0.0
    assert times.max() == 48.0
    assert len(set(times)) > 10


def test_shuffle_keeps_rows_and_times_and_moves_the_share() -> None:
    case = of_series({"heart_rate": [70.0, 71, 72, 73, 74], "glucose": [100.0, 101, 102, 103, 104]})
    changed = fitted("time_shuffle").apply(case, 0.6, 2)
    np.testing.assert_array_equal(changed.times, case.times)
    assert sorted(map(tuple, changed.values[:, :2])) == sorted(map(tuple, case.values[:, :2]))
    assert (changed.values[:, 0] != case.values[:, 0]).sum() == 3


def test_shuffle_before_last_keeps_each_features_times_and_last_value() -> None:
    case = typical(4, n_times=12)
    changed = fitted("time_shuffle_before_last").apply(case, 1.0, 2)
    np.testing.assert_array_equal(np.isnan(changed.values), np.isnan(case.values))
    for before, after in zip(case.values.T, changed.values.T, strict=True):
        seen = ~np.isnan(before)
        assert sorted(before[seen]) == sorted(after[seen])
        assert list(before[seen][-1:]) == list(after[seen][-1:])
    one = of_series({"heart_rate": [1.0, 2, 3, 4, 5, 9]})
    moved = fitted("time_shuffle_before_last").apply(one, 1.0, 2).values[:, 0]
    assert (moved[:-1] != one.values[:-1, 0]).all()
    assert moved[-1] == 9


@pytest.mark.parametrize(
    ("hours", "kept"),
    [
        (1.0, [0, 1, 2, 3, 4, 5, 6]),
        (2.0, [0, 2, 4, 6]),
        (3.0, [0, 3, 6]),
        (4.0, [2, 6]),
        (7.0, [6]),
        (24.0, [6]),
    ],
)
def test_hourly_measurements_become_rarer_counted_from_the_last(hours: float, kept: list[int]) -> None:
    case = of_series({"heart_rate": [float(60 + i) for i in range(7)]})
    changed = fitted("coarser_sampling").apply(case, hours, 0)
    assert list(changed.times) == kept
    assert list(changed.values[:, 0]) == [60 + i for i in kept]


def test_each_feature_is_thinned_on_its_own() -> None:
    case = of_series({"heart_rate": [60.0, 61, 62, 63], "glucose": [100.0, NAN, NAN, NAN]}, [0.0, 0.1, 0.2, 5.0])
    changed = fitted("coarser_sampling").apply(case, 4.0, 0)
    # Heart rate keeps the last value and the one nearest to it that is four hours away; glucose has one only.
    assert list(changed.times) == [0.0, 0.2, 5.0]
    np.testing.assert_array_equal(changed.values[:, :2], [[NAN, 100.0], [62.0, NAN], [63.0, NAN]])


def test_rounding_of_times_does_not_count() -> None:
    case = of_series({"heart_rate": [60.0, 61.0]}, [0.1, 0.1 + 0.2 + 0.7])  # 0.8999999999999999 hours apart
    assert len(fitted("coarser_sampling").apply(case, 0.9, 0).times) == 2
