"""Write report.html, one file that opens offline, and its figures, from a run folder and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from eagbench.execution.whole_files import remove_leftovers, write_text
from eagbench.report import tables
from eagbench.report.answer.lines import TITLE, answer
from eagbench.report.figure_files import figure_files
from eagbench.report.page.blocks import Section
from eagbench.report.page.page import Page, render
from eagbench.report.section_list import report_sections
from eagbench.report.sections import setting
from eagbench.report.sections.transfer import by_pair
from eagbench.runs.folder import CASES, FIGURES, REPORT
from eagbench.runs.reader import RunFolder


def write_report(run: RunFolder) -> Path:
    """Write the report of a run and the files of its figures beside its results.

    Returns:
        The path of the page: `report.html` in the run folder.
    """
    made = report_files(run)
    figures = run.path / FIGURES
    figures.mkdir(exist_ok=True)
    remove_leftovers(figures)
    for name, text in made.items():
        if name != REPORT:
            write_text(run.path / name, text)
    write_text(run.path / REPORT, made[REPORT])  # the last, so that all it names is there
    return run.path / REPORT


def report_files(run: RunFolder) -> dict[str, str]:
    """Make the report of a run and the files of its figures, by path: the same bytes from the same folder."""
    sections = _sections(run)
    return {REPORT: _page(run, sections), **figure_files(sections, tables.stamp(run))}


def _page(run: RunFolder, sections: Sequence[Section]) -> str:
    page = Page(
        name=run.manifest["name"],
        version=run.manifest["eagbench_version"],
        created=run.manifest["created"],
        synthetic=run.synthetic,
        stamp=tables.stamp(run),
        opening=setting.opening(run),
        tiles=setting.tiles(run),
        sections=sections,
        answer=answer(run),
        answer_title=TITLE,
        description=str(run.manifest.get("benchmark", {}).get("description") or "").strip(),
    )
    return render(page, "report.html.j2", {"run": run, "cases": CASES if (run.path / CASES).is_file() else None})


def _sections(run: RunFolder) -> list[Section]:
    """List all sections; those of pairs are folded away if an overview comes first, else named by their pair."""
    found = report_sections(run)
    if found.overview:
        of_pairs = [by_pair([(pair.group, pair.sections) for pair in found.of_pairs])]
    else:
        of_pairs = [
            replace(section, anchor=f"{section.anchor}-{i}", title=f"{section.title}: {pair.title}")
            if pair.title
            else section
            for i, pair in enumerate(found.of_pairs, start=1)
            for section in pair.sections
        ]
    return [*found.overview, *of_pairs, *found.about_the_run]
