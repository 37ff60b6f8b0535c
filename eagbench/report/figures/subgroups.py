"""Forest plot of subgroups: a panel per method, a row per subgroup, all on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eagbench.report.figures.estimates import (
    REFERENCE_LOOK,
    WIDTH,
    Estimate,
    Look,
    extent,
    point_with_interval,
    shortened,
    value_axis,
)
from eagbench.report.figures.svg import Scale, drawing, line, rectangle, text

_MOST_PER_ROW = 4
_LEFT, _TOP, _BELOW, _GAP = 262.0, 30.0, 62.0, 26.0
_ROW, _HEADING = 22.0, 24.0
_WIDEST = 330.0


@dataclass(frozen=True, slots=True)
class SubgroupRow:
    """All cases, or a subgroup of them.

    Attributes:
        fact: The fact that defines the subgroup; empty for all cases. Rows of one fact appear below its name.
        name: Its value of that fact.
        counts: Cases and events, as shown.
    """

    fact: str
    name: str
    counts: str


@dataclass(frozen=True, slots=True)
class SubgroupPanel:
    """One method.

    Attributes:
        method: Its label.
        on_all: Its value on all cases, marked by a line; NaN without one.
        cells: For each row a number with its interval, or words that say why there is none.
    """

    method: str
    on_all: float
    cells: Sequence[Estimate | str]


def subgroup_forest(
    rows: Sequence[SubgroupRow], panels: Sequence[SubgroupPanel], look: Mapping[str, Look], x_title: str
) -> str:
    """Draw point estimates with intervals within each subgroup, and a line at each method's value on all cases.

    Args:
        rows: All cases and the subgroups, with rows of one fact next to each other.
        panels: The methods; one without a look is a reference.
        look: The appearance of each method.
        x_title: The metric.
    """
    lines = math.ceil(len(panels) / _MOST_PER_ROW)
    per_row = math.ceil(len(panels) / lines)
    width = min(_WIDEST, (WIDTH - _LEFT - 12 - _GAP * (per_row - 1)) / per_row)
    ends = extent(cell for panel in panels for cell in panel.cells if not isinstance(cell, str))
    places, height = _places(rows)
    parts: list[str] = []
    for start in range(0, len(panels), per_row):
        top = start // per_row * (_TOP + height + _BELOW) + _TOP
        parts.extend(_row_names(rows, places, top))
        for k, panel in enumerate(panels[start : start + per_row]):
            left = _LEFT + k * (width + _GAP)
            scale = Scale(*ends, left, left + width)
            parts.append(
                text(left + width / 2, top - 14, shortened(panel.method, int(width / 7)), "panel-title", "middle")
            )
            parts.extend(value_axis(scale, top, top + height))
            parts.append(text(left + width / 2, top + height + 33, x_title, "axis-title", "middle"))
            parts.extend(_panel(panel, [top + y for y in places], scale, look.get(panel.method, REFERENCE_LOOK)))
    below = 42.0  # the last axis and its title
    whole = lines * (_TOP + height + _BELOW) - _BELOW + below
    return drawing(WIDTH, whole, f"{x_title} within subgroups, one panel per method", parts)


def _places(rows: Sequence[SubgroupRow]) -> tuple[list[float], float]:
    """Return the middle of each row below the panel's top, and the height of all rows."""
    places: list[float] = []
    y, fact = 0.0, ""
    for row in rows:
        if row.fact != fact:
            y, fact = y + _HEADING, row.fact
        places.append(y + _ROW / 2)
        y += _ROW
    return places, y + 4


def _row_names(rows: Sequence[SubgroupRow], places: Sequence[float], top: float) -> list[str]:
    parts = [text(_LEFT - 22, top - 14, "n / events", "tick quiet", "end")]
    fact = ""
    for i, (row, place) in enumerate(zip(rows, places, strict=True)):
        y = top + place
        if row.fact != fact:
            parts.append(text(8, y - _ROW / 2 - 6, shortened(row.fact, 34), "label strong"))
            fact = row.fact
        if i % 2 == 0:
            parts.append(rectangle(0, y - _ROW / 2, WIDTH, _ROW, "stripe"))
        parts.append(text(20 if row.fact else 8, y + 4, shortened(row.name, 22), "label"))
        parts.append(text(_LEFT - 22, y + 4, row.counts, "tick", "end"))
    return parts


def _panel(panel: SubgroupPanel, places: Sequence[float], scale: Scale, look: Look) -> list[str]:
    parts: list[str] = []
    if not math.isnan(panel.on_all):
        x = scale(panel.on_all)
        parts.append(line(x, places[0], x, places[-1] + _ROW / 2, "trace", look.colour))
    for y, cell in zip(places, panel.cells, strict=True):
        if isinstance(cell, str):
            parts.append(text((scale.start + scale.end) / 2, y + 4, cell, "tick quiet halo", "middle"))
        else:
            parts.extend(point_with_interval(cell, scale, y, look))
    return parts
