"""Sex and age not known."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from eagbench.api import Case, Cases, Reads, StrictParams
from eagbench_plugins.perturbations.severity import check_share


class SexAgeRemovedParams(StrictParams):
    """What is removed.

    Attributes:
        facts: Both, or one of them.
    """

    facts: tuple[Literal["sex", "age"], ...] = Field(default=("sex", "age"), min_length=1)


class SexAgeRemoved:
    """Sex and age are unknown in a share of the patients.

    Stands for a patient who comes in unidentified, and for data that are released without either; and shows how far a
    method leans on them. Other static facts stay.
    """

    name: ClassVar[str] = "sex_age_removed"
    applies_to: ClassVar[frozenset[Reads]] = frozenset({"columns", "text"})
    levels: ClassVar[tuple[float, float, float, float, float]] = (0.2, 0.4, 0.6, 0.8, 1.0)
    Params: ClassVar[type[SexAgeRemovedParams]] = SexAgeRemovedParams

    def __init__(self, params: SexAgeRemovedParams) -> None:
        self.params = params

    def check_severity(self, severity: float) -> None:
        """A share of the cases, from 0 to 1."""
        check_share(severity)

    def fit(self, cases: Cases) -> None:
        """Nothing is learnt."""

    def apply(self, case: Case, severity: float, seed: int) -> Case:
        """The case, with a chance of `severity` without these facts; one that loses them at a lower severity does."""
        if np.random.default_rng(seed).random() >= severity:
            return case
        return replace(case, static={k: float("nan") if k in self.params.facts else v for k, v in case.static.items()})
