"""The files of a report's figures in the run folder: `figures/STEM.svg`, and the numbers as `figures/STEM.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from eagbench.report.figures.standalone import standalone
from eagbench.report.page.blocks import Block, FigureBlock, Folded, Section
from eagbench.runs.folder import FIGURES
from eagbench.runs.writer import csv_text


def figure_files(sections: Sequence[Section], stamp: str) -> dict[str, str]:
    """Make the files of all figures.

    Args:
        sections: The report's sections.
        stamp: The words that open every caption.

    Returns:
        The files' texts by their paths in the run folder.

    Raises:
        ValueError: Two figures have the same name.
    """
    made: dict[str, str] = {}
    for figure in _figures([block for section in sections for block in section.blocks]):
        if figure.file is None:
            continue
        name = f"{FIGURES}/{figure.file.stem}"
        if f"{name}.svg" in made:
            raise ValueError(f"two figures are called {figure.file.stem}")
        made[f"{name}.svg"] = standalone(figure.svg, figure.legend, stamp, figure.caption)
        rows = [{column: row.get(column) for column in figure.file.columns} for row in figure.file.rows]
        made[f"{name}.csv"] = csv_text(figure.file.columns, rows)
    return made


def with_suffix(section: Section, suffix: str) -> Section:
    """Name the figures of a section after what else tells them apart, such as the pair of domains."""
    return replace(section, blocks=_renamed(section.blocks, suffix))


def _renamed(blocks: Sequence[Block], suffix: str) -> tuple[Block, ...]:
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, FigureBlock) and block.file is not None:
            found.append(replace(block, file=replace(block.file, name=f"{block.file.name}_{suffix}")))
        elif isinstance(block, Folded):
            found.append(replace(block, blocks=_renamed(block.blocks, suffix)))
        else:
            found.append(block)
    return tuple(found)


def _figures(blocks: Sequence[Block]) -> Iterator[FigureBlock]:
    for block in blocks:
        if isinstance(block, FigureBlock):
            yield block
        elif isinstance(block, Folded):
            yield from _figures(block.blocks)
