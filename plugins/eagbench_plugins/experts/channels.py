"""Convert records to channels over equal time steps, standardised and without gaps, for neural networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from eagbench.api import Cases, FloatArray, time_grid

# Standardised values beyond this are cut: one outlier must not saturate a channel.
LARGEST = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """Converts records to network input. Features and static facts are matched by name.

    Attributes:
        features: Names of the F features.
        static_names: Names of the S static facts.
        mean: Mean of each feature over the filled steps of the training cases, shape (F,).
        scale: Standard deviation over the same steps; infinite for a feature that does not vary. Shape (F,).
        static_mean: Mean of each static fact over the training cases, shape (S,).
        static_scale: Standard deviation over the same cases, shape (S,).
    """

    features: tuple[str, ...]
    static_names: tuple[str, ...]
    mean: FloatArray
    scale: FloatArray
    static_mean: FloatArray
    static_scale: FloatArray

    @classmethod
    def fit(cls, cases: Cases, periods: int) -> Self:
        """Fit the scales on unlabelled training cases."""
        names = cases.static_names
        carried, static = by_partition(
            lambda part: (_carried_forward(time_grid(part, periods)), _static(part, names)), cases
        )  # (N, P, F), (N, S)
        mean, scale = _moments(carried.reshape(-1, len(cases.features)))
        static_mean, static_scale = _moments(static)
        return cls(cases.feature_names, cases.static_names, mean, scale, static_mean, static_scale)

    def values(self, cases: Cases, periods: int) -> FloatArray:
        """Compute standardised values with the last observation carried forward.

        A value before the first observation is 0, the training mean.

        Args:
            cases: N cases.
            periods: Number of time steps P.

        Returns:
            Shape (N, P, F) in the order of `features`, float32, without NaN.
        """
        return _standardised(_carried_forward(self._grid(cases, periods)), self.mean, self.scale)

    def gaps(self, cases: Cases, periods: int) -> tuple[FloatArray, FloatArray]:
        """Compute which values were measured and the time since the last measurement (Che et al. 2018, equation 2).

        Args:
            cases: N cases.
            periods: Number of time steps P.

        Returns:
            Two arrays of shape (N, P, F), float32. The first is 1 where a feature was measured in the step, else 0. The
            second is the time since the last earlier step with a measurement, or since the first step if there is none,
            as a share of the window.
        """
        observed = ~np.isnan(self._grid(cases, periods))  # (N, P, F)
        elapsed = np.zeros(observed.shape, dtype=np.float32)
        for t in range(1, periods):
            elapsed[:, t] = np.where(observed[:, t - 1], 0.0, elapsed[:, t - 1]) + 1.0 / periods
        return observed.astype(np.float32), elapsed

    def _grid(self, cases: Cases, periods: int) -> FloatArray:
        """Return the last value in each step, in the order of `features`, NaN where there is none. Shape (N, P, F)."""
        grid = time_grid(cases, periods)  # (N, P, features of the cases)
        column = {name: i for i, name in enumerate(cases.feature_names)}
        own = np.full((len(cases), periods, len(self.features)), np.nan)  # (N, P, F)
        for j, name in enumerate(self.features):
            if name in column:
                own[:, :, j] = grid[:, :, column[name]]
        return own

    def static(self, cases: Cases) -> FloatArray:
        """Standardise the static facts, 0 where unknown. Shape (N, S), float32."""
        return _standardised(_static(cases, self.static_names), self.static_mean, self.static_scale)


def by_partition(compute: Callable[[Cases], tuple[FloatArray, ...]], cases: Cases) -> tuple[FloatArray, ...]:
    """Compute arrays with a row for each case, partition by partition, in one pass through the cases.

    Args:
        compute: From some cases to arrays, the first axis of each the cases. A row depends on its own case alone.
        cases: N cases.

    Returns:
        The arrays of all cases.
    """
    found: tuple[FloatArray, ...] = ()
    start = 0
    for part in cases.partitions():
        arrays = compute(part)
        if len(part) == len(cases):
            return arrays
        if not found:
            found = tuple(np.empty((len(cases), *rows.shape[1:]), rows.dtype) for rows in arrays)
        for whole, rows in zip(found, arrays, strict=True):
            whole[start : start + len(part)] = rows
        start += len(part)
    return found


def _carried_forward(grid: FloatArray) -> FloatArray:
    """Fill each gap with the value before it, along the second axis of (N, P, F)."""
    n_periods = grid.shape[1]
    step = np.where(np.isnan(grid), 0, np.arange(n_periods)[None, :, None])  # (N, P, F)
    # Before the first value this points at step 0, which is NaN there: the gap stays.
    return np.take_along_axis(grid, np.maximum.accumulate(step, axis=1), axis=1)


def _moments(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Compute mean and standard deviation of each column's values; (0, inf) for a column without a value."""
    n_columns = rows.shape[1]
    mean, scale = np.zeros(n_columns), np.full(n_columns, np.inf)
    for j in range(n_columns):
        seen = rows[~np.isnan(rows[:, j]), j].astype(np.float64)
        if len(seen):
            mean[j] = seen.mean()
            spread = seen.std()
            # A column that does not vary becomes 0, not rounding noise divided by itself.
            scale[j] = spread if spread > 1e-6 * max(abs(mean[j]), 1.0) else np.inf
    return mean, scale


def _standardised(values: FloatArray, mean: FloatArray, scale: FloatArray) -> FloatArray:
    """Compute (values - mean) / scale, clipped to +-LARGEST, 0 where missing, float32."""
    return np.nan_to_num(np.clip((values - mean) / scale, -LARGEST, LARGEST), nan=0.0).astype(np.float32)


def _static(cases: Cases, names: tuple[str, ...]) -> FloatArray:
    """Collect the static facts by name, NaN where unknown. Shape (N, len(names)), float64."""
    rows = [[case.static.get(name, np.nan) for name in names] for case in cases]
    return np.array(rows, dtype=np.float64).reshape(len(cases), len(names))
