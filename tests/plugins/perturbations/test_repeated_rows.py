from __future__ import annotations

import numpy as np

from tests.plugins.perturbations.records import (
    FEATURES,
    NAMES,
    NAN,
    TRAINING,
    fitted,
    of_series,
    typical,
)

CASE = of_series({"heart_rate": [70.0, 80, 90, 100], "gcs_total": [15.0, 14, NAN, 3]}, [1.0, 2.0, 3.0, 4.0])


def test_duplicated_times_stand_twice_with_the_same_values() -> None:
    changed = fitted("duplicated_rows").apply(CASE, 0.5, 1)
    assert len(changed.times) == 6
    for time, row in zip(CASE.times, CASE.values, strict=True):
        copies = changed.values[changed.times == time]
        assert 1 <= len(copies) <= 2
        for copy in copies:
            np.testing.assert_array_equal(copy, row)
    twice = fitted("duplicated_rows").apply(CASE, 1.0, 1)
    assert list(twice.times) == [1, 1, 2, 2, 3, 3, 4, 4]


def test_an_empty_time_is_not_repeated() -> None:
    case = of_series({"heart_rate": [NAN, 80.0]})
    assert list(fitted("duplicated_rows").apply(case, 1.0, 1).times) == [0.0, 1.0, 1.0]


def test_a_contradiction_differs_by_two_standard_deviations_and_the_first_entry_stays() -> None:
    deviation = np.nanstd(np.concatenate([c.values[:, 0] for c in TRAINING]).astype(float))
    changed = fitted("contradictory_rows").apply(CASE, 1.0, 1)
    assert list(changed.times) == [1, 1, 2, 2, 3, 3, 4, 4]
    pairs = changed.values.reshape(4, 2, -1)
    for pair, row in zip(pairs, CASE.values, strict=True):
        at = [int(entry[0] == row[0]) for entry in pair].index(1)
        original, other = pair[at], pair[1 - at]
        np.testing.assert_array_equal(original, row)
        # Rounded as the training values are.
        np.testing.assert_allclose(abs(other[0] - row[0]), 2 * deviation, atol=0.051)
        np.testing.assert_array_equal(other[NAMES.index("gcs_total")], row[NAMES.index("gcs_total")])
        np.testing.assert_array_equal(np.isnan(other), np.isnan(row))


def test_contradictions_stand_on_either_side_and_go_either_way() -> None:
    case = of_series({"heart_rate": [150.0] * 60})
    pairs = fitted("contradictory_rows").apply(case, 1.0, 1).values[:, 0].reshape(60, 2)
    assert 10 < (pairs[:, 0] == 150).sum() < 50
    assert 10 < (pairs.max(axis=1) == 150).sum() < 50


def test_contradictions_stay_plausible() -> None:
    for seed in range(20):
        case = typical(seed)
        changed = fitted("contradictory_rows").apply(case, 1.0, seed)
        for feature, column in zip(FEATURES, changed.values.T, strict=True):
            low, high = feature.plausible
            seen = column[~np.isnan(column)]
            assert ((seen >= low - 1e-6) & (seen <= high + 1e-6)).all()
    at_the_limit = of_series({"temperature": [25.0, 45.0] * 10})
    pairs = fitted("contradictory_rows").apply(at_the_limit, 1.0, 1).values[:, NAMES.index("temperature")]
    assert (pairs.reshape(-1, 2)[:, 0] != pairs.reshape(-1, 2)[:, 1]).all()
