"""A figure of the page as a picture of its own: its colours and its font inside, on white, with stamp and legend."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from functools import cache
from html import escape

from jinja2 import Environment, PackageLoader

from eagbench.report.figures.estimates import WIDTH, Look, swatch
from eagbench.report.figures.svg import text

_MARGIN = 14.0
_LINE = 19.0
# No font is at hand to measure with, so both are on the safe side.
_CHARACTER, _STAMP_CHARACTERS = 7.4, 120
_SVG = re.compile(r"<svg viewBox=\"0 0 (?P<width>[\d.]+) (?P<height>[\d.]+)\"[^>]*>(?P<body>.*)</svg>", re.DOTALL)
_VARIABLE = re.compile(r"var\(--(?P<name>[\w-]+)(?:,\s*(?P<fallback>[^()]*))?\)")


def standalone(svg: str, legend: Sequence[tuple[Look | None, str]], stamp: str, caption: str) -> str:
    """Make a picture that any viewer shows as the page does in its light colours.

    Args:
        svg: The figure, as `svg.drawing` composed it.
        legend: Its legend.
        stamp: The words that open every caption, drawn above the figure; may be empty.
        caption: The caption, as the description for readers who do not see the picture.
    """
    found = _SVG.fullmatch(svg)
    if found is None:
        raise ValueError("this is not a figure of the report")
    above: list[str] = []
    y = 0.0
    for words in textwrap.wrap(stamp, _STAMP_CHARACTERS):
        y += _LINE
        above.append(text(0, y, words, "stamp"))
    x = 0.0
    for look, name in legend:
        width = 37 + _CHARACTER * len(name) + 22
        if x == 0 or x + width > WIDTH:
            x, y = 0.0, y + _LINE
        above.append(swatch(look).replace("<svg ", f'<svg x="{x:g}" y="{y - 10:g}" ', 1))
        above.append(text(x + 37, y, name, "label"))
        x += width
    top = y + 12 if above else 0.0
    width, height = float(found["width"]) + 2 * _MARGIN, float(found["height"]) + top + 2 * _MARGIN
    drawn = f'<g transform="translate({_MARGIN:g} {_MARGIN:g})">{"".join(above)}'
    drawn += f'<g transform="translate(0 {top:g})">{found["body"]}</g></g>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">\n<desc>{escape(f"{stamp} {caption}".strip())}</desc>\n'
        f'<style>\n{_style()}</style>\n<rect width="100%" height="100%" fill="#fff"/>\n{_settled(drawn)}\n</svg>\n'
    )


@cache
def _style() -> str:
    """Take the rules for figures from the page's style sheet, with the values of its light colours."""
    templates = Environment(loader=PackageLoader("eagbench.report.page"), autoescape=False)
    sheet = templates.get_template("report.css").render()
    light = dict(reversed(re.findall(r"--([\w-]+):\s*([^;]+);", sheet)))  # the first of each name
    rules = [line for line in sheet.splitlines() if line.startswith(("svg .", "svg text"))]
    rules.append("svg .stamp { fill: var(--amber); font-size: 13px; font-weight: 700; }")
    return _VARIABLE.sub(lambda found: light[found["name"]], "\n".join(rules)) + "\n"


def _settled(drawn: str) -> str:
    """Put colours in the place of the page's variables, which another viewer may not know."""
    return _VARIABLE.sub(lambda found: found["fallback"], drawn)
