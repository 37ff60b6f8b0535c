"""Write report.html: one file that opens offline, made from a run folder and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eagbench.execution.whole_files import write_text
from eagbench.report import tables
from eagbench.report.page.blocks import Section
from eagbench.report.page.page import Page, render
from eagbench.report.section_list import report_sections
from eagbench.report.sections import setting
from eagbench.report.sections.transfer import by_pair
from eagbench.runs.folder import CASES, REPORT
from eagbench.runs.reader import RunFolder


def write_report(run: RunFolder) -> Path:
    """Write the report of a run beside its results.

    Returns:
        Its path: `report.html` in the run folder.
    """
    out = run.path / REPORT
    write_text(out, report_text(run))
    return out


def report_text(run: RunFolder) -> str:
    """Make the report of a run: the same bytes from the same folder."""
    page = Page(
        name=run.manifest["name"],
        version=run.manifest["eagbench_version"],
        created=run.manifest["created"],
        synthetic=run.synthetic,
        stamp=tables.stamp(run),
        opening=setting.opening(run),
        tiles=setting.tiles(run),
        sections=_sections(run),
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
