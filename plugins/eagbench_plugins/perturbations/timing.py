"""Times of a record: inexact, in another order, or fewer of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import BoolArray, Case, Cases, FloatArray, PerturbationTraits
from eagbench_plugins.perturbations.feature_order import exchange, reordering
from eagbench_plugins.perturbations.missing_parts import without_rows
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.severity import check_amount


class TimeJitter(RecordChange):
    """Each time is moved by up to so many hours, earlier or later, and the record sorted again.

    Stands for charting after the fact and for clocks that differ. All that was measured at one time moves together.
    Times stay within the observation window.
    """

    name = "time_jitter"
    traits = PerturbationTraits(levels=(0.25, 0.5, 1.0, 3.0, 6.0), severity_unit="hours either way")
    _window_hours: float

    def check_severity(self, severity: float) -> None:
        """Hours, 0 or more."""
        check_amount(severity, "hours")

    def fit(self, cases: Cases) -> None:
        """Takes the length of the observation window from the task."""
        self._window_hours = cases.task.window_hours

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with each time moved by an even draw from -severity to +severity hours."""
        share = np.random.default_rng(seed).uniform(-1.0, 1.0, len(case.times))  # (T,)
        moved = np.clip(
            case.times + severity * share,
            np.minimum(0.0, case.times),
            np.maximum(self._window_hours, case.times),
        )
        order = np.argsort(moved, kind="stable")
        return replace(case, times=moved[order], values=case.values[order])


class TimeShuffle(RecordChange):
    """A share of the times exchange what was measured then; nothing is lost.

    Stands for a question and for no accident of a clinic: does a method read the series, or would any order do? One
    that takes means and extremes over the window is immune to it. It moves the last values as well: beside it stands
    `time_shuffle_before_last`, which does not.
    """

    name = "time_shuffle"
    traits = PerturbationTraits(levels=(0.2, 0.4, 0.6, 0.8, 1.0), severity_unit="share of the times")

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with the measurements of `severity` of its times in each other's place."""
        return replace(case, values=case.values[reordering(len(case.times), severity, seed)])


class TimeShuffleBeforeLast(RecordChange):
    """Of each feature a share of its values but the last exchange their times; the last value stays the last.

    Stands for a question, as `time_shuffle` does: a method that changes under that one and not under this one reads
    last values and no series.
    """

    name = "time_shuffle_before_last"
    traits = PerturbationTraits(
        levels=(0.2, 0.4, 0.6, 0.8, 1.0), severity_unit="share of each feature's values but the last"
    )

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with `severity` of each feature's earlier values in each other's place."""
        rng = np.random.default_rng(seed)
        values = case.values.copy()
        for column in values.T:
            earlier = np.flatnonzero(~np.isnan(column))[:-1]  # positions in time
            column[earlier] = column[earlier[exchange(rng.permutation(len(earlier)), severity)]]
        return replace(case, values=values)


class CoarserSampling(RecordChange):
    """Measurements of a feature lie at least so many hours apart; those in between are missing.

    Stands for a ward that measures less often than intensive care does. Going back in time from a feature's last value,
    which stays, every value is removed that lies less than the given number of hours before the next one kept. Unlike
    equal bins this leaves never more values at a higher severity. Which ones are left may differ: every two hours and
    every three hours are different schedules, so here a higher severity removes no fewer values than a lower one did,
    but not always the same and more. Nothing is drawn. Times without any value left are removed.
    """

    name = "coarser_sampling"
    traits = PerturbationTraits(levels=(2.0, 4.0, 8.0, 12.0, 24.0), severity_unit="hours between two measurements")

    def check_severity(self, severity: float) -> None:
        """Hours between two measurements, 0 or more."""
        check_amount(severity, "hours")

    def apply(self, case: Case, severity: float, seed: int) -> Case:  # noqa: ARG002
        """The case with `severity` hours or more between two values of a feature."""
        values = case.values.copy()
        for column in values.T:
            measured = np.flatnonzero(~np.isnan(column))
            column[measured[~_spaced(case.times[measured], severity)]] = np.nan
        emptied = np.isnan(values).all(axis=1) & ~np.isnan(case.values).all(axis=1)  # (T,)
        return without_rows(replace(case, values=values), emptied)


def _spaced(times: FloatArray, hours: float) -> BoolArray:
    """Which of the increasing times stay if each lies at least `hours` before the next one that stays. Shape (M,)."""
    stays = np.zeros(len(times), dtype=np.bool_)
    following = np.inf
    for i in range(len(times) - 1, -1, -1):
        # Times are minutes as fractions of an hour: 0.1 + 0.2 hours are not to be more than 0.3.
        if following - times[i] >= hours - 1e-9:
            stays[i] = True
            following = times[i]
    return stays
