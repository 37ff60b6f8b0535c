"""Statistics of the parts of a window, against pandas."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import Cases, RecordTextParams
from eagbench.config.settings import Statistic
from eagbench.prompting.periods import shown, summaries
from tests.builders import TASK

NAN = float("nan")
BY_PANDAS: dict[Statistic, str] = {
    "last": "last",
    "lowest": "min",
    "highest": "max",
    "mean": "mean",
    "count": "count",
}


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.integers(1, 5))
def test_statistics_are_those_of_pandas(seed: int, n_times: int, periods: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 48, n_times))
    values = rng.normal(size=(n_times, 3)).astype(np.float32)
    values[rng.random(values.shape) < 0.5] = np.nan
    found = summaries(values, times, 48.0, periods, tuple(BY_PANDAS))
    place = pd.Series(np.minimum((times / 48.0 * periods).astype(int), periods - 1), dtype=int)
    by_period = pd.DataFrame(values).groupby(place)
    # A mean may be nearer to 0 than float32 rounds its values.
    rounding = float(np.finfo(np.float32).eps * np.abs(np.nan_to_num(values)).max(initial=0.0))
    for statistic, name in BY_PANDAS.items():
        expected = getattr(by_period, name)().reindex(range(periods)).to_numpy(dtype=float)
        if statistic == "count":
            expected[expected == 0] = np.nan
        assert found[statistic] == pytest.approx(expected, nan_ok=True, rel=1e-5, abs=rounding)


def test_a_time_on_a_border_is_in_the_later_part_and_the_end_in_the_last() -> None:
    values = np.array([[1.0], [2.0], [3.0]], dtype=np.float32)
    found = summaries(values, np.array([0.0, 24.0, 48.0]), 48.0, 2, ("last", "lowest"))
    assert found["last"].tolist() == [[1.0], [3.0]]
    assert found["lowest"].tolist() == [[1.0], [2.0]]
    params = RecordTextParams(values="quantile", periods=2)
    times, last = shown(values, np.array([0.0, 24.0, 48.0]), Cases((), (), TASK, ()), params)
    assert times.tolist() == [24.0, 48.0]
    assert last["last"].tolist() == [[1.0], [3.0]]


def test_a_record_without_a_time_has_no_statistics() -> None:
    found = summaries(np.empty((0, 2), np.float32), np.empty(0), 48.0, 1, ("count", "highest"))
    assert all(np.isnan(column).all() and column.shape == (1, 2) for column in found.values())
