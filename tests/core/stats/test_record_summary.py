from __future__ import annotations

import numpy as np
import pytest

from builders import make_case, make_cases, make_cohort_cases
from eagbench.stats.record_summary import RecordSummary

NAN = float("nan")


def test_known_answers() -> None:
    case = make_case({"a": [NAN, 4.0, 1.0, NAN], "b": [NAN] * 4, "c": [2.0, NAN, NAN, 5.0]}, static={"age": 71.0})
    cases = make_cohort_cases([case], ["a", "b", "c"], ["age", "sex"])
    summary = RecordSummary(("c", "a", "b"), ("sex", "age"), ("mean", "min", "max", "first", "last", "count"))
    expected = [
        [3.5, 2.0, 5.0, 2.0, 5.0, 2.0],
        [2.5, 1.0, 4.0, 4.0, 1.0, 2.0],
        [NAN, NAN, NAN, NAN, NAN, 0.0],
    ]
    np.testing.assert_array_equal(summary.table(cases), [[*np.ravel(expected), NAN, 71.0]])
    assert summary.columns[:2] == ("c.mean", "c.min")
    assert summary.columns[-2:] == ("static.sex", "static.age")
    np.testing.assert_array_equal(summary.feature_of_column, [0] * 6 + [1] * 6 + [2] * 6 + [-1, -1])


def test_agrees_with_numpy_on_random_records() -> None:
    cases = make_cases(30, {"a": 1.0}, n_times=8, missing=0.5).cases
    table = RecordSummary(cases.feature_names, (), ("mean", "min", "max")).table(cases)
    values = np.stack([case.values for case in cases]).astype(np.float64)  # (N, T, F)
    measured = ~np.isnan(values).all(axis=1)
    for k, reference in enumerate((np.nanmean, np.nanmin, np.nanmax)):
        ours = table[:, k::3]
        assert np.isnan(ours[~measured]).all()
        with np.errstate(all="ignore"):
            for n, f in np.argwhere(measured):
                assert ours[n, f] == pytest.approx(reference(values[n, :, f]), rel=1e-12)


def test_a_case_without_times_has_counts_of_zero_and_nothing_else() -> None:
    cases = make_cohort_cases([make_case({"a": [], "b": []})], ["a", "b"])
    np.testing.assert_array_equal(
        RecordSummary(("a", "b"), ("age",), ("last", "count")).table(cases), [[NAN, 0.0, NAN, 0.0, 60.0]]
    )


def test_json_round_trip() -> None:
    summary = RecordSummary(("a", "b"), ("age",), ("last", "count"))
    assert RecordSummary.from_json(summary.as_json()) == summary
