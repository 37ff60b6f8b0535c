"""Which cells of a table of counts must be suppressed, so that no count of a few can be read or calculated.

Primary: a count of 1 up to the threshold. Complementary: where the cells of a total leave such a count as a rest, the
smallest of the other cells goes too. (The rule of the US CMS: no cell of 1 to 10, and none that can be derived.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MINIMUM = 11  # no cell of 1 to 10


@dataclass(frozen=True, slots=True)
class Counts:
    """Cases, those with the outcome among them, and by difference those without."""

    cases: int
    positive: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.cases + other.cases, self.positive + other.positive)

    def __sub__(self, other: Counts) -> Counts:
        return Counts(self.cases - other.cases, self.positive - other.positive)

    def shows_few(self, minimum: int) -> bool:
        """Say whether one of the three numbers is small but not 0."""
        return any(is_small(n, minimum) for n in (self.cases, self.positive, self.cases - self.positive))


def is_small(count: int, minimum: int) -> bool:
    """Say whether a count is of a few, but not of nobody."""
    return 0 < count < minimum


def hidden[Name](cells: Mapping[Name, Counts], total: Counts | None, minimum: int) -> set[Name]:
    """Choose the cells to suppress among those that make up a total.

    Args:
        cells: The counts of disjoint cells.
        total: What they and cases in none of them add up to; None if nobody can know it.
        minimum: The smallest count that may be shown, beside 0.

    Returns:
        Names of cells. The rest, total less all other cells, is 0 or no small count, unless all are suppressed.
    """
    found = {name for name, counts in cells.items() if counts.shows_few(minimum)}
    if total is None:
        return found
    while _left(cells, total, found).shows_few(minimum) and len(found) < len(cells):
        shown = [name for name in cells if name not in found]
        found.add(min(shown, key=lambda name: cells[name].cases))
    return found


def _left[Name](cells: Mapping[Name, Counts], total: Counts, suppressed: set[Name]) -> Counts:
    for name, counts in cells.items():
        if name not in suppressed:
            total = total - counts
    return total
