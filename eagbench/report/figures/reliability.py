"""Reliability diagrams: do events happen as often as predicted, before and after recalibration?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eagbench.report.figures.estimates import REFERENCE, REFERENCE_LOOK, WIDTH, Estimate, Look, shortened
from eagbench.report.figures.svg import (
    Scale,
    drawing,
    hollow_marker,
    line,
    marker,
    path,
    rectangle,
    text,
    tick_label,
    turned_text,
)

_RECALIBRATED = Look(REFERENCE, "diamond")
_PER_ROW = 4
_PLOT, _BARS = 192.0, 34.0


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """Predicted probabilities against observed event rates.

    Attributes:
        points: (mean probability, event rate with interval) of each bin with an answer. A point without an interval is
            drawn hollow and off the line.
        counts: Answers per bin, for all bins.
    """

    points: Sequence[tuple[float, Estimate]]
    counts: Sequence[int]


@dataclass(frozen=True, slots=True)
class ReliabilityPanel:
    """One method's calibration.

    Attributes:
        method: Its label.
        note: Number of answers, written below the label.
        answered: The probabilities as answered.
        recalibrated: The same answers after recalibration; None if nothing was fitted, or none was wanted.
    """

    method: str
    note: str
    answered: ReliabilityCurve
    recalibrated: ReliabilityCurve | None = None


def reliability(panels: Sequence[ReliabilityPanel], look: Mapping[str, Look]) -> str:
    """Draw event rate over predicted probability, a panel per method, with a histogram of the probabilities below.

    A panel with two curves has its own legend, since the first one has the method's colour.
    """
    has_legend = any(panel.recalibrated for panel in panels)
    cell, left, top = WIDTH / _PER_ROW, 42.0, 62.0 if has_legend else 44.0
    cell_height = top + _PLOT + 10 + _BARS + 48
    parts: list[str] = []
    for k, panel in enumerate(panels):
        x0, y0 = (k % _PER_ROW) * cell + left, (k // _PER_ROW) * cell_height + top
        drawn = _drawn(panel, look.get(panel.method, REFERENCE_LOOK))
        parts.append(text(x0, y0 - top + 19, shortened(panel.method, 30), "panel-title"))
        parts.append(text(x0, y0 - top + 35, panel.note, "tick quiet"))
        if len(drawn) > 1:
            parts.extend(_legend(x0, y0 - 13, drawn))
        elif has_legend:
            parts.append(text(x0, y0 - 9, "not recalibrated", "tick quiet"))
        parts.extend(_ground(x0, y0))
        for each in drawn:
            parts.extend(_curve(each, x0, y0))
        parts.extend(_histogram(x0, y0 + _PLOT + 10 + _BARS, drawn))
        parts.append(text(x0 + _PLOT / 2, y0 + _PLOT + _BARS + 41, "predicted probability", "axis-title", "middle"))
        if k % _PER_ROW == 0:
            parts.append(turned_text(x0 - 32, y0 + _PLOT / 2, "event rate", "axis-title"))
    rows = math.ceil(len(panels) / _PER_ROW)
    return drawing(WIDTH, rows * cell_height, "Reliability diagrams, one per method", parts)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A curve with its style, and a one-pixel shift that separates the intervals of two curves that nearly agree."""

    name: str
    curve: ReliabilityCurve
    look: Look
    line: str = "curve thin"
    whisker: str = "whisker"
    size: float = 3.8
    shift: float = 0.0


def _drawn(panel: ReliabilityPanel, look: Look) -> list[_Drawn]:
    if panel.recalibrated is None:
        return [_Drawn("as answered", panel.answered, look)]
    return [
        _Drawn("as answered", panel.answered, look, shift=-1.0),
        _Drawn("recalibrated", panel.recalibrated, _RECALIBRATED, "curve thin dashed", "trace", size=3.0, shift=1.0),
    ]


def _legend(x0: float, y: float, drawn: Sequence[_Drawn]) -> list[str]:
    parts: list[str] = []
    for i, each in enumerate(drawn):
        x = x0 + i * 98
        parts.append(path([(x, y), (x + 22, y)], each.line, each.look.colour))
        parts.append(marker(x + 11, y, each.look.marker, each.look.colour, each.size))
        parts.append(text(x + 27, y + 4, each.name, "tick"))
    return parts


def _ground(x0: float, y0: float) -> list[str]:
    x_scale, y_scale = _scales(x0, y0)
    parts: list[str] = []
    for tick in (0, 0.25, 0.5, 0.75, 1):
        parts.append(line(x_scale(tick), y0, x_scale(tick), y0 + _PLOT, "grid"))
        parts.append(line(x0, y_scale(tick), x0 + _PLOT, y_scale(tick), "grid"))
        if tick in (0, 0.5, 1):
            parts.append(text(x0 - 6, y_scale(tick) + 4, tick_label(tick), "tick", "end"))
            parts.append(text(x_scale(tick), y0 + _PLOT + _BARS + 26, tick_label(tick), "tick", "middle"))
    return [*parts, line(x_scale(0), y_scale(0), x_scale(1), y_scale(1), "baseline")]


def _scales(x0: float, y0: float) -> tuple[Scale, Scale]:
    return Scale(0, 1, x0, x0 + _PLOT), Scale(0, 1, y0 + _PLOT, y0)


def _curve(drawn: _Drawn, x0: float, y0: float) -> list[str]:
    x_scale, y_scale = _scales(x0 + drawn.shift, y0)
    shape, colour = drawn.look.marker, drawn.look.colour
    firm = [(x_scale(mean), rate) for mean, rate in drawn.curve.points if not math.isnan(rate.low)]
    parts = [line(x, y_scale(rate.low), x, y_scale(rate.high), drawn.whisker, colour) for x, rate in firm]
    if len(firm) > 1:
        parts.append(path([(x, y_scale(rate.value)) for x, rate in firm], drawn.line, colour))
    for mean, rate in drawn.curve.points:
        point = hollow_marker if math.isnan(rate.low) else marker
        parts.append(point(x_scale(mean), y_scale(rate.value), shape, colour, drawn.size))
    return parts


def _histogram(x0: float, base: float, drawn: Sequence[_Drawn]) -> list[str]:
    """Draw answers per bin, with the curves' bars side by side on one scale."""
    most = max(max(each.curve.counts) for each in drawn)
    parts: list[str] = []
    for i, each in enumerate(drawn):
        bin_width = _PLOT / len(each.curve.counts)
        width = (bin_width - 1.6) / len(drawn)
        for b, answers in enumerate(each.curve.counts):
            if answers:
                tall = max(0.8, _BARS * answers / most)
                x = x0 + b * bin_width + 0.8 + i * width
                parts.append(rectangle(x, base - tall, width, tall, "bar", each.look.colour))
    return [*parts, line(x0, base, x0 + _PLOT, base, "axis")]
