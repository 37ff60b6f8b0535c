"""The blocks of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eagbench.report.figures.estimates import Look
from eagbench.report.tables import Table


@dataclass(frozen=True, slots=True)
class Prose:
    """A paragraph."""

    text: str
    kind: str = "prose"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    text: str
    kind: str = "heading"


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A numbered table."""

    table: Table
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class FigureFile:
    """What a figure leaves beside the page: `figures/STEM.svg`, and its numbers as `figures/STEM.csv`.

    Attributes:
        name: What the files are named after.
        columns: The columns of the table.
        rows: Its rows, by column; undefined numbers are NaN.
    """

    name: str
    columns: tuple[str, ...]
    rows: Sequence[Mapping[str, Any]]

    @property
    def stem(self) -> str:
        """The files' name: a path in no part of it, whatever a damaged table calls its methods and conditions."""
        return re.sub(r"[^\w-]+", "_", self.name)


@dataclass(frozen=True, slots=True)
class FigureBlock:
    """A numbered figure: its picture as SVG, its caption, and a legend of (look or None for a reference, name).

    `file` is None where nothing is written beside the page.
    """

    svg: str
    caption: str
    legend: tuple[tuple[Look | None, str], ...] = ()
    file: FigureFile | None = None
    kind: str = "figure"


@dataclass(frozen=True, slots=True)
class Facts:
    """Terms with their explanations."""

    items: tuple[tuple[str, str], ...]
    kind: str = "facts"


@dataclass(frozen=True, slots=True)
class Code:
    """Commands to type."""

    text: str
    kind: str = "code"


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks hidden until a reader opens them."""

    title: str
    blocks: tuple[Block, ...]
    kind: str = "folded"


Block = Prose | Heading | TableBlock | FigureBlock | Facts | Code | Folded


@dataclass(frozen=True, slots=True)
class Point:
    """One of the lines that open a page: what it is about, and what it says."""

    topic: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page under a heading."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
