"""Curves over all thresholds: all methods in one large panel, and each with its interval in a small one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import FloatArray
from eagbench.report.figures.estimates import REFERENCE, REFERENCE_LOOK, WIDTH, Look, shortened
from eagbench.report.figures.svg import Scale, band, drawing, line, nice_ticks, path, text, tick_label, turned_text
from eagbench.report.figures.visible import visible
from eagbench.stats.curves import Curve

_PER_ROW = 4
_CELL = WIDTH / _PER_ROW  # of a small panel, in both directions
_LEFT, _TOP, _SMALL = 44.0, 34.0, 190.0
_LARGE = _CELL + _SMALL


@dataclass(frozen=True, slots=True, eq=False)
class DrawnCurves:
    """One method.

    Attributes:
        method: Its label.
        note: Written below the label.
        mean: The mean over its seeds.
        of_seeds: Of each seed; none if there is one only.
        band: x, lower and upper end of the interval, shape (3, G).
    """

    method: str
    note: str
    mean: Curve
    of_seeds: Sequence[Curve]
    band: FloatArray


@dataclass(frozen=True, slots=True)
class Ground:
    """What all panels share.

    Attributes:
        title: What the figure shows.
        x_title: Below each axis.
        y_title: Beside it.
        x: Ends of the axis.
        y: Ends of the axis; what lies outside is not drawn.
        baselines: Predictions without skill, as points.
    """

    title: str
    x_title: str
    y_title: str
    x: tuple[float, float]
    y: tuple[float, float]
    baselines: Sequence[Sequence[tuple[float, float]]]


def threshold_curves(methods: Sequence[DrawnCurves], ground: Ground, look: Mapping[str, Look]) -> str:
    """Draw all methods' means in one panel, then every method with its seeds (thin) and its interval (band)."""
    every = _Panel(ground, _LEFT, _TOP, _LARGE)
    parts = [text(_LEFT, _TOP - 9, "All methods", "panel-title"), *every.ground()]
    for drawn in methods:
        parts.extend(every.curve(drawn.mean, "curve", _look(look, drawn)))
    places = list(zip(methods, _places(), strict=False))
    for drawn, (column, row) in places:
        panel = _Panel(ground, column * _CELL + _LEFT, row * _CELL + _TOP, _SMALL)
        parts.append(text(panel.left, panel.top - 20, shortened(drawn.method, 30), "panel-title"))
        parts.append(text(panel.left, panel.top - 6, drawn.note, "tick quiet"))
        parts.extend([*panel.ground(), *panel.method(drawn, _look(look, drawn))])
    rows = max(2, 1 + max(row for _, (_, row) in places))
    return drawing(WIDTH, rows * _CELL, ground.title, parts)


def _places() -> Iterator[tuple[int, int]]:
    """Yield columns and rows of the small panels: beside the large one first, which takes two by two of them."""
    yield from ((column, row) for row in (0, 1) for column in (2, 3))
    row = 2
    while True:
        yield from ((column, row) for column in range(_PER_ROW))
        row += 1


def _look(look: Mapping[str, Look], drawn: DrawnCurves) -> str:
    return look.get(drawn.method, REFERENCE_LOOK).colour


class _Panel:
    """A square with axes.

    Args:
        ground: What it shows.
        left: Its left edge, in pixels.
        top: Its upper edge.
        size: Its width and height.
    """

    def __init__(self, ground: Ground, left: float, top: float, size: float) -> None:
        self.about, self.left, self.top, self.size = ground, left, top, size
        self.x = Scale(*ground.x, left, left + size)
        self.y = Scale(*ground.y, top + size, top)

    def ground(self) -> list[str]:
        """Draw grid, ticks, titles, and predictions without skill."""
        parts: list[str] = []
        bottom, right = self.top + self.size, self.left + self.size
        wanted = max(2, round(self.size / 90))
        for tick in nice_ticks(*self.about.x, wanted):
            parts.append(line(self.x(tick), self.top, self.x(tick), bottom, "grid"))
            parts.append(text(self.x(tick), bottom + 14, tick_label(tick), "tick", "middle"))
        for tick in nice_ticks(*self.about.y, wanted):
            parts.append(line(self.left, self.y(tick), right, self.y(tick), "grid"))
            parts.append(text(self.left - 5, self.y(tick) + 4, tick_label(tick), "tick", "end"))
        parts.append(text(self.left + self.size / 2, bottom + 29, self.about.x_title, "axis-title", "middle"))
        parts.append(turned_text(self.left - 32, self.top + self.size / 2, self.about.y_title, "axis-title"))
        for points in self.about.baselines:
            xs, ys = np.array(points).T
            parts.extend(self.curve(Curve(xs, ys), "curve baseline", REFERENCE))
        return parts

    def method(self, drawn: DrawnCurves, colour: str) -> list[str]:
        """Draw one method's interval, seeds and mean."""
        is_drawn = ~np.isnan(drawn.band).any(axis=0) & (drawn.band[0] <= self.about.x[1])
        at, low, high = drawn.band[:, is_drawn]
        parts: list[str] = []
        if len(at) > 1:
            low, high = np.clip([low, high], *self.about.y)
            edges = [visible([(self.x(x), self.y(y)) for x, y in zip(at, edge, strict=True)]) for edge in (low, high)]
            parts.append(band(edges[0], edges[1], colour))
        for curve in drawn.of_seeds:
            parts.extend(self.curve(curve, "curve trace", colour))
        return [*parts, *self.curve(drawn.mean, "curve", colour)]

    def curve(self, curve: Curve, css: str, colour: str) -> list[str]:
        """Draw a curve as far as it lies within the panel."""
        (x_low, x_high), (y_low, y_high) = self.about.x, self.about.y
        inside = (curve.x >= x_low) & (curve.x <= x_high) & (curve.y >= y_low) & (curve.y <= y_high)
        ends = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(int)))
        parts = []
        for start, end in zip(ends[::2], ends[1::2], strict=True):
            points = [(self.x(x), self.y(y)) for x, y in zip(curve.x[start:end], curve.y[start:end], strict=True)]
            parts.append(path(visible(points), css, colour))
        return parts


def rounded_up(value: float) -> float:
    """Return the next tenth, at most 1, as the end of an axis."""
    return min(1.0, math.ceil(10 * value - 1e-9) / 10)
