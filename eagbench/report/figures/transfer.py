"""The transfer matrix as a heat map: trained in a row's domain, evaluated in a column's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eagbench.report.figures.estimates import WIDTH, Estimate, shortened
from eagbench.report.figures.svg import drawing, rectangle, text

UNREAD_MARK = "\u2020"
# From pale to dark: the same value has the same lightness in every panel, readable without colour.
_PALE, _DARK = (237, 244, 250), (8, 69, 117)


@dataclass(frozen=True, slots=True)
class MatrixPanel:
    """One method's matrix.

    Attributes:
        title: The method.
        estimates: By (row, column); absent where nothing was evaluated.
        unread: Fields to mark because their number reflects the filling for unread answers more than the model.
    """

    title: str
    estimates: Mapping[tuple[str, str], Estimate]
    unread: frozenset[tuple[str, str]] = frozenset()


def matrices(
    panels: Sequence[MatrixPanel],
    rows: Sequence[str],
    columns: Sequence[str],
    counts: Mapping[str, str],
    at_home: frozenset[tuple[str, str]],
    extent: tuple[float, float],
) -> str:
    """Draw a heat map per method.

    Args:
        panels: The methods.
        rows: The training domains.
        columns: The evaluated domains.
        counts: The text below each column's name (its cases and events).
        at_home: Fields to frame because their model saw training cases of the column's domain.
        extent: Values of the palest and the darkest field.
    """
    left, top, field_width, field_height = 132.0, 62.0, 92.0, 40.0
    width = left + field_width * len(columns) + 24
    per_row = max(1, int(WIDTH // width))
    height = top + field_height * len(rows) + 26
    parts: list[str] = []
    for k, panel in enumerate(panels):
        x0, y0 = (k % per_row) * width, (k // per_row) * height
        parts.append(text(x0 + left, y0 + 14, shortened(panel.title, 44), "panel-title"))
        for j, column in enumerate(columns):
            x = x0 + left + field_width * (j + 0.5)
            parts.append(text(x, y0 + 36, shortened(column, 14), "tick", "middle"))
            parts.append(text(x, y0 + 52, counts[column], "tick quiet", "middle"))
        for i, row in enumerate(rows):
            y = y0 + top + field_height * i
            parts.append(text(x0 + left - 8, y + field_height / 2 + 4, shortened(row, 20), "label", "end"))
            for j, column in enumerate(columns):
                x = x0 + left + field_width * j
                mark = UNREAD_MARK if (row, column) in panel.unread else ""
                field = _Field(x, y, field_width, field_height)
                parts.extend(field.filled(panel.estimates.get((row, column)), mark, extent))
                if (row, column) in at_home:
                    parts.extend(field.framed())
    lines = math.ceil(len(panels) / per_row)
    return drawing(WIDTH, lines * height, "Trained in the row's domain, evaluated in the column's", parts)


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a matrix: its corner and its size."""

    x: float
    y: float
    width: float
    height: float

    def filled(self, estimate: Estimate | None, mark: str, extent: tuple[float, float]) -> list[str]:
        """Draw a number on its shade, with its interval below."""
        middle, centre = self.x + self.width / 2, self.y + self.height / 2
        if estimate is None or math.isnan(estimate.value):
            return [text(middle, centre + 4, "\u2013", "tick quiet", "middle")]
        low, high = extent
        share = min(1.0, max(0.0, (estimate.value - low) / ((high - low) or 1.0)))
        colour = "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(_PALE, _DARK, strict=True))
        ink = " inverse" if share > 0.7 else " upright"  # either has a contrast above 4.5 to 1
        parts = [rectangle(self.x + 1.5, self.y + 1.5, self.width - 3, self.height - 3, "field", colour)]
        parts.append(text(middle, centre - 1, f"{estimate.value:.3f}{mark}", f"label strong{ink}", "middle"))
        if not math.isnan(estimate.low):
            interval = f"{estimate.low:.2f}\u2013{estimate.high:.2f}"
            parts.append(text(middle, centre + 13, interval, f"tick{ink}", "middle"))
        return parts

    def framed(self) -> list[str]:
        """Draw a frame around the field."""
        thick, x, y = 2.0, self.x, self.y
        return [
            rectangle(x, y, self.width, thick, "frame"),
            rectangle(x, y + self.height - thick, self.width, thick, "frame"),
            rectangle(x, y, thick, self.height, "frame"),
            rectangle(x + self.width - thick, y, thick, self.height, "frame"),
        ]
