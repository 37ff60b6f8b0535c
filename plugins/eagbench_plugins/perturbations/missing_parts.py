"""Removes whole parts of a record: features, visits, the last hours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import BoolArray, Case, Cases, IntArray, PerturbationTraits
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.severity import check_amount


def some_removed(candidates: IntArray, severity: float, seed: int) -> IntArray:
    """Choose a share of the candidates, but never all: the first round(severity * n) of one random list of them."""
    n_removed = max(0, min(round(severity * len(candidates)), len(candidates) - 1))
    return np.random.default_rng(seed).permutation(candidates)[:n_removed]


def without_rows(case: Case, removed: BoolArray | IntArray) -> Case:
    """Remove some of the case's times.

    Args:
        case: The case.
        removed: Mask of shape (T,), or positions.
    """
    return replace(case, times=np.delete(case.times, removed), values=np.delete(case.values, removed, axis=0))


class MissingFeatures(RecordChange):
    """A share of the features that were measured in a case is missing entirely; at least one stays.

    Stands for a hospital, or a ward, that does not measure them: no blood gases outside intensive care, a test that a
    laboratory does not offer. A text that lists every feature still names it, without a value.
    """

    name = "missing_features"
    traits = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.5, 0.7), severity_unit="share of the measured features")

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Remove every value of `severity` of the measured features."""
        measured = np.flatnonzero(~np.isnan(case.values).all(axis=0)) if len(case.times) else np.empty(0, np.int64)
        values = case.values.copy()
        values[:, some_removed(measured, severity, seed)] = np.nan
        return replace(case, values=values)


class MissingVisits(RecordChange):
    """A share of the times at which something was measured is missing, with everything measured then.

    Stands for rounds that were not charted, a monitor that was off, or samples lost on the way: values are lost
    together, not one by one as in `missing_values`. At least one time with a measurement stays.
    """

    name = "missing_visits"
    traits = PerturbationTraits(levels=(0.1, 0.3, 0.5, 0.7, 0.9), severity_unit="share of the times")

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Remove `severity` of the times with a measurement."""
        measured = np.flatnonzero(~np.isnan(case.values).all(axis=1)) if case.features else np.empty(0, np.int64)
        return without_rows(case, some_removed(measured, severity, seed))


class LastHoursRemoved(RecordChange):
    """The last hours of the observation window are missing; the question stays the same.

    Stands for a prediction made earlier than the one a method was trained for. At least the first time with a
    measurement stays, however late it is, because cohorts exclude a case without any measurement.
    """

    name = "last_hours_removed"
    traits = PerturbationTraits(levels=(2.0, 6.0, 12.0, 24.0, 36.0), severity_unit="hours before the end of the window")
    _window_hours: float

    def check_severity(self, severity: float) -> None:
        """Raise `ValueError` unless the severity is 0 hours or more."""
        check_amount(severity, "hours")

    def fit(self, cases: Cases) -> None:
        """Take the length of the observation window from the task."""
        self._window_hours = cases.task.window_hours

    def apply(self, case: Case, severity: float, seed: int) -> Case:  # noqa: ARG002
        """Remove what was measured in the last `severity` hours of the window. Nothing is drawn at random."""
        late = case.times > self._window_hours - severity  # (T,)
        measured = np.flatnonzero(~np.isnan(case.values).all(axis=1)) if case.features else np.empty(0, np.int64)
        if severity == 0 or not len(measured):
            return case
        late[measured[0]] = False
        return without_rows(case, late)
