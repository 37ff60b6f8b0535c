"""Quantiles of counted numbers are NumPy's of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from eagbench.stats import value_tally
from eagbench.stats.value_tally import ValueTally

PROBABILITIES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999, 1.0)


@pytest.mark.parametrize("waiting", [1_000_000, 3])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 3, 10, 1001])
def test_quantiles_are_those_of_numpy_to_the_bit(
    n: int, kind: type[np.floating], waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_tally, "_WAITING", waiting)
    rng = np.random.default_rng(n)
    for decimals in (0, 1, 8):
        numbers = rng.normal(50, 20, n).round(decimals).astype(kind)
        tally = ValueTally()
        for part in np.array_split(numbers, 7):
            tally.add(part)
        assert tally.n == n
        for _ in range(2):  # asking changes nothing
            np.testing.assert_array_equal(tally.quantiles(PROBABILITIES), np.quantile(numbers, PROBABILITIES))
        tally.add(numbers)
        both = np.concatenate([numbers, numbers])
        np.testing.assert_array_equal(tally.quantiles(PROBABILITIES), np.quantile(both, PROBABILITIES))


def test_without_numbers_there_are_no_quantiles() -> None:
    tally = ValueTally()
    tally.add(np.zeros(0, np.float32))
    assert tally.n == 0
    assert np.isnan(tally.quantiles((0.5, 0.9))).all()


def test_only_distinct_numbers_are_held() -> None:
    tally = ValueTally()
    for _ in range(100):
        tally.add(np.arange(30_000, dtype=np.float32))
    assert tally.n == 3_000_000
    assert sum(len(numbers) for numbers, _ in tally._waiting) <= 1_000_000
