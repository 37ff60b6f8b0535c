from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_gaps_by_hand() -> None:
    # Che et al. 2018, figure 2, in steps of a quarter of the window: measured in steps 1 and 2, then never again.
    items = [
        make_case({"a": [1.0, 2.0], "b": [NAN, NAN]}, [12.5, 30.0], "x"),
        make_case({"b": [NAN, 5.0], "a": [3.0, NAN]}, [0.0, 47.0], "y"),
    ]
    cases = make_cohort_cases(items, ["a", "b"])
    observed, elapsed = Channels.fit(cases, 4).gaps(cases, 4)
    np.testing.assert_array_equal(observed[:, :, 0], [[0, 1, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(observed[:, :, 1], [[0, 0, 0, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(elapsed[:, :, 0], [[0, 0.25, 0.25, 0.25], [0, 0.25, 0.5, 0.75]])
    np.testing.assert_allclose(elapsed[:, :, 1], [[0, 0.25, 0.5, 0.75], [0, 0.25, 0.5, 0.75]])


def test_a_feature_that_a_cohort_lacks_was_never_measured() -> None:
    channels = Channels.fit(make_cases(20, {"a": 1.0}, missing=0.0).cases, 4)
    observed, elapsed = channels.gaps(make_cohort_cases([make_case({"a": [12.0]})], ["a"]), 4)
    np.testing.assert_array_equal(observed[0, :, 1:], 0.0)
    np.testing.assert_allclose(elapsed[0, -1, 1:], 0.75)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 1000), periods=st.integers(1, 9), missing=st.floats(0.0, 1.0))
def test_gaps_say_from_which_step_a_value_was_carried(seed: int, periods: int, missing: float) -> None:
    cases = make_cases(3, {"a": 1.0}, n_noise=1, missing=missing, seed=seed).cases
    channels = Channels.fit(cases, periods)
    values, (observed, elapsed) = channels.values(cases, periods), channels.gaps(cases, periods)
    for n, t, f in np.argwhere(observed == 0):
        steps = round(float(elapsed[n, t, f]) * periods)
        if t > 0:
            source = t - steps
            assert observed[n, source + 1 : t, f].sum() == 0
            assert observed[n, source, f] == 1 or (source == 0 and not observed[n, :t, f].any())
            assert values[n, t, f] == values[n, source, f]
        else:
            assert steps == 0
            assert values[n, t, f] == 0
