"""The report's figures as inline SVG: estimates with intervals, curves, citations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from eagbench.report.figures.svg import (
    COLOURS,
    MARKERS,
    Scale,
    band,
    drawing,
    line,
    marker,
    nice_ticks,
    path,
    rectangle,
    text,
    tick_label,
)

WIDTH = 1040.0
REFERENCE = "#333333"


@dataclass(frozen=True, slots=True)
class Look:
    """The appearance of one method in every figure.

    Attributes:
        colour: The colour of its line and points.
        marker: The shape of its points.
        joined: Whether a line runs through its points.
    """

    colour: str
    marker: str
    joined: bool = True


REFERENCE_LOOK = Look(REFERENCE, "diamond")  # for probabilities that no method made


def looks(methods: Sequence[str]) -> Mapping[str, Look]:
    """Assign each method a colour and a marker; with more methods than colours, the pairs still differ."""
    return {
        method: Look(COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, method in enumerate(methods)
    }


def swatch(look: Look | None) -> str:
    """Draw the legend's picture of a method, or of a reference."""
    if look is None:
        return drawing(30, 12, "reference", [line(1, 6, 29, 6, "reference-line")])
    through = [path([(1, 6), (29, 6)], "curve", look.colour)] if look.joined else []
    return drawing(30, 12, "method", [*through, marker(15, 6, look.marker, look.colour)])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval; NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ForestPanel:
    """One metric of the forest plot.

    Attributes:
        title: The metric.
        estimates: By row, None where there is none.
        baseline: The score of a method without skill, and its label.
    """

    title: str
    estimates: Mapping[str, Estimate | None]
    baseline: tuple[float, str] | None = None


def forest(rows: Sequence[str], look: Mapping[str, Look], panels: Sequence[ForestPanel]) -> str:
    """Draw point estimates with intervals, one row per method and one panel per metric.

    Rows without a look are references.
    """
    left, top, row_height, gap = 196.0, 30.0, 27.0, 26.0
    bottom = top + row_height * len(rows)
    panel_width = min(330.0, (WIDTH - left - 12 - gap * (len(panels) - 1)) / len(panels))
    parts: list[str] = []
    for i, name in enumerate(rows):
        y = top + row_height * (i + 0.5)
        if i % 2 == 0:
            parts.append(rectangle(0, y - row_height / 2, WIDTH, row_height, "stripe"))
        parts.append(text(8, y + 4, shortened(name, 27), "label" if name in look else "label reference-name"))
    for k, panel in enumerate(panels):
        start = left + k * (panel_width + gap)
        scale = Scale(*extent(panel.estimates.values(), panel.baseline), start, start + panel_width)
        parts.append(text(start + panel_width / 2, 16, panel.title, "panel-title", "middle"))
        parts.extend(value_axis(scale, top, bottom))
        if panel.baseline is not None:
            x = scale(panel.baseline[0])
            parts.append(line(x, top, x, bottom, "baseline"))
            parts.append(text(x, bottom + 31, panel.baseline[1], "tick quiet", _anchor(x, start, start + panel_width)))
        for i, name in enumerate(rows):
            estimate = panel.estimates.get(name)
            y = top + row_height * (i + 0.5)
            if estimate is None or math.isnan(estimate.value):
                parts.append(text(start + panel_width / 2, y + 4, "no value", "tick quiet", "middle"))
                continue
            parts.extend(point_with_interval(estimate, scale, y, look.get(name, REFERENCE_LOOK)))
    return drawing(WIDTH, bottom + 38, "Metrics with intervals, one row per method", parts)


def value_axis(scale: Scale, top: float, bottom: float) -> list[str]:
    """Draw the grid, the ticks and the axis of values that run from left to right."""
    parts: list[str] = []
    for tick in nice_ticks(scale.low, scale.high, max(2, round((scale.end - scale.start) / 60))):
        parts.append(line(scale(tick), top, scale(tick), bottom, "grid"))
        parts.append(text(scale(tick), bottom + 16, tick_label(tick), "tick", "middle"))
    return [*parts, line(scale.start, bottom, scale.end, bottom, "axis")]


def point_with_interval(estimate: Estimate, scale: Scale, y: float, look: Look) -> list[str]:
    """Draw a point on its own line, with its interval to both sides if it has one."""
    point = marker(scale(estimate.value), y, look.marker, look.colour, 4.4)
    if math.isnan(estimate.low):
        return [point]
    return [line(scale(estimate.low), y, scale(estimate.high), y, "whisker", look.colour), point]


@dataclass(frozen=True, slots=True)
class Curve:
    """One method over rising severity. `xs` are severities, with 0 for clean."""

    method: str
    xs: Sequence[float]
    estimates: Sequence[Estimate]


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """One metric under one perturbation.

    Attributes:
        title: The metric.
        curves: One per method.
        references: Values on clean records that no method made.
        baseline: The score of a ranking without skill.
        extent: The ends of the axis.
    """

    title: str
    curves: Sequence[Curve]
    references: Mapping[str, float]
    baseline: float | None
    extent: tuple[float, float]


