"""The figures of a sweep's report as inline SVG, in the look of the run report's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eagbench.report.figures.estimates import REFERENCE, WIDTH, Look, padded, shortened
from eagbench.report.figures.svg import (
    COLOURS,
    Scale,
    drawing,
    line,
    marker,
    nice_ticks,
    path,
    rectangle,
    text,
    tick_label,
    turned_text,
)
from eagbench.sweep.report.axes import Axis, ChoiceAxis, whole_ticks

COMPLETE = Look(COLOURS[0], "circle", joined=False)
BEST = Look(COLOURS[1], "circle", joined=False)
BEST_SO_FAR = Look(COLOURS[1], "circle")
DEFAULT = Look(REFERENCE, "diamond", joined=False)
PRUNED = Look(COLOURS[4], "down", joined=False)
FAILED = Look(COLOURS[3], "cross", joined=False)

_CHARACTER = 6.2  # width of a tick label's character


@dataclass(frozen=True, slots=True)
class Point:
    """A trial in a figure: its number, its value of an objective, and its look."""

    trial: int
    value: float
    look: Look


@dataclass(frozen=True, slots=True)
class HistoryPanel:
    """One objective over the trials.

    Attributes:
        title: The objective.
        points: Every complete trial.
        best: Number and value of each trial that was better than all before it.
        default: The value of the default configuration; None if its trial did not finish.
        without_value: Trials that were pruned or failed, each with its look.
    """

    title: str
    points: Sequence[Point]
    best: Sequence[tuple[int, float]]
    default: float | None
    without_value: Sequence[tuple[int, Look]]


def history(panels: Sequence[HistoryPanel]) -> str:
    """Draw objectives over the trials, with the best so far; trials without a value get their own line below."""
    left, top, plot, gap = 60.0, 26.0, 200.0, 30.0
    strip = 28.0 if any(panel.without_value for panel in panels) else 0.0
    width = (WIDTH - len(panels) * (left + 10) - gap * (len(panels) - 1)) / len(panels)
    parts: list[str] = []
    for k, panel in enumerate(panels):
        x0 = left + k * (width + left + 10 + gap)
        last = max([p.trial for p in panel.points] + [trial for trial, _ in panel.without_value], default=1)
        x_scale = Scale(0, max(1, last), x0 + 12, x0 + width - 12)
        values = [p.value for p in panel.points] + ([] if panel.default is None else [panel.default])
        y_scale = Scale(*padded(values), top + plot, top)
        parts.append(text(x0, 14, _fitted(panel.title, width + left), "panel-title"))
        parts += _horizontal_grid(y_scale, x0, x0 + width)
        base = top + plot
        parts.append(line(x0, base, x0 + width, base, "axis"))
        if panel.without_value:
            parts.append(rectangle(x0, base + 4, width, 24, "stripe"))
            parts += [
                marker(x_scale(trial), base + 16, look.marker, look.colour) for trial, look in panel.without_value
            ]
        for tick in whole_ticks(0, max(1, last), 8):
            parts.append(text(x_scale(tick), base + strip + 17, tick_label(tick), "tick", "middle"))
        parts.append(text(x0 + width / 2, base + strip + 35, "trial", "axis-title", "middle"))
        if panel.default is not None:
            parts.append(line(x0, y_scale(panel.default), x0 + width, y_scale(panel.default), "reference-line"))
        if panel.best:
            steps = [(x_scale(panel.best[0][0]), y_scale(panel.best[0][1]))]
            for trial, value in panel.best[1:]:
                steps += [(x_scale(trial), steps[-1][1]), (x_scale(trial), y_scale(value))]
            parts.append(path([*steps, (x_scale(last), steps[-1][1])], "curve", BEST_SO_FAR.colour))
        parts += _points([(x_scale(p.trial), y_scale(p.value), p.look) for p in panel.points])
    return drawing(WIDTH, top + plot + strip + 42, "Objectives over the trials", parts)


@dataclass(frozen=True, slots=True)
class ImportancePanel:
    """The share of each parameter in what sets the best trials apart, for one objective."""

    title: str
    shares: Mapping[str, float]


def importances(panels: Sequence[ImportancePanel], names: Sequence[str]) -> str:
    """Draw bars for the parameters, one panel per objective."""
    left, top, row_height, gap = 230.0, 28.0, 24.0, 28.0
    width = min(420.0, (WIDTH - left - 60 - gap * (len(panels) - 1)) / len(panels))
    bottom = top + row_height * len(names)
    most = max((share for panel in panels for share in panel.shares.values()), default=1.0)
    parts: list[str] = []
    for i, name in enumerate(names):
        y = top + row_height * (i + 0.5)
        if i % 2 == 0:
            parts.append(
                rectangle(0, y - row_height / 2, left + len(panels) * (width + gap) + 30, row_height, "stripe")
            )
        parts.append(text(8, y + 4, shortened(name, 32), "label"))
    for k, panel in enumerate(panels):
        start = left + k * (width + gap)
        scale = Scale(0, max(most, 0.01), start, start + width - 44)
        parts.append(text(start, 16, _fitted(panel.title, width), "panel-title"))
        parts.append(line(start, top, start, bottom, "axis"))
        for i, name in enumerate(names):
            y, share = top + row_height * (i + 0.5), panel.shares.get(name, 0.0)
            length = max(0.8, scale(share) - start)
            parts.append(rectangle(start, y - 7, length, 14, "bar", COMPLETE.colour))
            parts.append(text(start + length + 6, y + 4, f"{100 * share:.0f} %", "tick"))
    return drawing(WIDTH, bottom + 8, "Parameter importances", parts)


@dataclass(frozen=True, slots=True)
class SlicePanel:
    """An objective over one parameter.

    Attributes:
        title: The parameter.
        axis: Its axis.
        points: Place on the axis, value and look of each complete trial that had the parameter.
    """

    title: str
    axis: Axis
    points: Sequence[tuple[float, float, Look]]


def slices(panels: Sequence[SlicePanel], y_title: str) -> str:
    """Draw small panels, one per parameter, that share one axis of the objective."""
    per_row, left, top, plot, below = 4, 66.0, 26.0, 128.0, 44.0
    cell = WIDTH / per_row
    width, cell_height = cell - left - 12, top + plot + below
    extent = padded([value for panel in panels for _, value, _ in panel.points])
    parts: list[str] = []
    for k, panel in enumerate(panels):
        x0, y0 = (k % per_row) * cell + left, (k // per_row) * cell_height + top
        x_scale, y_scale = Scale(0, 1, x0 + 8, x0 + width - 8), Scale(*extent, y0 + plot, y0)
        parts.append(text(x0, y0 - 9, shortened(panel.title, 31), "panel-title"))
        parts += _horizontal_grid(y_scale, x0, x0 + width, 4)
        parts.append(line(x0, y0 + plot, x0 + width, y0 + plot, "axis"))
        parts += _parameter_ticks(panel.axis, x_scale, y0 + plot, width)
        if k % per_row == 0:
            label, _, cases = y_title.rpartition(", ")
            parts.append(turned_text(x0 - 53, y0 + plot / 2, shortened(label, int(plot / _CHARACTER)), "axis-title"))
            parts.append(turned_text(x0 - 40, y0 + plot / 2, cases, "tick quiet"))
        parts += _points([(x_scale(x), y_scale(y), look) for x, y, look in panel.points])
    rows = math.ceil(len(panels) / per_row)
    return drawing(WIDTH, rows * cell_height, f"{y_title} over each parameter", parts)


@dataclass(frozen=True, slots=True)
class ParallelLine:
    """A trial across all axes: its place on each (None if it lacks the parameter) and its objective's value."""

    places: Sequence[float | None]
    value: float
    look: Look


