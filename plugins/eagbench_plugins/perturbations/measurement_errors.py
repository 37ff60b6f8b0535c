"""Puts wrong numbers into a record: noise, artefacts, slipped decimal points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import BoolArray, Case, Cases, FloatArray, IntArray, PerturbationTraits
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.severity import check_amount
from eagbench_plugins.perturbations.training_values import Columns, Scale, scales


class GaussianNoise(RecordChange):
    """Every measurement gets Gaussian noise, scaled by the feature's standard deviation in training.

    Stands for less precise devices and laboratories. Values are rounded as in training and stay within the plausible
    range. Scores and flags (a Glasgow coma scale, ventilated or not) do not change. The standard deviation is taken
    over all training measurements; for a skewed feature (a transaminase) the largest ones dominate it.
    """

    name = "gaussian_noise"
    traits = PerturbationTraits(levels=(0.1, 0.25, 0.5, 1.0, 2.0), severity_unit="training standard deviations")
    _scales: dict[str, Scale]

    def check_severity(self, severity: float) -> None:
        """Raise `ValueError` unless the severity is 0 or more training standard deviations."""
        check_amount(severity, "standard deviations")

    def fit(self, cases: Cases) -> None:
        """Learn each feature's standard deviation."""
        self._scales = scales(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Add noise of `severity` standard deviations. A higher severity scales up the same noise."""
        columns = Columns.of(case, self._scales)
        noise = np.random.default_rng(seed).standard_normal(case.values.shape)  # (T, F)
        return replace(case, values=columns.shifted(case.values, severity * noise * columns.standard_deviation))


def _drawn(candidates: BoolArray, severity: float, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Draw rows and columns of a share of the candidates (T, F): the first of one random list of them."""
    row, column = np.nonzero(candidates)
    chosen = rng.permutation(len(row))[: round(severity * len(row))]
    return row[chosen], column[chosen]


class Outliers(RecordChange):
    """A share of the measurements is replaced by numbers that no living patient has.

    Stands for artefacts that reach the record when nobody cleans it: a disconnected sensor reads 0, a clotted sample
    or a flushed line reads far above what is possible. The number is, at random, 0 (only where 0 is below the plausible
    range) or above the plausible range by a tenth of its width up to its whole width. Cohorts are cleaned when they
    are loaded, so this asks what happens when predictions are made from live, uncleaned data. Scores and flags do not
    change.
    """

    name = "outliers"
    traits = PerturbationTraits(levels=(0.01, 0.02, 0.05, 0.1, 0.2), severity_unit="share of the measurements")
    _scales: dict[str, Scale]

    def fit(self, cases: Cases) -> None:
        """Look up the plausible ranges, and tell measurements from scores."""
        self._scales = scales(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Replace `severity` of the case's measurements. A higher severity replaces these and more."""
        rng = np.random.default_rng(seed)
        columns = Columns.of(case, self._scales)
        row, column = _drawn(~np.isnan(case.values) & columns.measured, severity, rng)
        artefacts = self._artefacts(columns, rng.random(case.values.shape), rng.random(case.values.shape))  # (T, F)
        values = case.values.copy()
        values[row, column] = artefacts[row, column]
        return replace(case, values=values)

    @staticmethod
    def _artefacts(columns: Columns, side: FloatArray, extent: FloatArray) -> FloatArray:
        above = columns.high + (0.1 + 0.9 * extent) * (columns.high - columns.low)  # (T, F)
        return np.where((columns.low > 0) & (side < 0.5), 0.0, above)


class DecimalSlips(RecordChange):
    """A share of the measurements is ten times too high or ten times too low.

    Stands for the most common error in typed numbers: a decimal point in the wrong place. Each measurement is
    multiplied or divided by 10, at random. Scores and flags do not change, and a 0 can't slip.
    """

    name = "decimal_slips"
    traits = PerturbationTraits(levels=(0.01, 0.02, 0.05, 0.1, 0.2), severity_unit="share of the measurements")
    _scales: dict[str, Scale]

    def fit(self, cases: Cases) -> None:
        """Tell measurements from scores."""
        self._scales = scales(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Shift the decimal point in `severity` of the measurements. A higher severity shifts these and more."""
        rng = np.random.default_rng(seed)
        columns = Columns.of(case, self._scales)
        can_slip = ~np.isnan(case.values) & (case.values != 0) & columns.measured
        row, column = _drawn(can_slip, severity, rng)
        up = rng.random(case.values.shape) < 0.5  # (T, F)
        values = case.values.copy()
        # The division, and not a product with 0.1, gives the nearest number.
        values[row, column] = np.where(up, case.values * 10, case.values / 10)[row, column]
        return replace(case, values=values)
