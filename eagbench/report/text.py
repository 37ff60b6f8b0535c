"""A run's tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence

from eagbench.report import wording
from eagbench.report.answer.lines import TITLE, UNREAD, answer
from eagbench.report.page.blocks import Block, Folded, Section, TableBlock
from eagbench.report.section_list import report_sections
from eagbench.report.sections.transfer import is_crossed, matrix_table
from eagbench.report.tables import (
    Format,
    Table,
    curve_metrics,
    escaped_latex,
    escaped_markdown,
    group_title,
    latex,
    main_table,
    markdown,
    stamp,
)
from eagbench.runs.reader import Cell, Group, ResultRow, RunFolder


def render(run: RunFolder, format: Format) -> str:
    """Render the tables of a run.

    Args:
        run: The run.
        format: `md` or `latex` for every table of the page and the numbers of its figures, section by section. `csv`
            for the results as one table in long form, unrounded; the run folder has the other numbers as CSV, except
            reliability bins and shares of citations, which are computed from its predictions.
    """
    if format == "csv":
        return _csv(run)
    found = report_sections(run)
    parts = [("", section) for section in found.overview]
    parts += [(pair.title, section) for pair in found.of_pairs for section in pair.sections]
    parts += [("", section) for section in found.about_the_run]
    blocks = [block for title, section in parts for block in _blocks(run, format, title, section)]
    return "\n".join([_answer(run, format), *blocks])


def _answer(run: RunFolder, format: Format) -> str:
    """Render the lines that answer the benchmark's question, after the words that must come first."""
    lines = [f"{point.topic}: {point.text}" for point in answer(run)]
    if format == "md":
        return "\n".join(
            [
                f"## {TITLE}\n",
                *([f"{stamp(run)}\n"] if stamp(run) else []),
                *(f"- {escaped_markdown(line)}" for line in lines),
                "",
            ]
        )
    return "\n".join([f"% {TITLE}", *(f"{escaped_latex(text)}\n" for text in (stamp(run), *lines) if text)])


def _blocks(run: RunFolder, format: Format, pair: str, section: Section) -> list[str]:
    """Render the heading of a section and its tables; return nothing for a section without tables."""
    tables = list(_tables(section.blocks))
    if not tables:
        return []
    title = f"{section.title}: {pair}" if pair else section.title
    heading = f"## {title}\n" if format == "md" else f"% {title}\n"
    write = markdown if format == "md" else latex
    return [heading, *(write(table, _opening(run, pair)) for table in tables)]


def _tables(blocks: Sequence[Block]) -> Iterator[Table]:
    for block in blocks:
        if isinstance(block, TableBlock):
            yield block.table
        elif isinstance(block, Folded):
            yield from _tables(block.blocks)


def _opening(run: RunFolder, pair: str) -> str:
    """Return the words that open every caption."""
    return " ".join(part for part in (stamp(run), _sentence(pair)) if part)


def headline(run: RunFolder) -> str:
    """Render what `eagbench run` prints at its end: the tables for unchanged records as Markdown, and the answer.

    Answers that could not be read have their own lines there.
    """
    points = (f"{point.topic}: {point.text}" for point in answer(run) if point.topic != UNREAD)
    title = f"{TITLE}: {stamp(run)}".rstrip()
    return "\n".join([_clean_tables(run), title, *points])


def _clean_tables(run: RunFolder) -> str:
    if is_crossed(run):
        matrix = matrix_table(run, curve_metrics(run)[0])
        return markdown(matrix, stamp(run)) if matrix is not None else ""
    blocks = []
    for group in run.groups:
        blocks.append(markdown(main_table(run, group), _opening(run, group_title(run, group))))
    return "\n".join(blocks)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}." if words else ""


def _csv(run: RunFolder) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = list(Group.__dataclass_fields__)
    writer.writerow(
        [*keys, "method", "condition", "severity", "metric", "value", "ci_low", "ci_high", "n_cases", "n_positive",
         "n_unparsed", "status", "seeds", "stamp"]
    )  # fmt: skip
    for group in run.all_groups:
        cells: Mapping[Cell, ResultRow] = run.headline(group)
        for row in cells.values():
            numbers = ["" if math.isnan(v) else repr(v) for v in (row.value, row.ci_low, row.ci_high)]
            writer.writerow(
                [*(getattr(group, key) for key in keys), row.method, row.condition, wording.amount(row.severity),
                 row.metric, *numbers, row.n_cases, row.n_positive, row.n_unparsed, row.status, row.seed, stamp(run)]
            )  # fmt: skip
    return out.getvalue()
