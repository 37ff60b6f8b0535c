"""A run's tables as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from pathlib import Path

from eagbench.analysis.cells import CLEAN
from eagbench.report import wording
from eagbench.report.sections.alignment import alignment_table
from eagbench.report.sections.calibration import calibration_table, reliability_table
from eagbench.report.sections.comparisons import primary_tables
from eagbench.report.sections.prior_correction import prior_table, recalibration_table
from eagbench.report.sections.results import citation_table
from eagbench.report.sections.robustness import loss_tables, stress_tables
from eagbench.report.sections.subgroups import subgroup_tables
from eagbench.report.sections.transfer import is_crossed, matrix_table, transfer_tables
from eagbench.report.tables import (
    Format,
    Table,
    curve_metrics,
    group_title,
    latex,
    main_table,
    markdown,
    robustness_table,
    seed_table,
    stamp,
    unparsed_table,
)
from eagbench.runs.reader import Cell, Group, ResultRow, RunFolder


def render(run_folder: Path, format: Format) -> str:
    """The tables of a run.

    Args:
        run_folder: The folder of a finished run.
        format: `md` or `latex` (the page's tables, and the numbers of its figures: unchanged records and each training
            seed, primary paired differences, corrected and recalibrated answers, reliability, alignment and citations,
            each perturbation and metric, losses with their tests, order of the methods, citations and attention under
            stress, unparsed answers, subgroups), or `csv` (the results as one table in long form, unrounded; the run
            folder holds the other numbers as CSV, but for reliability's bins and the shares of citations, which are
            computed from its predictions and stand in `md` and `latex` alone).

    Raises:
        UserError: The folder is not that of a run.
    """
    run = RunFolder(run_folder)
    if format == "csv":
        return _csv(run)
    write = markdown if format == "md" else latex
    blocks: list[str] = [write(table, stamp(run)) for table in transfer_tables(run)]
    for group in run.groups:
        tables: list[Table | None] = [main_table(run, group), *primary_tables(run, group)]
        tables += [seed_table(run, group, metric) for metric in run.metrics[:2]]
        tables += [calibration_table(run, group), prior_table(run, group), recalibration_table(run, group)]
        tables.append(reliability_table(run, group))
        tables += [alignment_table(run, group), citation_table(run, group)]
        for perturbation in run.perturbations:
            tables.extend(robustness_table(run, group, perturbation, m) for m in curve_metrics(run))
        everywhere = [(CLEAN, None), *((p, s) for p, severities in run.perturbations.items() for s in severities)]
        tables += [*loss_tables(run, group), *stress_tables(run, group)]
        tables += [unparsed_table(run, group, everywhere), *subgroup_tables(run, group)]
        opening = " ".join(part for part in (stamp(run), _sentence(group_title(run, group))) if part)
        blocks.extend(write(table, opening) for table in tables if table is not None)
    return "\n".join(blocks)


def headline(run_folder: Path) -> str:
    """The tables for unchanged records alone, as Markdown: what `eagbench run` prints at its end."""
    run = RunFolder(run_folder)
    blocks = []
    if is_crossed(run):
        matrix = matrix_table(run, curve_metrics(run)[0])
        return markdown(matrix, stamp(run)) if matrix is not None else ""
    for group in run.groups:
        opening = " ".join(part for part in (stamp(run), _sentence(group_title(run, group))) if part)
        blocks.append(markdown(main_table(run, group), opening))
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