def parallel(names: Sequence[str], axes: Sequence[Axis], lines: Sequence[ParallelLine], objective: str) -> str:
    """Draw every complete trial as a line over the parameters, with the objective last.

    The darker a line, the higher its value.
    """
    top, plot, unset_gap, right = 40.0, 250.0, 30.0, 110.0
    left = 30.0
    step = (WIDTH - left - right) / len(axes)
    has_unset = any(place is None for trial in lines for place in trial.places)
    unset_y = top + plot + unset_gap
    extent = padded([trial.value for trial in lines])
    y_scale, value_scale = Scale(0, 1, top + plot, top), Scale(*extent, top + plot, top)
    xs = [left + step * i for i in range(len(axes) + 1)]
    parts: list[str] = []
    if has_unset:
        parts.append(line(xs[0], unset_y, xs[-2], unset_y, "grid"))
        parts.append(text(xs[-2] + 10, unset_y + 4, "not set", "tick quiet"))
    marked = [trial for trial in lines if trial.look != COMPLETE]
    values = [trial.value for trial in lines]
    for trial in [*(t for t in sorted(lines, key=lambda t: t.value) if t.look == COMPLETE), *marked]:
        ys = [unset_y if place is None else y_scale(place) for place in trial.places]
        is_marked = trial.look != COMPLETE
        colour = trial.look.colour if is_marked else _shade(trial.value, min(values), max(values))
        ends = [*zip(xs, ys, strict=False), (xs[-1], value_scale(trial.value))]
        parts.append(path(ends, "curve" if is_marked else "curve trace shaded", colour))
    for x, axis, name in zip(xs, axes, names, strict=False):
        parts.append(line(x, top, x, top + plot, "axis"))
        parts.append(
            text(x - (14 if x == left else 0), 16, shortened(name, int(step / 7.2)), "panel-title", _middle(x))
        )
        for place, label in axis.ticks(5):
            parts.append(line(x - 3, y_scale(place), x + 3, y_scale(place), "axis"))
            parts.append(text(x + 6, y_scale(place) + 4, shortened(label, int((step - 12) / _CHARACTER)), "tick halo"))
    parts.append(line(xs[-1], top, xs[-1], top + plot, "axis"))
    parts.append(text(WIDTH, 16, _fitted(objective, right + step / 2), "panel-title", "end"))
    for tick in nice_ticks(*extent, 5):
        parts.append(line(xs[-1] - 3, value_scale(tick), xs[-1] + 3, value_scale(tick), "axis"))
        parts.append(text(xs[-1] + 8, value_scale(tick) + 4, _amount(tick), "tick"))
    return drawing(WIDTH, unset_y + 12 if has_unset else top + plot + 14, f"Parameters and {objective}", parts)


