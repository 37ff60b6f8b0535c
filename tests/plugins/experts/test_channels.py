from __future__ import annotations

import numpy as np

from builders import make_case, make_cases, make_cohort_cases
from eagbench_plugins.experts.channels import LARGEST, Channels

NAN = float("nan")


def test_known_answers() -> None:
    # Four periods of 12 hours; the window is 48 hours.
    items = [
        make_case({"a": [1.0, NAN, 3.0], "b": [NAN, 5.0, NAN]}, [0.0, 13.0, 30.0], "x"),
        make_case({"a": [5.0, NAN, NAN], "b": [NAN, NAN, NAN]}, [1.0, 2.0, 47.0], "y", static={"age": 40.0}),
    ]
    cases = make_cohort_cases(items, ["a", "b"])
    channels = Channels.fit(cases, 4)
    carried = np.array([1.0, 1.0, 3.0, 3.0, 5.0, 5.0, 5.0, 5.0])
    np.testing.assert_allclose(channels.mean, [carried.mean(), 5.0])
    np.testing.assert_allclose(channels.scale, [carried.std(), np.inf])  # b has one value only: it says nothing
    expected = (carried.reshape(2, 4) - carried.mean()) / carried.std()
    np.testing.assert_allclose(channels.values(cases, 4)[:, :, 0], expected, rtol=1e-6)
    np.testing.assert_array_equal(channels.values(cases, 4)[:, :, 1], 0.0)
    np.testing.assert_allclose(channels.static(cases), [[1.0, 0.0], [-1.0, 0.0]])


def test_before_the_first_value_stands_the_training_mean() -> None:
    train = make_cases(50, {"a": 1.0}, missing=0.0).cases
    channels = Channels.fit(train, 4)
    late = make_cohort_cases([make_case({"a": [12.0]}, [25.0])], ["a"])
    values = channels.values(late, 4)[0]  # (P, F)
    np.testing.assert_array_equal(values[:2, 0], 0.0)
    np.testing.assert_allclose(values[2:, 0], (12.0 - channels.mean[0]) / channels.scale[0], rtol=1e-6)
    np.testing.assert_array_equal(values[:, 1:], 0.0)  # features that the record lacks


def test_outliers_are_cut() -> None:
    channels = Channels.fit(make_cases(50, {"a": 1.0}).cases, 4)
    wild = make_cohort_cases([make_case({"a": [1e6]})], ["a"])
    assert channels.values(wild, 4).max() == LARGEST
