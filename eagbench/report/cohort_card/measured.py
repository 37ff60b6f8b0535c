"""What was measured in each case, as arrays, and how often each value occurred."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import Case, Cases, FloatArray, IntArray
from eagbench.stats.value_tally import ValueTally


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Summaries of N records with F features, made in one pass over partitions.

    Attributes:
        values: All values of each feature, by name.
        static: Each static fact of the cases, shape (N,), NaN where unknown.
        last: The last value of each feature, NaN without one, shape (N, F).
        counts: The number of values of each feature, shape (N, F).
        first_hour: The hour of the first value, NaN without one, shape (N,).
        last_hour: The hour of the last value, shape (N,).
        n_times: Times with a value, shape (N,).
        n_before: Values before hour 0, shape (N,).
        n_after: Values after the end of the window, shape (N,).
    """

    values: Mapping[str, ValueTally]
    static: Mapping[str, FloatArray]
    last: FloatArray
    counts: IntArray
    first_hour: FloatArray
    last_hour: FloatArray
    n_times: IntArray
    n_before: IntArray
    n_after: IntArray

    @classmethod
    def of(cls, cases: Cases) -> Measured:
        """Summarise all records."""
        n_cases, names = len(cases), cases.feature_names
        values = {name: ValueTally() for name in names}
        static = {name: np.full(n_cases, np.nan) for name in cases.static_names}
        last = np.full((n_cases, len(names)), np.nan)
        counts = np.zeros((n_cases, len(names)), dtype=np.int64)
        hours = np.full((n_cases, 2), np.nan)
        numbers = np.zeros((n_cases, 3), dtype=np.int64)  # times, values before and after
        i = 0
        for part in cases.partitions():
            rows = [np.empty((0, len(names)), np.float32)]
            for case in part:
                for name, column in static.items():
                    column[i] = case.static.get(name, np.nan)
                rows.append(case.values_in_order(names))
                last[i], counts[i], hours[i], numbers[i] = _summary(case, rows[-1], cases.task.window_hours)
                i += 1
            for tally, column in zip(values.values(), np.concatenate(rows).T, strict=True):
                tally.add(column[~np.isnan(column)])
        return cls(values, static, last, counts, hours[:, 0], hours[:, 1], numbers[:, 0], numbers[:, 1], numbers[:, 2])


def _summary(case: Case, values: FloatArray, window_hours: float) -> tuple[FloatArray, IntArray, FloatArray, IntArray]:
    """Summarise a record: its rows of `last`, of `counts`, of both hours, and of the numbers of times and values."""
    seen = ~np.isnan(values)  # (T, F)
    in_row, counts = seen.sum(axis=1), seen.sum(axis=0)
    times = case.times[in_row > 0]
    if not len(times):
        return np.full(len(counts), np.nan), counts, np.full(2, np.nan), np.zeros(3, dtype=np.int64)
    place = len(seen) - 1 - np.argmax(seen[::-1], axis=0)
    last = np.where(counts > 0, values[place, np.arange(len(counts))], np.nan)
    before, after = case.times < 0, case.times > window_hours
    numbers = np.array([len(times), in_row[before].sum(), in_row[after].sum()])
    return last, counts, np.array([times.min(), times.max()]), numbers
