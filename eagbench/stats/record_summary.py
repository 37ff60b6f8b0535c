"""A record as one row of numbers: statistics of each feature over the window, and the static facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from eagbench.contracts.records import Cases, FloatArray, IntArray

Statistic = Literal["mean", "min", "max", "first", "last", "count"]


@dataclass(frozen=True, slots=True)
class RecordSummary:
    """The columns that summarise a record. Features are found by name, whatever order a record lists them in.

    Attributes:
        features: Names of the features, F of them.
        static_names: Names of the static facts, S of them.
        statistics: Statistics of each feature, K of them.
    """

    features: tuple[str, ...]
    static_names: tuple[str, ...]
    statistics: tuple[Statistic, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the F * K + S columns: `feature.statistic`, feature by feature, then `static.fact`."""
        of_features = [f"{name}.{statistic}" for name in self.features for statistic in self.statistics]
        return (*of_features, *(f"static.{name}" for name in self.static_names))

    @property
    def feature_of_column(self) -> IntArray:
        """The position of each column's feature, -1 for a static fact. Shape (F * K + S,)."""
        of_features = np.repeat(np.arange(len(self.features)), len(self.statistics))
        return np.concatenate([of_features, np.full(len(self.static_names), -1)])

    def table(self, cases: Cases) -> FloatArray:
        """Summarise each case as a row of numbers.

        Args:
            cases: N cases.

        Returns:
            Shape (N, F * K + S), float64, in the features' units. If a feature was never measured, its `count` is 0 and
            its other statistics are NaN.
        """
        n_features, n_statistics = len(self.features), len(self.statistics)
        table = np.full((len(cases), n_features * n_statistics + len(self.static_names)), np.nan)
        for n, case in enumerate(cases):
            values = case.values_in_order(self.features).astype(np.float64)  # (T, F)
            by_feature = np.full((n_features, n_statistics), np.nan)  # (F, K)
            for k, statistic in enumerate(self.statistics):
                by_feature[:, k] = _statistic(values, statistic)
            table[n, : n_features * n_statistics] = by_feature.ravel()
            table[n, n_features * n_statistics :] = [case.static.get(name, np.nan) for name in self.static_names]
        return table

    def as_json(self) -> dict[str, list[str]]:
        """Return a JSON value from which `from_json` makes an equal summary."""
        return {
            "features": list(self.features),
            "static_names": list(self.static_names),
            "statistics": list(self.statistics),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Sequence[Any]]) -> Self:
        """Make the summary that `as_json` described."""
        return cls(tuple(value["features"]), tuple(value["static_names"]), tuple(value["statistics"]))


def _statistic(values: FloatArray, statistic: Statistic) -> FloatArray:
    """Compute one statistic of each column of (T, F) values, shape (F,); NaN for a column without a value."""
    observed = ~np.isnan(values)  # (T, F)
    count = observed.sum(axis=0).astype(np.float64)  # (F,)
    if statistic == "count":
        return count
    n_times, n_features = values.shape
    if n_times == 0:
        return np.full(n_features, np.nan)
    if statistic == "mean":
        total = np.where(observed, values, 0.0).sum(axis=0)
        return np.where(count > 0, total / np.maximum(count, 1), np.nan)
    if statistic in ("min", "max"):
        # fmin and fmax ignore NaN unless there is nothing else.
        return np.asarray((np.fmin if statistic == "min" else np.fmax).reduce(values, axis=0))
    row = observed.argmax(axis=0) if statistic == "first" else n_times - 1 - observed[::-1].argmax(axis=0)  # (F,)
    return np.asarray(values[row, np.arange(n_features)])
