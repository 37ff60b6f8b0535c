"""What was measured in each case, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import Cases, FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Summaries of N records with F features.

    Attributes:
        last: The last value of each feature, NaN without one, shape (N, F).
        counts: The number of values of each feature, shape (N, F).
        first_hour: The hour of the first value, NaN without one, shape (N,).
        last_hour: The hour of the last value, shape (N,).
        n_times: Times with a value, shape (N,).
        n_before: Values before hour 0, shape (N,).
        n_after: Values after the end of the window, shape (N,).
    """

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
        n_cases, n_features = len(cases), len(cases.features)
        last = np.full((n_cases, n_features), np.nan)
        counts = np.zeros((n_cases, n_features), dtype=np.int64)
        hours = np.full((n_cases, 2), np.nan)
        numbers = np.zeros((n_cases, 3), dtype=np.int64)  # times, values before and after
        for i, case in enumerate(cases):
            values = case.values_in_order(cases.feature_names)
            seen = ~np.isnan(values)  # (T, F)
            in_row = seen.sum(axis=1)
            times = case.times[in_row > 0]
            if not len(times):
                continue
            counts[i] = seen.sum(axis=0)
            place = len(seen) - 1 - np.argmax(seen[::-1], axis=0)
            last[i] = np.where(counts[i] > 0, values[place, np.arange(n_features)], np.nan)
            hours[i] = times.min(), times.max()
            before, after = case.times < 0, case.times > cases.task.window_hours
            numbers[i] = len(times), in_row[before].sum(), in_row[after].sum()
        return cls(last, counts, hours[:, 0], hours[:, 1], numbers[:, 0], numbers[:, 1], numbers[:, 2])
