"""Removes measurements not at random: those near normal go first, as where sicker patients are measured more."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from eagbench.api import Case, Cases, Feature, FloatArray, PerturbationTraits, StrictParams, as_recorded
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.training_values import observed_values


@dataclass(frozen=True, slots=True, eq=False)
class Abnormality:
    """How far from normal a feature's values are, as a share of the training measurements.

    Attributes:
        low: Values below it are abnormal; rounded as values are.
        high: Values above it are abnormal; rounded as values are.
        below: Training measurements below `low`, increasing, shape (A,).
        above: Training measurements above `high`, increasing, shape (B,).
    """

    low: float
    high: float
    below: FloatArray
    above: FloatArray

    @classmethod
    def fit(cls, feature: Feature, values: FloatArray) -> Abnormality:
        """Use the feature's reference limits, or the training quartiles if it has none."""
        low, high = feature.reference
        if low is None and high is None and len(values):
            low, high = (float(q) for q in np.quantile(values, (0.25, 0.75)))
        known = np.sort(values)
        bottom, top = as_recorded(-np.inf if low is None else low), as_recorded(np.inf if high is None else high)
        return cls(bottom, top, known[known < bottom], known[known > top])

    def of(self, values: FloatArray) -> FloatArray:
        """Rate how abnormal each value is.

        It is 0 within the limits. Beyond a limit it is the share of the training measurements beyond that limit that
        are nearer to it.

        Args:
            values: Measurements, shape (M,), without NaN.

        Returns:
            Shape (M,), from 0 to 1; 1 for a value beyond a limit that no training measurement crossed.
        """
        below = 1.0 - np.searchsorted(self.below, values, side="right") / max(len(self.below), 1)
        above = np.searchsorted(self.above, values, side="left") / max(len(self.above), 1)
        above = np.where(len(self.above) > 0, above, 1.0)
        return np.where(values < self.low, below, np.where(values > self.high, above, 0.0))


class MissingByValueParams(StrictParams):
    """How much more often normal values are lost.

    Attributes:
        ratio: How many times as likely a normal measurement is to be lost next as the most abnormal one.
    """

    ratio: float = Field(default=20.0, ge=1.0)


class MissingByValue(RecordChange):
    """A share of the measurements is removed, normal ones more often than abnormal ones (missing not at random).

    Stands for a ward that measures its sicker patients more: what looks normal is not measured again, and the abnormal
    part of the record is left. The abnormality a of a measurement is 0 within the feature's reference range (between
    the training quartiles if it has none). Beyond a limit it is the share of the training measurements beyond that
    limit that are nearer to it, so that both sides and all units count alike. Measurements are drawn without
    replacement with weights ratio^(-a). As many are removed as by `missing_values`, and at least one stays.
    """

    name = "missing_by_value"
    traits = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.5, 0.7), severity_unit="share of the measurements")
    Params = MissingByValueParams
    params: MissingByValueParams
    _abnormality: dict[str, Abnormality]

    def fit(self, cases: Cases) -> None:
        """Learn how training measurements are distributed beyond the reference limits."""
        values = observed_values(cases)
        self._abnormality = {f.name: Abnormality.fit(f, values.pop(f.name).astype(np.float64)) for f in cases.features}

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Remove `severity` of the case's measurements. A higher severity removes these and more."""
        row, column = np.nonzero(~np.isnan(case.values))  # (M,), (M,)
        abnormality = np.zeros(len(row))
        for j in np.unique(column):
            here = column == j
            of_feature = self._abnormality[case.features[j]]
            abnormality[here] = of_feature.of(case.values[row[here], j].astype(np.float64))
        # Exponential clocks: the order in which they ring is a draw without replacement with these rates as weights
        # (Efraimidis and Spirakis, Information Processing Letters 2006). One list serves all severities.
        rate = self.params.ratio**-abnormality  # (M,)
        order = np.argsort(np.random.default_rng(seed).exponential(size=len(row)) / rate, kind="stable")
        removed = order[: max(0, min(round(severity * len(row)), len(row) - 1))]
        values = case.values.copy()
        values[row[removed], column[removed]] = np.nan
        return replace(case, values=values)
