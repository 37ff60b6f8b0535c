"""The base class of the built-in perturbations."""

from __future__ import annotations

from typing import ClassVar

from eagbench.api import Cases, PerturbationTraits, StrictParams
from eagbench_plugins.perturbations.severity import check_share


class NoParams(StrictParams):
    """No parameters."""


class RecordChange:
    """A change to the record: by default it has no parameters, learns nothing, and its severity is a share.

    Attributes:
        name: Its name.
        traits: Its levels, what a severity counts, and the readers that it applies to.
    """

    name: ClassVar[str]
    traits: ClassVar[PerturbationTraits]
    Params: ClassVar[type[StrictParams]] = NoParams

    def __init__(self, params: StrictParams) -> None:
        self.params = params

    def check_severity(self, severity: float) -> None:
        """Raise `ValueError` unless the severity is a share from 0 to 1."""
        check_share(severity)

    def fit(self, cases: Cases) -> None:
        """Learn nothing."""
