"""The few shapes that make up the report's figures. Text is escaped, coordinates are rounded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

# Readers with a colour-vision deficiency can tell these apart: Okabe and Ito's colours, with Tol's purple and indigo
# instead of the two that are pale on white. Black is reserved for references.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499", "#E69F00", "#332288", "#56B4E9", "#8C6D31")
MARKERS = ("circle", "square", "diamond", "triangle", "down", "cross")


@dataclass(frozen=True, slots=True)
class Scale:
    """Map data values to a line of pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def nice_ticks(low: float, high: float, wanted: int = 4) -> list[float]:
    """Return round numbers within [low, high], in steps of 1, 2, 2.5 or 5 times a power of ten."""
    span = high - low
    if not span > 0:
        return [low]
    raw = span / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(raw))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(s - raw))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def tick_label(value: float) -> str:
    """Write a tick's number without superfluous digits."""
    return f"{value:g}".replace("-", "\u2212")


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def line(x1: float, y1: float, x2: float, y2: float, css: str, colour: str | None = None) -> str:
    """Draw a straight line."""
    style = f' stroke="{colour}"' if colour else ""
    return f'<line class="{css}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"{style}/>'


def path(points: Iterable[tuple[float, float]], css: str, colour: str) -> str:
    """Draw an open line through points."""
    joined = " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
    return f'<path class="{css}" d="M{joined}" stroke="{colour}"/>'


def band(low: Iterable[tuple[float, float]], high: Iterable[tuple[float, float]], colour: str) -> str:
    """Draw the area between two lines, each from left to right."""
    joined = " L".join(f"{_n(x)} {_n(y)}" for x, y in [*high, *reversed(list(low))])
    return f'<path class="band" d="M{joined}Z" fill="{colour}"/>'


def rectangle(x: float, y: float, width: float, height: float, css: str, colour: str | None = None) -> str:
    """Draw a filled rectangle."""
    style = f' fill="{colour}"' if colour else ""
    return f'<rect class="{css}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"{style}/>'


def text(x: float, y: float, content: str, css: str, anchor: str = "start") -> str:
    """Draw text with its baseline at y."""
    return f'<text class="{css}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(content)}</text>'


def turned_text(x: float, y: float, content: str, css: str) -> str:
    """Draw text centred at a point and read from below."""
    turn = f"translate({_n(x)} {_n(y)}) rotate(-90)"
    return f'<text class="{css}" text-anchor="middle" transform="{turn}">{escape(content)}</text>'


def marker(x: float, y: float, shape: str, colour: str, size: float = 3.8) -> str:
    """Draw a point, distinguished by shape as well as by colour."""
    return _shape(x, y, shape, size, f'class="marker" fill="{colour}"')


def hollow_marker(x: float, y: float, shape: str, colour: str, size: float = 3.8) -> str:
    """Draw a point as an outline only."""
    return _shape(x, y, shape, size - 0.6, f'class="hollow" stroke="{colour}"')


def _shape(x: float, y: float, shape: str, s: float, style: str) -> str:
    if shape == "circle":
        return f'<circle {style} cx="{_n(x)}" cy="{_n(y)}" r="{_n(s)}"/>'
    corners = {
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "diamond": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
        "triangle": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        "down": [(0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
        "cross": [
            (-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4), (1.2, 0.4), (0.4, 0.4),
            (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4), (-1.2, -0.4), (-0.4, -0.4),
        ],
    }[shape]  # fmt: skip
    joined = " ".join(f"{_n(x + s * dx)},{_n(y + s * dy)}" for dx, dy in corners)
    return f'<polygon {style} points="{joined}"/>'


def drawing(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    """Compose the whole picture, as wide as its place allows but never wider than drawn."""
    body = "".join(parts)
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" width="{_n(width)}" height="{_n(height)}" role="img" '
        f'aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>{body}</svg>'
    )
