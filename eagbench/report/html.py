"""Writes report.html: one file that opens offline, made from a run folder and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from eagbench.report import tables
from eagbench.report.page.blocks import Section
from eagbench.report.page.page import Page, render
from eagbench.report.sections import alignment as alignment_section
from eagbench.report.sections import calibration as calibration_section
from eagbench.report.sections import comparisons as comparison_section
from eagbench.report.sections import results as results_sections
from eagbench.report.sections import robustness as robustness_section
from eagbench.report.sections import setting as setting_sections
from eagbench.report.sections import subgroups as subgroup_section
from eagbench.report.sections import training as training_sections
from eagbench.report.sections import transfer as transfer_section
from eagbench.runs.reader import Group, RunFolder


def write_report(run_folder: Path) -> Path:
    """Writes the report of a run beside its results.

    Args:
        run_folder: The folder of a finished run.

    Returns:
        `run_folder/report.html`.

    Raises:
        UserError: The folder is not that of a run.
    """
    run = RunFolder(run_folder)
    page = Page(
        name=run.manifest["name"],
        version=run.manifest["eagbench_version"],
        created=run.manifest["created"],
        synthetic=run.synthetic,
        stamp=tables.stamp(run),
        opening=setting_sections.opening(run),
        tiles=setting_sections.tiles(run),
        sections=_sections(run),
    )
    out = run_folder / "report.html"
    out.write_text(render(page, "report.html.j2", {"run": run}), encoding="utf-8")
    return out


def _sections(run: RunFolder) -> list[Section]:
    sections: list[Section] = []
    crossed = transfer_section.transfer(run)
    if crossed is not None:
        of_groups = [(group, _of_group(run, group, i)) for i, group in enumerate(run.groups)]
        sections += [crossed, transfer_section.by_pair(of_groups)]
    else:
        for i, group in enumerate(run.groups):
            sections.extend(_of_group(run, group, i))
    about_training = (training_sections.training(run), training_sections.clipping(run), training_sections.searches(run))
    sections.extend(section for section in about_training if section is not None)
    sections.append(setting_sections.data(run))
    cost = setting_sections.cost(run)
    return [*sections, *([cost] if cost else []), setting_sections.provenance(run)]


def _of_group(run: RunFolder, group: Group, position: int) -> list[Section]:
    built = (
        results_sections.performance(run, group),
        comparison_section.comparisons(run, group),
        results_sections.robustness(run, group),
        robustness_section.losses(run, group),
        subgroup_section.subgroups(run, group),
        calibration_section.calibration(run, group),
        alignment_section.alignment(run, group),
        results_sections.citations(run, group),
        results_sections.unparsed(run, group),
        results_sections.missing(run, group),
    )
    present = [section for section in built if section is not None]
    title = tables.group_title(run, group)
    if not title:
        return present
    return [replace(s, anchor=f"{s.anchor}-{position + 1}", title=f"{s.title}: {title}") for s in present]
