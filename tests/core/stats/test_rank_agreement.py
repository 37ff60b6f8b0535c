"""Rank correlations on weighted cases and on rankings of methods, against SciPy on repeated cases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from eagbench.stats.rank_agreement import kendall_tau, spearman

LEVELS = st.integers(0, 4).map(lambda level: level / 4)


@given(st.integers(2, 9).flatmap(lambda k: st.tuples(*[st.lists(LEVELS, min_size=k, max_size=k)] * 2)))
def test_kendalls_tau_equals_scipy(pair: tuple[list[float], list[float]]) -> None:
    first, second = (np.array([values]) for values in pair)
    expected = kendalltau(first[0], second[0]).statistic
    assert kendall_tau(first, second)[0] == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_rows_are_apart_and_undefined_numbers_stay_so() -> None:
    first = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, np.nan], [1.0, 1.0, 1.0], [0.1 + 0.2, 0.3, 1.0]])
    second = np.array([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [1.0, 1.0, 2.0]])
    tau = kendall_tau(first, second)
    assert tau[0] == -1
    assert np.isnan(tau[1:3]).all()
    assert tau[3] == 1  # 0.1 + 0.2 and 0.3 tie


@given(st.integers(0, 2**32 - 1), st.sampled_from([3, 10, None]))
def test_spearman_equals_scipy_on_repeated_cases(seed: int, levels: int | None) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=25)
    y = 0.5 * x + rng.normal(size=25)
    if levels is not None:
        x, y = (np.round(v * levels / 4) for v in (x, y))
    weights = rng.multinomial(25, np.full(25, 1 / 25), size=4).astype(float)
    found = spearman(x, y, weights)
    for value, row in zip(found, weights, strict=True):
        chosen = np.repeat(np.arange(25), row.astype(int))
        if np.ptp(x[chosen]) > 0 and np.ptp(y[chosen]) > 0:
            assert value == pytest.approx(spearmanr(x[chosen], y[chosen]).statistic, abs=1e-9)
        else:
            assert np.isnan(value)
