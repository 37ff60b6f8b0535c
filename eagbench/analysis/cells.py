"""The cells of a benchmark's grid: each has one method, training seed, condition and pair of domains."""

from __future__ import annotations

from dataclasses import dataclass

from eagbench.contracts import stages

ConditionKey = tuple[str, float | None]  # name, severity
CLEAN = stages.CLEAN.name
CLEAN_KEY: ConditionKey = (CLEAN, None)
DomainPair = tuple[str, str]  # trained in, evaluated in


@dataclass(frozen=True, slots=True)
class CellKey:
    """One cell of the grid.

    Attributes:
        method: The method's label.
        seed: Its training seed.
        condition: Name and severity of the condition; `clean` has no severity.
        pair: Names of the domains in which it was trained and evaluated.
    """

    method: str
    seed: int
    condition: ConditionKey
    pair: DomainPair
