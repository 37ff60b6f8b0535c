"""Learns from unlabelled training cases how far each feature's values spread and how finely they are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from eagbench.api import BoolArray, Case, Cases, Feature, FloatArray, IntArray


def observed_values(cases: Cases) -> dict[str, FloatArray]:
    """Collect all measurements of each feature in the cases, in arbitrary order. Each of shape (M,), float32."""
    names = cases.feature_names
    found: list[list[FloatArray]] = [[np.empty(0, np.float32)] for _ in names]
    for part in cases.partitions():
        rows = np.concatenate(
            [np.empty((0, len(names)), np.float32), *(case.values_in_order(names) for case in part)]
        )  # (sum of T, F)
        for of_feature, column in zip(found, rows.T, strict=True):
            of_feature.append(column[~np.isnan(column)])
    return {name: np.concatenate(of_feature) for name, of_feature in zip(names, found, strict=True)}


_MOST_DECIMALS = 6
_NEARLY_ALL = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """How a feature's measurements spread over the training cases.

    Attributes:
        standard_deviation: Over all its measurements; 0 if there are none.
        plausible: The lowest and the highest value that can be real.
        decimals: Decimals to which its values are recorded, at most 6.
        measured: Whether it is a measurement. A score or a flag (unit 1, whole numbers only) is not: nobody records a
            Glasgow coma scale with noise or a slipped decimal point.
    """

    standard_deviation: float
    plausible: tuple[float, float]
    decimals: int
    measured: bool


def scales(cases: Cases) -> dict[str, Scale]:
    """Compute the scale of each feature over unlabelled training cases."""
    values = observed_values(cases)
    return {feature.name: _scale(feature, values.pop(feature.name).astype(np.float64)) for feature in cases.features}


def _scale(feature: Feature, values: FloatArray) -> Scale:
    decimals = _decimals(values)
    return Scale(
        standard_deviation=float(values.std()) if len(values) else 0.0,
        plausible=feature.plausible,
        decimals=decimals,
        measured=not (feature.unit == "1" and decimals == 0),
    )


def _decimals(values: FloatArray) -> int:
    """Find how many decimals suffice for nearly all values (a few are converted from another unit or mistyped)."""
    for decimals in range(_MOST_DECIMALS):
        # Values are float32: a tenth is one only to seven digits.
        if len(values) and np.isclose(values, np.round(values, decimals), rtol=1e-6, atol=0).mean() >= _NEARLY_ALL:
            return decimals
    return _MOST_DECIMALS


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The scales of a case's features, in the case's order. All of shape (F,).

    Attributes:
        standard_deviation: Over the training cases.
        low: Lowest plausible value.
        high: Highest plausible value.
        decimals: To which values are recorded.
        measured: Whether the feature is a measurement, not a score or a flag.
    """

    standard_deviation: FloatArray
    low: FloatArray
    high: FloatArray
    decimals: IntArray
    measured: BoolArray

    @classmethod
    def of(cls, case: Case, scales: Mapping[str, Scale]) -> Columns:
        """Gather the scales of the features of `case`."""
        found = [scales[name] for name in case.features]
        return cls(
            standard_deviation=np.array([s.standard_deviation for s in found], dtype=np.float64),
            low=np.array([s.plausible[0] for s in found], dtype=np.float64),
            high=np.array([s.plausible[1] for s in found], dtype=np.float64),
            decimals=np.array([s.decimals for s in found], dtype=np.int64),
            measured=np.array([s.measured for s in found], dtype=np.bool_),
        )

    def shifted(self, values: FloatArray, shift: FloatArray) -> FloatArray:
        """Move measurements (..., F) by `shift`, but not out of the plausible range, and round them as recorded.

        Scores and flags do not change, nor do values whose shift is 0.
        """
        unit = 10.0**self.decimals
        moved = np.round((values + shift) * unit) / unit
        moved = np.clip(moved, np.minimum(self.low, values), np.maximum(self.high, values))
        return np.where(self.measured & (shift != 0), moved, values).astype(np.float32)