def curves(panels: Sequence[CurvePanel], look: Mapping[str, Look], over: str, x_title: str) -> str:
    """Draw metrics over the severity of one perturbation, one panel per metric, side by side.

    Args:
        panels: The metrics.
        look: The appearance of each method.
        over: What the curves run over, for readers who do not see the picture.
        x_title: The title below each axis.
    """
    height, top, below, left, gap = 268.0, 26.0, 46.0, 52.0, 34.0
    panel_width = min(500.0, (WIDTH - len(panels) * (left + 8) - gap * (len(panels) - 1)) / len(panels))
    parts: list[str] = []
    for k, panel in enumerate(panels):
        start = left + k * (panel_width + left + gap)
        xs = sorted({x for curve in panel.curves for x in curve.xs})
        x_scale = Scale(xs[0], xs[-1], start + 16, start + panel_width - 16)
        y_scale = Scale(*panel.extent, height - below, top)
        parts.append(text(start, 14, panel.title, "panel-title"))
        for tick in nice_ticks(*panel.extent, 5):
            parts.append(line(start, y_scale(tick), start + panel_width, y_scale(tick), "grid"))
            parts.append(text(start - 7, y_scale(tick) + 4, tick_label(tick), "tick", "end"))
        for x in xs:
            parts.append(line(x_scale(x), height - below, x_scale(x), height - below + 5, "axis"))
            parts.append(text(x_scale(x), height - below + 18, tick_label(x) if x else "clean", "tick", "middle"))
        parts.append(line(start, height - below, start + panel_width, height - below, "axis"))
        parts.append(text(start + panel_width / 2, height - 8, shortened(x_title, 78), "axis-title", "middle"))
        if panel.baseline is not None and panel.extent[0] <= panel.baseline <= panel.extent[1]:
            y = y_scale(panel.baseline)
            parts.append(line(start, y, start + panel_width, y, "baseline"))
        for value in panel.references.values():
            y = y_scale(value)
            parts.append(line(start, y, start + panel_width, y, "reference-line"))
        # Draw all bands below all lines, so that no method hides another's line.
        for curve in panel.curves:
            runs = [(x, e) for x, e in zip(curve.xs, curve.estimates, strict=True) if not math.isnan(e.low)]
            if len(runs) > 1:
                parts.append(
                    band(
                        [(x_scale(x), y_scale(e.low)) for x, e in runs],
                        [(x_scale(x), y_scale(e.high)) for x, e in runs],
                        look[curve.method].colour,
                    )
                )
        for curve in panel.curves:
            drawn = look[curve.method]
            points = [
                (x_scale(x), y_scale(e.value))
                for x, e in zip(curve.xs, curve.estimates, strict=True)
                if not math.isnan(e.value)
            ]
            if points:
                parts.append(path(points, "curve", drawn.colour))
            parts.extend(marker(x, y, drawn.marker, drawn.colour) for x, y in points)
    title = f"{', '.join(panel.title for panel in panels)} over {over}"
    return drawing(WIDTH, height, title, parts)


@dataclass(frozen=True, slots=True)
class CitationPanel:
    """How often one method cites features and the reference expert lists them, as shares of answers."""

    method: str
    cited: Mapping[str, float]
    reference: Mapping[str, float]


def citations(panels: Sequence[CitationPanel], features: Sequence[str], look: Mapping[str, Look]) -> str:
    """Draw for each feature the share of answers that cite it, beside the share where the expert ranks it on top."""
    left, top, row_height, gap = 176.0, 44.0, 21.0, 36.0
    per_row = 3
    width = (WIDTH - left - 10 - gap * (per_row - 1)) / per_row
    cell_height = top + row_height * len(features) + 52
    rows = math.ceil(len(panels) / per_row)
    parts: list[str] = []
    for k, panel in enumerate(panels):
        start, y0 = left + (k % per_row) * (width + gap), (k // per_row) * cell_height + top
        bottom = y0 + row_height * len(features)
        colour = look[panel.method].colour
        scale = Scale(0, 1, start, start + width)
        parts.append(text(start, y0 - 12, shortened(panel.method, 38), "panel-title"))
        for tick in (0, 0.25, 0.5, 0.75, 1):
            parts.append(line(scale(tick), y0, scale(tick), bottom, "grid"))
            if tick in (0, 0.5, 1):
                parts.append(text(scale(tick), bottom + 16, f"{100 * tick:g}", "tick", "middle"))
        parts.append(text(start + width / 2, bottom + 33, "share of answers, %", "axis-title", "middle"))
        for i, feature in enumerate(features):
            y = y0 + row_height * (i + 0.5)
            if k % per_row == 0:
                parts.append(text(left - 10, y + 4, shortened(feature, 26), "label", "end"))
            cited, teacher = panel.cited.get(feature, 0.0), panel.reference.get(feature, 0.0)
            parts.append(line(scale(cited), y, scale(teacher), y, "link"))
            parts.append(marker(scale(teacher), y, "diamond", REFERENCE, 3.6))
            parts.append(marker(scale(cited), y, "circle", colour, 4.2))
    return drawing(WIDTH, rows * cell_height, "Cited features beside the reference expert's", parts)


def extent(estimates: Iterable[Estimate | None], baseline: tuple[float, str] | None = None) -> tuple[float, float]:
    """Return the ends of an axis that contains all estimates with their intervals, and the baseline."""
    values = [baseline[0]] if baseline else []
    for estimate in estimates:
        if estimate is not None:
            values.extend(v for v in (estimate.value, estimate.low, estimate.high) if not math.isnan(v))
    return padded(values)


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of values with a margin of 6 % on either side; (0, 1) without values."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05
    return low - margin, high + margin


def _anchor(x: float, start: float, end: float) -> str:
    position = (x - start) / (end - start)
    return "start" if position < 0.2 else "end" if position > 0.8 else "middle"


def shortened(name: str, length: int) -> str:
    """Cut a name that has too little room."""
    return name if len(name) <= length else name[: length - 1] + "…"
