"""Repeats times: with the same values, or with others that contradict them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import Case, Cases, FloatArray, IntArray, PerturbationTraits
from eagbench_plugins.perturbations.record_change import RecordChange
from eagbench_plugins.perturbations.training_values import Columns, Scale, scales


def _repeated(case: Case, severity: float, rng: np.random.Generator) -> IntArray:
    """Choose the times to repeat, increasing: the first of one random list of those with a measurement."""
    measured = np.flatnonzero(~np.isnan(case.values).all(axis=1)) if case.features else np.empty(0, np.int64)
    # In order of time, or the copy after one row and the copy before the next would change places.
    return np.sort(rng.permutation(measured)[: round(severity * len(measured))])


def _with_rows(case: Case, rows: IntArray, values: FloatArray, after: IntArray) -> Case:
    """Insert a second entry for some times, after the first one or before it.

    Args:
        case: The case.
        rows: The times, increasing, shape (R,).
        values: The second entries, shape (R, F).
        after: 1 where the second entry comes after the first one, 0 where it comes before. Shape (R,).
    """
    return replace(
        case,
        times=np.insert(case.times, rows + after, case.times[rows]),
        values=np.insert(case.values, rows + after, values, axis=0),
    )


class DuplicatedRows(RecordChange):
    """A share of the times appears in the record twice, with the same values.

    Stands for results that two systems deliver, and for a message that was sent again. The information does not
    change, but a method that counts measurements, or spends its attention by length, may give another answer.
    """

    name = "duplicated_rows"
    traits = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.5, 1.0), severity_unit="share of the times")

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Repeat `severity` of the times."""
        rows = _repeated(case, severity, np.random.default_rng(seed))
        return _with_rows(case, rows, case.values[rows], np.ones(len(rows), dtype=np.int64))


class ContradictoryRows(RecordChange):
    """A share of the times appears in the record twice, with different values: nobody can tell which is right.

    Stands for an entry under the wrong patient or time, and for a correction next to what it corrects. Each measurement
    of the second entry differs by two training standard deviations. It goes up or down at random, but away from a limit
    of the plausible range that it would cross. Scores and flags are repeated unchanged. The second entry comes before
    or after the first at random.
    """

    name = "contradictory_rows"
    traits = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.5, 1.0), severity_unit="share of the times")
    _scales: dict[str, Scale]

    def fit(self, cases: Cases) -> None:
        """Learn each feature's standard deviation."""
        self._scales = scales(cases)

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Repeat `severity` of the times with different values."""
        rng = np.random.default_rng(seed)
        rows = _repeated(case, severity, rng)
        up, after = rng.random(case.values.shape) < 0.5, rng.integers(2, size=len(case.times))
        columns = Columns.of(case, self._scales)
        first = case.values[rows].astype(np.float64)  # (R, F)
        step = 2.0 * columns.standard_deviation  # (F,)
        upwards = (up[rows] | (first - step < columns.low)) & (first + step <= columns.high)
        second = columns.shifted(case.values[rows], np.where(upwards, step, -step))
        return _with_rows(case, rows, second, after[rows])
