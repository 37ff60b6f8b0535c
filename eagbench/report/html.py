"""Writes report.html: one file that opens offline, made from a run folder and nothing else."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eagbench.report import (
    alignment_section,
    comparison_section,
    results_sections,
    setting_sections,
    tables,
    training_sections,
)
from eagbench.report.blocks import Section
from eagbench.report.figures import Look, swatch
from eagbench.report.run_folder import Group, RunFolder


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
    environment = Environment(
        loader=PackageLoader("eagbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        run=run,
        opening=setting_sections.opening(run),
        tiles=setting_sections.tiles(run),
        stamp=tables.stamp(run),
        sections=_sections(run),
        number=_numbering(),
        # The only markup that is not escaped here comes from eagbench.report.svg, which escapes each text it is given.
        picture=Markup,
        swatch=_swatch,
    )
    out = run_folder / "report.html"
    out.write_text(page, encoding="utf-8")
    return out


def _sections(run: RunFolder) -> list[Section]:
    sections: list[Section] = []
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
        results_sections.calibration(run, group),
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


def _numbering() -> object:
    """A function that counts figures and tables on their own: "Table 1", "Figure 1", "Table 2".

    Tables that are folded away are a supplement and count as "Table S1".
    """
    counted: Counter[str] = Counter()

    def number(kind: str) -> str:
        counted[kind] += 1
        return f"{kind}{'' if kind.endswith(' S') else ' '}{counted[kind]}"

    return number


def _swatch(look: Look | None) -> Markup:
    return Markup(swatch(look))
