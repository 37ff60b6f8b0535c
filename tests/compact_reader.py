"""Reads a compact record back from its text alone, to show that nothing is lost in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE = re.compile(r"(?P<name>[^=]+)=(?P<values>[^ ]+)(?: (?P<unit>[^@]*?))?(?: @(?P<hours>[0-9.,]+))?")
_VALUE = re.compile(r"(?P<number>-?[0-9.]+)(?P<mark>[LH]?)")
_FACT = re.compile(r"(\w+)=(\S+)(?: years)?")


@dataclass(frozen=True)
class Line:
    """One feature as the text has it: (hour, number, mark) for each value, as written."""

    name: str
    unit: str
    values: tuple[tuple[float, float, str], ...]


def read_compact(text: str) -> tuple[dict[str, str], list[Line]]:
    """Return the static facts and the lines of a record; a legend before them is left out."""
    rows = text.split("\n")
    if rows[0].startswith("feature=values unit @"):
        rows = rows[1:]
    facts = dict(_FACT.findall(rows[0]))
    lines, hours = [], ""
    for row in rows[1:]:
        match = _LINE.fullmatch(row)
        assert match, row
        hours = match["hours"] or hours
        numbers = [_VALUE.fullmatch(value) for value in match["values"].split(",")]
        assert all(numbers), row
        pairs = zip(_expanded(hours), numbers, strict=True)
        values = tuple((hour, float(value["number"]), value["mark"]) for hour, value in pairs if value)
        lines.append(Line(match["name"], match["unit"] or "", values))
    return facts, lines


def _expanded(hours: str) -> list[float]:
    found: list[float] = []
    for part in hours.split(","):
        first, _, last = part.partition("..")
        found += [float(first) + i for i in range(round(float(last or first) - float(first)) + 1)]
    return found
