"""Formulas as MathML: browsers draw it without a script and without fonts from elsewhere."""

from __future__ import annotations

import re
from html import unescape

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves: `\(...\)` in a span, `\[...\]` in a div.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


class FormulaError(Exception):
    """A formula that can't be converted."""


def as_mathml(html: str) -> str:
    """Replace every formula of a page by MathML.

    Raises:
        FormulaError: A formula is not LaTeX that latex2mathml knows.
    """
    return _FORMULA.sub(_converted, html)


def _converted(found: re.Match[str]) -> str:
    latex = unescape(found[3]).strip()
    block = found[2] == "["
    try:
        mathml = convert(latex, display="block" if block else "inline")
    except Exception as error:  # the converter's own errors have no common base; the page says which formula it was
        raise FormulaError(f"the formula {latex!r} can't be converted: {error}") from error
    # A wide formula scrolls by itself on a narrow screen; a keyboard has to reach what scrolls.
    return f'<div class="formula" tabindex="0">{mathml}</div>' if block else mathml
