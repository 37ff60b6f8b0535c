"""Changes the times of a record: inexact, in another order, or fewer of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import BoolArray, Case, Cases, FloatArray, PerturbationTraits
from eagbench_plugins.perturbations.feature_order import exchange, reordering
from eagbench_plugins.perturbations.missing_parts import without_rows
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.severity import check_amount


class TimeJitter(RecordChange):
    """Each time moves by up to the given number of hours, earlier or later, and the record is sorted again.

    Stands for charting after the fact and for clocks that differ. Everything measured at one time moves together.
    Times stay within the observation window.
    """

    name = "time_jitter"
    traits = PerturbationTraits(levels=(0.25, 0.5, 1.0, 3.0, 6.0), severity_unit="hours either way")
    _window_hours: float

    def check_severity(self, severity: float) -> None:
        """Raise `ValueError` unless the severity is 0 hours or more."""
        check_amount(severity, "hours")

    def fit(self, cases: Cases) -> None:
        """Take the length of the observation window from the task."""
        self._window_hours = cases.task.window_hours

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Move each time by a uniform draw from -severity to +severity hours."""
        share = np.random.default_rng(seed).uniform(-1.0, 1.0, len(case.times))  # (T,)
        moved = np.clip(
            case.times + severity * share,
            np.minimum(0.0, case.times),
            np.maximum(self._window_hours, case.times),
        )
        order = np.argsort(moved, kind="stable")
        return replace(case, times=moved[order], values=case.values[order])


class TimeShuffle(RecordChange):
    """A share of the times exchange their measurements; nothing is lost.

    Stands for a question, not for something that happens in a clinic: does a method read the series, or would any
    order do? A method that takes means and extremes over the window is immune to it. The last values move as well;
    `time_shuffle_before_last` keeps them in place.
    """

    name = "time_shuffle"
    traits = PerturbationTraits(levels=(0.2, 0.4, 0.6, 0.8, 1.0), severity_unit="share of the times")

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Exchange the measurements of `severity` of the times."""
        return replace(case, values=case.values[reordering(len(case.times), severity, seed)])


class TimeShuffleBeforeLast(RecordChange):
    """A share of each feature's values except the last exchange their times; the last value stays last.

    Stands for a question, as `time_shuffle` does: a method that changes under that one but not under this one reads
    last values, not the series.
    """

    name = "time_shuffle_before_last"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0), severity_unit="share of each feature's values but the last"
    )

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Exchange the times of `severity` of each feature's values before the last."""
        rng = np.random.default_rng(seed)
        values = case.values.copy()
        for column in values.T:
            earlier = np.flatnonzero(~np.isnan(column))[:-1]  # positions in time
            column[earlier] = column[earlier[exchange(rng.permutation(len(earlier)), severity)]]
        return replace(case, values=values)


class CoarserSampling(RecordChange):
    """Measurements of a feature are at least the given number of hours apart; those in between are missing.

    Stands for a ward that measures less often than intensive care does. A feature's last value stays. Going back in
    time from it, every value less than the given number of hours before the next one kept is removed. Unlike equal
    bins, this never leaves more values at a higher severity. Which ones are left may differ, because every two hours
    and every three hours are different schedules. So a higher severity removes at least as many values as a lower one,
    but not always the same ones and more. Nothing is drawn at random. Times without any value left are removed.
    """

    name = "coarser_sampling"
    traits = PerturbationTraits(levels=(2.0, 4.0, 8.0, 12.0, 24.0), severity_unit="hours between two measurements")

    def check_severity(self, severity: float) -> None:
        """Raise `ValueError` unless the severity is 0 or more hours between two measurements."""
        check_amount(severity, "hours")

    def apply(self, case: Case, severity: float, seed: int) -> Case:  # noqa: ARG002
        """Keep only values of a feature that are `severity` hours or more apart."""
        values = case.values.copy()
        for column in values.T:
            measured = np.flatnonzero(~np.isnan(column))
            column[measured[~_spaced(case.times[measured], severity)]] = np.nan
        emptied = np.isnan(values).all(axis=1) & ~np.isnan(case.values).all(axis=1)  # (T,)
        return without_rows(replace(case, values=values), emptied)


def _spaced(times: FloatArray, hours: float) -> BoolArray:
    """Mark the increasing times that stay if each is at least `hours` before the next one that stays. Shape (M,)."""
    stays = np.zeros(len(times), dtype=np.bool_)
    following = np.inf
    for i in range(len(times) - 1, -1, -1):
        # Times are minutes as fractions of an hour: 0.1 + 0.2 hours are not to be more than 0.3.
        if following - times[i] >= hours - 1e-9:
            stays[i] = True
            following = times[i]
    return stays
