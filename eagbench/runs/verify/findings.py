"""What a verification checked, what failed, and what could not be proved."""

from __future__ import annotations

from dataclasses import dataclass, field

# A number and its recomputed value may differ because sums are taken in another order.
TOLERANCE = 1e-9
# One wrong column makes a problem of every row: so many are listed.
_LISTED = 40


class DamagedError(Exception):
    """A file of a run folder can't be read as what it is; the message names the file and says why."""


@dataclass(slots=True)
class Findings:
    """What was checked, what failed, and what could not be proved."""

    checked: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unproved: dict[str, int] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.problems

    def count(self, what: str, n: int = 1) -> None:
        """Record that something was checked."""
        self.checked[what] = self.checked.get(what, 0) + n

    def leave_open(self, what: str, n: int = 1) -> None:
        """Record that something could not be proved, and is not known to be wrong either."""
        self.unproved[what] = self.unproved.get(what, 0) + n

    def require(self, what: str) -> None:
        """Make it a problem if nothing of this kind was checked: a proof of nothing is no proof."""
        self.count(what, 0)
        if not self.checked[what]:
            self.problems.append(f"nothing is proved: 0 {what}")

    def text(self) -> str:
        """Write the findings as text for people."""
        lines = [f"{n} {what}" for what, n in self.checked.items()]
        lines += [f"not proved: {n} {what}" for what, n in self.unproved.items()]
        lines += [f"PROBLEM: {problem}" for problem in self.problems[:_LISTED]]
        if len(self.problems) > _LISTED:
            lines.append(f"PROBLEM: and {len(self.problems) - _LISTED} more")
        n = len(self.problems)
        said = "verified" if self.passed else f"not verified: {n} problem{'s' if n > 1 else ''}"
        return "\n".join([*lines, said])
