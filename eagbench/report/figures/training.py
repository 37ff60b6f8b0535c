"""Figures about training: curves as small multiples, and the answers that a search found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eagbench.report.figures.estimates import REFERENCE, WIDTH, padded, shortened
from eagbench.report.figures.svg import (
    COLOURS,
    Scale,
    drawing,
    line,
    nice_ticks,
    path,
    rectangle,
    text,
    tick_label,
    turned_text,
)

_PER_ROW = 4
_LEFT = 52.0
CLASS_COLOURS = {"negative": COLOURS[0], "positive": COLOURS[1]}


@dataclass(frozen=True, slots=True)
class Trace:
    """A line of a panel. `seed` is the seed's position, which sets the colour; None for the mean over seeds."""

    seed: int | None
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class TracePanel:
    """One number over the steps of training."""

    title: str
    traces: Sequence[Trace]


def seed_colour(position: int) -> str:
    """Return the colour of a seed's line."""
    return COLOURS[position % len(COLOURS)]


def small_multiples(panels: Sequence[TracePanel], title: str, x_title: str) -> str:
    """Draw a small panel per number, each with its own axis, four in a row."""
    cell, top, plot, below = WIDTH / _PER_ROW, 26.0, 104.0, 40.0
    width, cell_height = cell - _LEFT - 14, top + plot + below
    parts: list[str] = []
    for k, panel in enumerate(panels):
        x0, y0 = (k % _PER_ROW) * cell + _LEFT, (k // _PER_ROW) * cell_height + top
        points = [point for trace in panel.traces for point in trace.points]
        steps = [x for x, _ in points]
        x_scale = Scale(min(steps, default=0.0), max(steps, default=1.0), x0, x0 + width)
        values = [y for _, y in points if math.isfinite(y)]
        low, high = padded(values)
        # Don't extend the axis of shares, lengths and the like below 0.
        y_scale = Scale(max(low, 0.0) if min(values, default=0.0) >= 0 else low, high, y0 + plot, y0)
        parts.append(text(x0, y0 - 9, shortened(panel.title, 32), "panel-title"))
        for tick in nice_ticks(y_scale.low, y_scale.high, 3):
            parts.append(line(x0, y_scale(tick), x0 + width, y_scale(tick), "grid"))
            parts.append(text(x0 - 6, y_scale(tick) + 4, tick_label(tick), "tick", "end"))
        parts.append(line(x0, y0 + plot, x0 + width, y0 + plot, "axis"))
        for step, anchor in dict.fromkeys(((x_scale.low, "start"), (x_scale.high, "end"))):
            parts.append(text(x_scale(step), y0 + plot + 15, tick_label(step), "tick", anchor))
        parts.append(text(x0 + width / 2, y0 + plot + 15, x_title, "axis-title", "middle"))
        for trace in panel.traces:
            drawn = [(x_scale(x), y_scale(y)) for x, y in trace.points if math.isfinite(y)]
            if drawn:
                is_mean = trace.seed is None
                colour = REFERENCE if trace.seed is None else seed_colour(trace.seed)
                parts.append(path(drawn, "curve" if is_mean else "curve trace", colour))
    rows = math.ceil(len(panels) / _PER_ROW)
    return drawing(WIDTH, rows * cell_height - below / 2, title, parts)


@dataclass(frozen=True, slots=True)
class AnswersPanel:
    """How many of the best trajectories answer with a probability in each tenth, by class."""

    title: str
    negative: Sequence[int]
    positive: Sequence[int]


def answers(panels: Sequence[AnswersPanel]) -> str:
    """Draw histograms of the answers, with positive cases upwards and negative ones downwards."""
    per_row = 3
    cell, top, half, below = WIDTH / per_row, 28.0, 62.0, 44.0
    width, cell_height = cell - _LEFT - 26, top + 2 * half + below
    parts: list[str] = []
    for k, panel in enumerate(panels):
        x0, y0 = (k % per_row) * cell + _LEFT, (k // per_row) * cell_height + top
        middle = y0 + half
        bins = len(panel.positive)
        most = max(1, *panel.positive, *panel.negative)
        parts.append(text(x0, y0 - 10, shortened(panel.title, 42), "panel-title"))
        for counts, name, direction in ((panel.positive, "positive", -1), (panel.negative, "negative", 1)):
            for b, count in enumerate(counts):
                if count:
                    tall = max(0.8, half * count / most)
                    y = middle - tall if direction < 0 else middle
                    parts.append(
                        rectangle(x0 + b * width / bins + 1, y, width / bins - 2, tall, "bar", CLASS_COLOURS[name])
                    )
            at = y0 + 10 if direction < 0 else y0 + 2 * half - 3
            parts.append(text(x0 - 6, at, tick_label(most), "tick", "end"))
            parts.append(turned_text(x0 - 34, middle + direction * half / 2, name, "axis-title"))
        parts.append(line(x0, middle, x0 + width, middle, "axis"))
        for tick, anchor in ((0, "start"), (0.5, "middle"), (1, "end")):
            parts.append(text(x0 + tick * width, y0 + 2 * half + 15, tick_label(tick), "tick", anchor))
        parts.append(text(x0 + width / 2, y0 + 2 * half + 31, "answered probability", "axis-title", "middle"))
    rows = math.ceil(len(panels) / per_row)
    return drawing(WIDTH, rows * cell_height, "Answers of the best trajectories, by class", parts)
