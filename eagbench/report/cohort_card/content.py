"""What a cohort card is made of: facts, tables and hints, each number as a value and as text."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eagbench.report.export.small_cells import is_small

Value = str | int | float | tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A value, for programs, and how people read it. A value that is suppressed or undefined is None."""

    value: Value
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A table of a card.

    Attributes:
        key: Its key in JSON.
        title: Its title.
        columns: Names of the columns.
        rows: Cells in the columns' order.
        note: What readers must know, below the table.
    """

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """A cohort card.

    Attributes:
        name: The data set, or the domain of a benchmark.
        facts: Names and values.
        sections: Tables.
        hints: What looks as if the outcome, or what comes after it, stood in the records.
        basis: The cases that hints were looked for in.
        notes: What the loader says of how cases were made.
    """

    name: str
    facts: tuple[tuple[str, Cell], ...]
    sections: tuple[Section, ...]
    hints: tuple[str, ...]
    basis: str
    notes: tuple[str, ...]


def words(text: str) -> Cell:
    """Make a cell of a text."""
    return Cell(text, text)


def count(n: int, minimum: int) -> Cell:
    """Make a cell of a number of cases or patients, suppressed if it is small."""
    return Cell(None, f"<{minimum}") if is_small(n, minimum) else Cell(n, f"{n:,}")


def share(part: int, whole: int, minimum: int) -> Cell:
    """Make a cell of a share of cases, suppressed if either side is small."""
    if is_small(part, minimum):
        return Cell(None, f"<{minimum} cases")
    if is_small(whole - part, minimum):
        return Cell(None, f"all but <{minimum}")
    return Cell(part / whole, f"{part / whole:.1%}") if whole else Cell(None, "-")


def number(value: float) -> Cell:
    """Make a cell of a number with four digits; NaN is undefined."""
    return Cell(None, "-") if np.isnan(value) else Cell(_rounded(value), f"{value:.4g}")


def interval(ends: tuple[float, float], form: str) -> Cell:
    """Make a cell of an interval, whose ends are written in a form such as `.1%`."""
    if np.isnan(ends[0]):
        return Cell(None, "-")
    return Cell((_rounded(ends[0]), _rounded(ends[1])), f"{ends[0]:{form}} to {ends[1]:{form}}")


def area(value: float) -> Cell:
    """Make a cell of an area under a curve."""
    return Cell(_rounded(value), f"{value:.3f}")


def _rounded(value: float) -> float:
    """Round to four digits, as a bundle does: the last ones of an area tell how many cases there were."""
    return float(f"{value:.4g}")