@dataclass(frozen=True, slots=True)
class FrontPanel:
    """Two objectives against each other: their titles, and each complete trial's number, values and look."""

    x_title: str
    y_title: str
    points: Sequence[tuple[int, float, float, Look]]


def fronts(panels: Sequence[FrontPanel]) -> str:
    """Draw complete trials by two objectives, one panel per pair.

    Trials that no other trial beats in every objective are named.
    """
    per_row, left, top, plot, below = 2, 66.0, 14.0, 300.0, 48.0
    cell = WIDTH / per_row
    width, cell_height = cell - left - 24, top + plot + below
    parts: list[str] = []
    for k, panel in enumerate(panels):
        x0, y0 = (k % per_row) * cell + left, (k // per_row) * cell_height + top
        x_scale = Scale(*padded([x for _, x, _, _ in panel.points]), x0, x0 + width)
        y_scale = Scale(*padded([y for _, _, y, _ in panel.points]), y0 + plot, y0)
        parts += _horizontal_grid(y_scale, x0, x0 + width)
        for tick in nice_ticks(x_scale.low, x_scale.high, 5):
            parts.append(line(x_scale(tick), y0, x_scale(tick), y0 + plot, "grid"))
            parts.append(text(x_scale(tick), y0 + plot + 16, _amount(tick), "tick", "middle"))
        parts.append(line(x0, y0 + plot, x0 + width, y0 + plot, "axis"))
        parts.append(text(x0 + width / 2, y0 + plot + 35, panel.x_title, "axis-title", "middle"))
        parts.append(turned_text(x0 - 52, y0 + plot / 2, _fitted(panel.y_title, plot), "axis-title"))
        parts += _points([(x_scale(x), y_scale(y), look) for _, x, y, look in panel.points])
        named: list[tuple[float, float]] = []
        for trial, x, y, look in panel.points:
            at = (x_scale(x), y_scale(y))
            has_room = all(abs(at[0] - other[0]) > 20 or abs(at[1] - other[1]) > 12 for other in named)
            if look in (BEST, DEFAULT) and has_room:
                named.append(at)
                parts.append(text(at[0] + 7, at[1] - 6, str(trial), "tick halo"))
    rows = math.ceil(len(panels) / per_row)
    return drawing(WIDTH, rows * cell_height, "Objectives against each other", parts)


@dataclass(frozen=True, slots=True)
class ReportedLine:
    """The intermediate values of one trial over their steps."""

    points: Sequence[tuple[int, float]]
    look: Look


def intermediate(lines: Sequence[ReportedLine], y_title: str, x_title: str, rungs: Sequence[str] | None = None) -> str:
    """Draw what trials reported while they ran; a pruned one ends with a mark where it was stopped.

    Args:
        lines: The trials.
        y_title: The objective.
        x_title: What a step is.
        rungs: Label of each step, from 0 on; None to label steps by their numbers.
    """
    left, top, plot, below = 66.0, 14.0, 230.0, 46.0
    width = WIDTH - left - 20
    steps = sorted({step for trial in lines for step, _ in trial.points})
    x_scale = Scale(steps[0], steps[-1], left + 14, left + width - 14)
    values = [value for trial in lines for _, value in trial.points if math.isfinite(value)]
    y_scale = Scale(*padded(values), top + plot, top)
    parts = _horizontal_grid(y_scale, left, left + width)
    parts.append(line(left, top + plot, left + width, top + plot, "axis"))
    numbers = [(step, tick_label(step)) for step in whole_ticks(steps[0], steps[-1], 10)]
    for step, label in numbers if rungs is None else list(enumerate(rungs))[: steps[-1] + 1]:
        parts.append(text(x_scale(step), top + plot + 17, label, "tick", "middle"))
    parts.append(text(left + width / 2, top + plot + 35, x_title, "axis-title", "middle"))
    parts.append(turned_text(left - 52, top + plot / 2, _fitted(y_title, plot), "axis-title"))
    for trial in sorted(lines, key=lambda t: _layer(t.look)):
        drawn = [(x_scale(step), y_scale(value)) for step, value in trial.points if math.isfinite(value)]
        if drawn:
            parts.append(path(drawn, "curve" if trial.look in (BEST, DEFAULT) else "curve trace", trial.look.colour))
            parts.append(marker(*drawn[-1], trial.look.marker, trial.look.colour))
    return drawing(WIDTH, top + plot + below, f"{y_title} over {x_title}", parts)


def _layer(look: Look) -> int:
    """Return the drawing layer of a look, so that marked trials are drawn above the others."""
    return {COMPLETE: 0, PRUNED: 1, FAILED: 1, BEST_SO_FAR: 2, BEST: 2, DEFAULT: 3}[look]


def _points(points: Sequence[tuple[float, float, Look]]) -> list[str]:
    return [
        marker(x, y, look.marker, look.colour, 3.8 if look == COMPLETE else 4.6)
        for x, y, look in sorted(points, key=lambda point: _layer(point[2]))
    ]


def _horizontal_grid(scale: Scale, start: float, end: float, wanted: int = 5) -> list[str]:
    parts = []
    for tick in nice_ticks(scale.low, scale.high, wanted):
        parts.append(line(start, scale(tick), end, scale(tick), "grid"))
        parts.append(text(start - 7, scale(tick) + 4, _amount(tick), "tick", "end"))
    return parts


def _parameter_ticks(axis: Axis, scale: Scale, base: float, width: float) -> list[str]:
    parts = []
    ticks = axis.ticks(4)
    room = int(width / len(ticks) / _CHARACTER) if isinstance(axis, ChoiceAxis) else 9
    for place, label in ticks:
        parts.append(line(scale(place), base, scale(place), base + 4, "axis"))
        parts.append(text(scale(place), base + 17, shortened(label, max(3, room)), "tick", "middle"))
    return parts


def _amount(value: float) -> str:
    """Format a tick's number, with thousands separators for large ones such as tokens."""
    return f"{value:,.0f}" if abs(value) >= 1000 else tick_label(value)


def _fitted(title: str, width: float) -> str:
    """Fit an objective's title to a width by cutting its name, never the cases that it was measured on."""
    label, comma, cases = title.rpartition(", ")
    return f"{shortened(label, max(4, int(width / 7.2) - len(comma + cases)))}{comma}{cases}"


def _middle(x: float) -> str:
    return "start" if x < 60 else "middle"


_PALE, _DARK = (0xC3, 0xD6, 0xE6), (0x08, 0x3A, 0x5E)


def _shade(value: float, low: float, high: float) -> str:
    share = (value - low) / (high - low) if high > low else 1.0
    return "#" + "".join(f"{round(p + share * (d - p)):02x}" for p, d in zip(_PALE, _DARK, strict=True))
