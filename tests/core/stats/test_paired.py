"""Paired differences: p-value, interval and error of resampled differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from eagbench.stats.bootstrap import weight_blocks
from eagbench.stats.paired import DETECTABLE_STANDARD_ERRORS, bootstrap_p_value, paired_difference, paired_differences


def test_by_hand() -> None:
    draws = np.array([-0.1, 0.0, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4])
    assert bootstrap_p_value(draws) == pytest.approx(2 * (1 + 2) / 10)  # two of nine are at or below 0
    assert bootstrap_p_value(-draws) == bootstrap_p_value(draws)
    assert bootstrap_p_value(np.full(999, 0.1)) == pytest.approx(0.002)  # all the same: the count alone


def test_no_difference_has_no_width_and_is_no_test() -> None:
    found = paired_difference(np.zeros(500), 0.95)
    assert (found.ci_low, found.ci_high, found.standard_error, found.test) == (0, 0, 0, "")
    assert np.isnan(found.p_value)
    assert np.isnan(paired_difference(np.full(500, -1e-16), 0.95).p_value)  # rounding is no difference
    assert bootstrap_p_value(np.full(500, -1e-16)) == 1


@pytest.mark.parametrize("z", [3.8, 5.0, 7.0])
def test_beyond_what_can_be_counted_the_p_value_is_that_of_a_normal_distribution(z: float) -> None:
    draws = np.random.default_rng(2).normal(z, 1.0, 1000)
    assert draws.min() > 0  # nothing to count: the count alone would say 0.002 whatever the difference
    assert bootstrap_p_value(draws) == pytest.approx(2 * norm.sf(draws.mean() / draws.std(ddof=1)), rel=1e-6)
    assert bootstrap_p_value(-draws) == pytest.approx(bootstrap_p_value(draws), rel=1e-6)
    assert 0 < bootstrap_p_value(draws) < 2 / 1001
    # Where a wide distribution would give more than the count does, the count stands.
    skewed = np.random.default_rng(2).exponential(1.0, 1000) + 0.01
    assert bootstrap_p_value(skewed) == pytest.approx(2 / 1001)


def test_of_five_events_or_fewer_nothing_is_said_beyond_the_count() -> None:
    """The metric is then undefined on more than one resample in 200, which hold no event."""
    draws = np.random.default_rng(2).normal(5.0, 1.0, 1000)
    few, more = np.full(6, np.nan), np.full(5, np.nan)
    assert paired_difference(np.concatenate([draws, few]), 0.95).p_value == pytest.approx(2 / 1001)
    assert paired_difference(np.concatenate([draws, more]), 0.95).p_value == bootstrap_p_value(draws) < 1e-5


def test_a_test_is_named_by_its_resampled_differences_up_to_a_positive_factor() -> None:
    draws = np.random.default_rng(0).normal(0.1, 0.1, 400)
    draws[7] = np.nan
    name = paired_difference(draws, 0.95).test
    assert name
    assert {paired_difference(draws * factor, 0.95).test for factor in (0.5, 3.0, 1 + 1e-12)} == {name}
    others = (-draws, draws + 0.001, np.where(np.arange(400) == 3, 0.0, draws), np.roll(draws, 1))
    assert len({name, *(paired_difference(other, 0.95).test for other in others)}) == 5


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_the_p_value_and_the_interval_say_the_same(seed: int, shift: float) -> None:
    draws = np.random.default_rng(seed).normal(shift, 1.0, 1999)
    found = paired_difference(draws, 0.95)
    if found.p_value < 0.049:
        assert found.ci_low > 0 or found.ci_high < 0
    if found.p_value > 0.051:
        assert found.ci_low <= 0 <= found.ci_high


def test_undefined_resamples_are_left_out_and_counted() -> None:
    draws = np.concatenate([np.linspace(-0.1, 0.5, 100), np.full(60, np.nan)])
    found = paired_difference(draws, 0.95)
    assert found.undefined == 60
    assert found.p_value == bootstrap_p_value(draws[:100], undefined=60)
    most = paired_difference(np.concatenate([draws[:10], np.full(60, np.nan)]), 0.95)
    assert most.undefined == 60
    assert np.isnan([most.ci_low, most.ci_high, most.standard_error, most.smallest_detectable, most.p_value]).all()


def test_the_factor_is_that_of_a_test_at_5_percent_with_80_percent_power() -> None:
    assert pytest.approx(norm.ppf(0.975) + norm.ppf(0.8), abs=0.01) == DETECTABLE_STANDARD_ERRORS


def test_of_true_null_hypotheses_few_are_rejected() -> None:
    """Two equally good sets of answers, 200 samples of 150 cases: 5 % of tests reject, within what chance allows."""
    rng = np.random.default_rng(1)
    patients = [f"p{i:03d}" for i in range(150)]
    weights = np.concatenate(list(weight_blocks(patients, 400, 0)))
    rejected = 0
    for _ in range(200):
        loss = rng.normal(size=(2, 150)) + rng.normal(size=150)
        draws = weights @ (loss[0] - loss[1]) / weights.sum(axis=1)
        rejected += bootstrap_p_value(draws) < 0.05
    assert 2 <= rejected <= 22


def test_differences_computed_at_once_are_those_computed_alone() -> None:
    rng = np.random.default_rng(4)
    rows = [*(rng.normal(shift, 1.0, 300) for shift in (0.0, 1.0, 8.0)), np.zeros(300), np.full(300, np.nan)]
    rows[1][::50] = np.nan
    for row, found in zip(rows, paired_differences(rows, 0.95), strict=True):
        alone = paired_difference(row, 0.95)
        assert repr(found) == repr(alone)  # a NaN equals nothing, but is written alike
        assert repr((found.p_value, found.test)) == repr((alone.p_value, alone.test))
        if not np.isnan(row).all():
            assert found.standard_error == float(np.std(row[~np.isnan(row)], ddof=1))
