"""Measurements lost completely at random."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np

from eagbench.api import Case, Cases, Reads, StrictParams
from eagbench_plugins.perturbations.severity import check_share


class MissingValues:
    """A share of a case's measurements is removed, drawn evenly among all of them (missing completely at random).

    Stands for measurements that were not taken or not transmitted, whatever their value. At least one measurement
    stays, so that no case becomes empty: a case without any measurement is excluded when a cohort is made, and would
    be another question. Times stay, even if nothing is left at one of them.
    """

    name: ClassVar[str] = "missing_values"
    applies_to: ClassVar[frozenset[Reads]] = frozenset({"columns", "text"})
    levels: ClassVar[tuple[float, float, float, float, float]] = (0.1, 0.2, 0.3, 0.5, 0.7)

    class Params(StrictParams):
        """None."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def check_severity(self, severity: float) -> None:
        """A share of the measurements, from 0 to 1."""
        check_share(severity)

    def fit(self, cases: Cases) -> None:
        """Nothing is learnt."""

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case with `severity` of its measurements removed; a higher severity removes these and more."""
        observed = np.flatnonzero(~np.isnan(case.values))  # positions in the flattened (T, F)
        n_removed = max(0, min(round(severity * len(observed)), len(observed) - 1))
        removed = np.random.default_rng(seed).permutation(observed)[:n_removed]
        values = case.values.copy()
        values.flat[removed] = np.nan
        return replace(case, values=values)
