"""What the built-in perturbations have in common."""

from __future__ import annotations

from typing import ClassVar

from eagbench.api import Cases, Reads, StrictParams
from eagbench_plugins.perturbations.severity import check_share

ALL_READERS: frozenset[Reads] = frozenset({"columns", "text"})


class NoParams(StrictParams):
    """None."""


class RecordChange:
    """A change of the record: without parameters and with nothing to learn, by a share, unless a subclass says more.

    Attributes:
        name: Its name.
        levels: Severities 1 to 5.
        severity_unit: What a severity counts.
        applies_to: For which readers it means something.
    """

    name: ClassVar[str]
    levels: ClassVar[tuple[float, float, float, float, float]]
    severity_unit: ClassVar[str]
    applies_to: ClassVar[frozenset[Reads]] = ALL_READERS
    Params: ClassVar[type[StrictParams]] = NoParams

    def __init__(self, params: StrictParams) -> None:
        self.params = params

    def check_severity(self, severity: float) -> None:
        """A share, from 0 to 1."""
        check_share(severity)

    def fit(self, cases: Cases) -> None:
        """Nothing is learnt."""
