"""Render the sections of a report as one HTML file that opens offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eagbench.report.figures.estimates import Look, swatch
from eagbench.report.page.blocks import Point, Section
from eagbench.report.page.script import TABLES, THEME, inline_script, sort_value
from eagbench.report.tables import columns_of_words


@dataclass(frozen=True, slots=True)
class Page:
    """What every report contains.

    Attributes:
        name: The name of the run or the sweep.
        version: The version of eagbench that made it.
        created: When it was made.
        synthetic: Whether its numbers come from generated records.
        stamp: The words that open every caption; empty for a full run on real data.
        opening: Paragraphs before the first section.
        tiles: Names and values of the numbers at the top.
        sections: The parts of the page.
        answer: The lines that answer the question, first of all; empty if a page has none.
        answer_title: Their title.
        description: What it is about, in the words of its author.
    """

    name: str
    version: str
    created: str
    synthetic: bool
    stamp: str
    opening: Sequence[str]
    tiles: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    answer: Sequence[Point] = ()
    answer_title: str = ""
    description: str = ""


def render(page: Page, template: str, more: Mapping[str, Any]) -> str:
    """Render the page as HTML.

    Args:
        page: The contents of the page.
        template: A template of this package that extends `page.html.j2`.
        more: Further values that this template needs.
    """
    environment = Environment(
        loader=PackageLoader("eagbench.report.page", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        page=page,
        number=_numbering(),
        # The only markup not escaped here comes from eagbench.report.figures.svg, which escapes each text it is given.
        picture=Markup,
        swatch=_swatch,
        sort_value=sort_value,
        columns_of_words=columns_of_words,
        script=inline_script(THEME, TABLES),
        **more,
    )


def _numbering() -> object:
    """Return a function that numbers figures and tables separately: "Table 1", "Figure 1", "Table 2".

    Folded tables are a supplement and count as "Table S1".
    """
    counted: Counter[str] = Counter()

    def number(kind: str) -> str:
        counted[kind] += 1
        return f"{kind}{'' if kind.endswith(' S') else ' '}{counted[kind]}"

    return number


def _swatch(look: Look | None) -> Markup:
    return Markup(swatch(look))
