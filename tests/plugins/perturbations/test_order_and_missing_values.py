from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builders import make_case, make_cases
from eagbench.api import Case, Perturbation
from eagbench_plugins.perturbations.feature_order import FeatureOrder, FeatureOrderPositional, reordering
from eagbench_plugins.perturbations.missing_values import MissingValues

SEEDS = st.integers(0, 2**63 - 1)
SHARES = st.floats(0.0, 1.0)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))
    values = draw(hnp.arrays(np.float32, shape, elements=st.floats(-1e3, 1e3, width=32)))
    gaps = draw(hnp.arrays(np.bool_, values.shape))
    values = np.where(gaps, np.float32(np.nan), values)
    return make_case({f"f{i}": column for i, column in enumerate(values.T)}, case_id=draw(st.text(max_size=5)))


def build(kind: type) -> Perturbation:
    return kind(kind.Params())


# --- order ------------------------------------------------------------------------------------------------------------


@given(n_features=st.integers(0, 60), severity=SHARES, seed=SEEDS)
def test_reordering_moves_the_share_and_loses_nothing(n_features: int, severity: float, seed: int) -> None:
    order = reordering(n_features, severity, seed)
    assert sorted(order) == list(range(n_features))
    moved = int((order != np.arange(n_features)).sum())
    expected = round(severity * n_features)
    if expected == 1:  # one alone can't be moved
        expected = 2 if n_features > 1 else 0
    assert moved == expected


@given(n_features=st.integers(0, 60), shares=st.tuples(SHARES, SHARES), seed=SEEDS)
def test_a_higher_severity_moves_every_position_that_a_lower_one_moves(
    n_features: int, shares: tuple[float, float], seed: int
) -> None:
    low, high = (
        set(np.flatnonzero(reordering(n_features, share, seed) != np.arange(n_features))) for share in sorted(shares)
    )
    assert low <= high


def test_every_feature_is_as_likely_to_move_as_any_other() -> None:
    n_features, draws = 10, 4000
    moved = np.mean([reordering(n_features, 0.4, seed) != np.arange(n_features) for seed in range(draws)], axis=0)
    # Four standard errors of a share of 0.4.
    np.testing.assert_allclose(moved, 0.4, atol=4 * np.sqrt(0.4 * 0.6 / draws))


@given(case=cases(), severity=SHARES, seed=SEEDS)
def test_names_travel_with_values_in_feature_order(case: Case, severity: float, seed: int) -> None:
    changed = build(FeatureOrder).apply(case, severity, seed)
    np.testing.assert_array_equal(changed.values_in_order(case.features), case.values)


@given(case=cases(), severity=SHARES, seed=SEEDS)
def test_names_stay_in_the_positional_order_and_columns_move_as_in_feature_order(
    case: Case, severity: float, seed: int
) -> None:
    named = build(FeatureOrder).apply(case, severity, seed)
    positional = build(FeatureOrderPositional).apply(case, severity, seed)
    assert positional.features == case.features
    np.testing.assert_array_equal(positional.values, named.values)


def test_full_severity_leaves_no_value_under_its_own_name() -> None:
    case = make_case({name: [float(i)] for i, name in enumerate("abcdefg")})
    changed = build(FeatureOrderPositional).apply(case, 1.0, 3)
    assert sorted(changed.values[0]) == list(range(7))
    assert (changed.values != case.values).all()


# --- missing values ---------------------------------------------------------------------------------------------------


@given(case=cases(), severity=SHARES, seed=SEEDS)
def test_missing_values_removes_the_share_and_touches_nothing_else(case: Case, severity: float, seed: int) -> None:
    changed = build(MissingValues).apply(case, severity, seed)
    before, after = ~np.isnan(case.values), ~np.isnan(changed.values)
    n_before = int(before.sum())
    assert (after <= before).all()
    np.testing.assert_array_equal(changed.values[after], case.values[after])
    assert int(after.sum()) == max(n_before - round(severity * n_before), min(n_before, 1))
    assert changed.features == case.features


@given(case=cases(), shares=st.tuples(SHARES, SHARES), seed=SEEDS)
def test_a_higher_severity_removes_all_that_a_lower_one_removes(
    case: Case, shares: tuple[float, float], seed: int
) -> None:
    low, high = (np.isnan(build(MissingValues).apply(case, share, seed).values) for share in sorted(shares))
    assert (low <= high).all()


def test_full_severity_leaves_one_measurement() -> None:
    case = make_cases(1, {"a": 1.0}, missing=0.2).cases[0]
    assert np.isfinite(build(MissingValues).apply(case, 1.0, 0).values).sum() == 1


def test_missing_values_does_not_look_at_values() -> None:
    case = make_cases(1, {"a": 1.0}, missing=0.2).cases[0]
    other = make_case(
        {name: -7 * column for name, column in zip(case.features, case.values.T, strict=True)}, case.times
    )
    np.testing.assert_array_equal(
        np.isnan(build(MissingValues).apply(case, 0.5, 11).values),
        np.isnan(build(MissingValues).apply(other, 0.5, 11).values),
    )


def test_every_measurement_is_as_likely_to_be_removed_as_any_other() -> None:
    case = make_case({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, float("nan")]})
    draws = 4000
    removed = np.mean([np.isnan(build(MissingValues).apply(case, 0.4, seed).values) for seed in range(draws)], axis=0)
    np.testing.assert_allclose(removed[~np.isnan(case.values)], 0.4, atol=4 * np.sqrt(0.4 * 0.6 / draws))
