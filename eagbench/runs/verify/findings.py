"""What a verification checked, and what failed."""

from __future__ import annotations

from dataclasses import dataclass, field

# A number and its recomputed value may differ because sums are taken in another order.
TOLERANCE = 1e-9


@dataclass(slots=True)
class Findings:
    """What was checked, and what failed."""

    checked: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.problems

    def count(self, what: str, n: int = 1) -> None:
        """Record that something was checked."""
        self.checked[what] = self.checked.get(what, 0) + n

    def text(self) -> str:
        """Write the findings as text for people."""
        lines = [f"{n} {what}" for what, n in self.checked.items()]
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        return "\n".join([*lines, "verified" if self.passed else f"not verified: {len(self.problems)} problems"])
