"""Removes sex and age."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from eagbench.api import Case, PerturbationTraits, StrictParams
from eagbench_plugins.perturbations.record_change import RecordChange


class SexAgeRemovedParams(StrictParams):
    """What is removed.

    Attributes:
        facts: Both, or one of them.
    """

    facts: tuple[Literal["sex", "age"], ...] = Field(default=("sex", "age"), min_length=1)


class SexAgeRemoved(RecordChange):
    """Sex and age are unknown in a share of the cases.

    Stands for a patient who arrives unidentified, and for data that are released without either. It shows how much a
    method relies on them. Other static facts stay.
    """

    name = "sex_age_removed"
    traits = PerturbationTraits(levels=(0.2, 0.4, 0.6, 0.8, 1.0), severity_unit="share of the cases")
    Params = SexAgeRemovedParams
    params: SexAgeRemovedParams

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """Remove these facts with probability `severity`. A higher severity removes them wherever a lower one does."""
        if np.random.default_rng(seed).random() >= severity:
            return case
        return replace(case, static={k: float("nan") if k in self.params.facts else v for k, v in case.static.items()})
