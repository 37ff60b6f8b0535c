"""Changes whole series of a record: swaps them with another patient's, or removes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eagbench.contracts.records import BoolArray, Case, Cases, FloatArray

# Training patients whose series may be taken: enough that some have what another has, few enough to keep in memory.
_MOST = 1000


@dataclass(frozen=True, slots=True, eq=False)
class SeriesDonors:
    """Training cases whose series replace those of other patients.

    Attributes:
        cases: D cases.
        column: Position of each feature in `measured`.
        measured: Which features each one was measured in, shape (D, F).
    """

    cases: Sequence[Case]
    column: dict[str, int]
    measured: BoolArray

    @classmethod
    def drawn(cls, cases: Cases, seed: int) -> SeriesDonors:
        """Draw up to 1,000 of the cases."""
        chosen = np.random.default_rng(seed).permutation(len(cases))[:_MOST]
        some = tuple(cases.select(np.sort(chosen)))
        names = cases.feature_names
        seen = [set(case.observed()) for case in some]
        measured = np.array([[name in of_case for name in names] for of_case in seen], dtype=np.bool_)
        return cls(some, {name: i for i, name in enumerate(names)}, measured.reshape(len(some), len(names)))

    def swap(self, case: Case, names: Collection[str], seed: int) -> Case:
        """Replace the whole series of some features by those of a training patient, times included.

        The first patient of a random order in whom all of them are measured gives them. Where there is none, the one
        who has most of them gives these, and so on. What no training patient has stays as it is. Two swaps with one
        seed look through the patients in the same order.

        Args:
            case: The record.
            names: Features that were measured in it.
            seed: Seed of the order.
        """
        order = np.random.default_rng(seed).permutation(len(self.cases))
        left = sorted(set(names) & self.column.keys(), key=self.column.__getitem__)
        changed = case
        while left and len(order):
            has = self.measured[np.ix_(order, [self.column[name] for name in left])]  # (D, names left)
            best = int(has.sum(axis=1).argmax())
            if not has[best].any():
                break
            given = [name for name, there in zip(left, has[best], strict=True) if there]
            changed = _with_series(changed, self.cases[order[best]], given)
            left = [name for name in left if name not in given]
        return changed


def remove(case: Case, names: Collection[str]) -> Case:
    """Remove the whole series of some features; times at which nothing else was measured go with them."""
    values = case.values.copy()
    values[:, [i for i, name in enumerate(case.features) if name in names]] = np.nan
    return _measured_times(case, case.times, values)


def _with_series(case: Case, donor: Case, names: Sequence[str]) -> Case:
    """Put the donor's series of some features in the place of the case's own."""
    at = [case.features.index(name) for name in names]
    own = case.values.copy()
    own[:, at] = np.nan
    times = np.union1d(case.times, donor.times)
    values = np.full((len(times), len(case.features)), np.nan, dtype=np.float32)
    values[np.searchsorted(times, case.times)] = own
    values[np.ix_(np.searchsorted(times, donor.times), at)] = donor.values_in_order(names)
    return _measured_times(case, times, values)


def _measured_times(case: Case, times: FloatArray, values: FloatArray) -> Case:
    """Return the case with other values, without the times at which only a changed series had been measured."""
    was_empty = case.times[np.isnan(case.values).all(axis=1)]
    kept = ~np.isnan(values).all(axis=1) | np.isin(times, was_empty)
    if not kept.any():
        kept = np.isin(times, case.times)  # nothing is measured any more: the times alone stay
    return replace(case, times=times[kept], values=values[kept])
