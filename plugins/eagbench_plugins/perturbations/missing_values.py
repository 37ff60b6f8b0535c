"""Removes measurements completely at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eagbench.api import Case, PerturbationTraits
from eagbench_plugins.perturbations.record_change import RecordChange


class MissingValues(RecordChange):
    """A share of a case's measurements is removed, drawn evenly among all of them (missing completely at random).

    Stands for measurements that were not taken or not transmitted, whatever their value. At least one measurement
    stays, so that no case becomes empty: cohorts exclude a case without any measurement, and predicting it would be a
    different question. Times stay, even if nothing is left at one of them.
    """

    name = "missing_values"
    traits = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.5, 0.7), severity_unit="share of the measurements")

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Remove `severity` of the case's measurements. A higher severity removes these and more."""
        observed = np.flatnonzero(~np.isnan(case.values))  # positions in the flattened (T, F)
        n_removed = max(0, min(round(severity * len(observed)), len(observed) - 1))
        removed = np.random.default_rng(seed).permutation(observed)[:n_removed]
        values = case.values.copy()
        values.flat[removed] = np.nan
        return replace(case, values=values)
