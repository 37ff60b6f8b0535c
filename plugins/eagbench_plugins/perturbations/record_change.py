"""What the built-in perturbations have in common."""

from __future__ import annotations

from typing import ClassVar

from eagbench.api import Cases, PerturbationTraits, StrictParams
from eagbench_plugins.perturbations.severity import check_share


class NoParams(StrictParams):
    """None."""


class RecordChange:
    """A change of the record: without parameters and with nothing to learn, by a share, unless a subclass says more.

    Attributes:
        name: Its name.
        traits: Its levels, what a severity counts, for which readers it means something.
    """

    name: ClassVar[str]
    traits: ClassVar[PerturbationTraits]
    Params: ClassVar[type[StrictParams]] = NoParams

    def __init__(self, params: StrictParams) -> None:
        self.params = params

    def check_severity(self, severity: float) -> None:
        """A share, from 0 to 1."""
        check_share(severity)

    def fit(self, cases: Cases) -> None:
        """Nothing is learnt."""
