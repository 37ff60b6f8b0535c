"""Wrong numbers in a record: noise, artefacts, slipped decimal points."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import BoolArray, Case, Cases, FloatArray, IntArray, PerturbationTraits
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.severity import check_amount
from eagbench_plugins.perturbations.training_values import Columns, Scale, scales


class GaussianNoise(RecordChange):
    """Every measurement gets Gaussian noise, as a multiple of the feature's standard deviation in training.

    Stands for devices and laboratories of less precision. Values are rounded as they are in training and do not leave
    the plausible range; scores and flags (a Glasgow coma scale, ventilated or not) stay what they are. The standard
    deviation is that of all training measurements; that of a skewed feature (a transaminase) is ruled by its largest
    ones.
    """

    name = "gaussian_noise"
    traits = PerturbationTraits(levels=(0.1, 0.25, 0.5, 1.0, 2.0), severity_unit="training standard deviations")
    _scales: dict[str, Scale]

    def check_severity(self, severity: float) -> None:
        """Training standard deviations, 0 or more."""
        check_amount(severity, "standard deviations")

    def fit(self, cases: Cases) -> None:
        """Learns each feature's standard deviation."""
        self._scales = scales(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with noise of `severity` standard deviations; a higher severity stretches the same noise."""
        columns = Columns.of(case, self._scales)
        noise = np.random.default_rng(seed).standard_normal(case.values.shape)  # (T, F)
        return replace(case, values=columns.shifted(case.values, severity * noise * columns.standard_deviation))


def _drawn(candidates: BoolArray, severity: float, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
    """Rows and columns of a share of the candidates (T, F): the first of one random list of them."""
    row, column = np.nonzero(candidates)
    chosen = rng.permutation(len(row))[: round(severity * len(row))]
    return row[chosen], column[chosen]


class Outliers(RecordChange):
    """A share of the measurements is replaced by numbers that no living patient has.

    Stands for artefacts that reach the record when nobody cleans it: a disconnected sensor reads 0, a clotted sample
    or a flushed line reads far above what is possible. The number is, by chance, 0 (only where 0 lies below the
    plausible range) or lies above the plausible range by a tenth of its width up to its whole width. Cohorts are
    cleaned when they are loaded, so this asks what happens where prediction is fed with live, uncleaned data. Scores
    and flags are not touched.
    """

    name = "outliers"
    traits = PerturbationTraits(levels=(0.01, 0.02, 0.05, 0.1, 0.2), severity_unit="share of the measurements")
    _scales: dict[str, Scale]

    def fit(self, cases: Cases) -> None:
        """Takes the plausible ranges, and tells measurements from scores."""
        self._scales = scales(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with `severity` of its measurements replaced; a higher severity replaces these and more."""
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

    Stands for the commonest slip of a number that is typed: a decimal point in the wrong place. Each is multiplied or
    divided by 10, by chance. Scores and flags are not touched, and a 0 can't slip.
    """

    name = "decimal_slips"
    traits = PerturbationTraits(levels=(0.01, 0.02, 0.05, 0.1, 0.2), severity_unit="share of the measurements")
    _scales: dict[str, Scale]

    def fit(self, cases: Cases) -> None:
        """Tells measurements from scores."""
        self._scales = scales(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with the point slipped in `severity` of its measurements; a higher severity slips these and more."""
        rng = np.random.default_rng(seed)
        columns = Columns.of(case, self._scales)
        can_slip = ~np.isnan(case.values) & (case.values != 0) & columns.measured
        row, column = _drawn(can_slip, severity, rng)
        up = rng.random(case.values.shape) < 0.5  # (T, F)
        values = case.values.copy()
        # The division, and not a product with 0.1, gives the nearest number.
        values[row, column] = np.where(up, case.values * 10, case.values / 10)[row, column]
        return replace(case, values=values)
