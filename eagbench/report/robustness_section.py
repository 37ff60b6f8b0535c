"""What the page says about robustness.csv: what perturbations cost each method, and whether their order stays."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eagbench import robustness as names
from eagbench.metrics.recalibrated import UNCORRECTED
from eagbench.report import tables, wording
from eagbench.report.blocks import Block, Folded, Prose, Section, TableBlock
from eagbench.report.comparison_section import p_value, signed
from eagbench.report.run_folder import Group, RobustnessRow, RunFolder
from eagbench.report.tables import Entry, Line, Table

_CITATIONS = (names.CITATION_OVERLAP, names.CITATION_OVERLAP_OVER_OTHERS, names.ALIGNMENT_AND_CHANGE)


def losses(run: RunFolder, group: Group) -> Section | None:
    """Mean degradation per perturbation, worst case, order of the methods, citations; None without perturbations."""
    rows = _of_group(run, group)
    if not rows:
        return None
    blocks: list[Block] = [TableBlock(table) for table in loss_tables(run, group)]
    differences = _differences(run, rows)
    if differences is not None:
        blocks.append(TableBlock(differences))
    folded = tuple(TableBlock(t) for t in (_order(run, rows), _citations(run, rows)) if t is not None)
    if folded:
        blocks.append(Folded("Order of the methods, and citations under stress", folded))
    if not blocks:
        return None
    opening = "Read beside the clean value: who starts low has little to lose. Definitions: docs/robustness.md."
    return Section("losses", "What perturbations cost", (Prose(opening), *blocks))


def loss_tables(run: RunFolder, group: Group) -> list[Table]:
    """For each followed metric the mean degradation of every method over each perturbation's severities."""
    rows = _of_group(run, group)
    return [table for metric in tables.curve_metrics(run) if (table := _areas(run, rows, metric)) is not None]


def _of_group(run: RunFolder, group: Group) -> list[RobustnessRow]:
    where = (group.task, group.domain_train, group.domain_eval)
    return [
        row
        for row in run.robustness
        if (row.task, row.domain_train, row.domain_eval) == where and row.calibration == UNCORRECTED
    ]


def _areas(run: RunFolder, rows: Sequence[RobustnessRow], metric: str) -> Table | None:
    mine = [r for r in rows if (r.metric, r.baseline) == (metric, "") and r.summary == names.AREA_DEGRADATION]
    worst = {r.method: r for r in rows if (r.metric, r.baseline, r.summary) == (metric, "", names.WORST_CASE)}
    perturbations = list(dict.fromkeys(row.condition for row in mine))
    if not perturbations:
        return None
    by_cell = {(row.method, row.condition): row for row in mine}
    methods = [method for method in run.methods if any((method, p) in by_cell for p in perturbations)]
    lines = []
    for method in methods:
        entries = [_entry(by_cell.get((method, perturbation)), sign=True) for perturbation in perturbations]
        if worst:
            entries.append(_entry(worst.get(method)))
        lines.append(Line(method, tuple(entries)))
    what = wording.metric_label(metric)
    caption = (
        f"Mean degradation in {what} over the severities of each perturbation, clean records at 0 among them: above 0 "
        f"is worse than clean. {tables.seeds_words(run)}, with the {tables.percentile_words(run)}, clean and perturbed "
        "drawn jointly."
    )
    if worst:
        caption += " Worst case: the Brier score if each case met the condition that is worst for it."
    return Table(caption, ("Method", *perturbations, *(["Worst case"] if worst else [])), tuple(lines))


def _differences(run: RunFolder, rows: Sequence[RobustnessRow]) -> Table | None:
    metrics = tables.curve_metrics(run)
    compared = {names.AREA_DEGRADATION, names.WORST_CASE_DEGRADATION}
    chosen = [row for row in rows if row.baseline and row.summary in compared and row.metric in metrics]
    if not chosen:
        return None
    lines = tuple(
        Line(
            row.baseline,
            (
                Entry(wording.metric_label(row.metric)),
                Entry("worst case" if row.summary == names.WORST_CASE_DEGRADATION else row.condition),
                _entry(row, sign=True),
                Entry(p_value(row.p_value)),
                Entry(p_value(row.p_corrected)),
            ),
        )
        for row in chosen
    )
    pair = (chosen[0].task, chosen[0].domain_train, chosen[0].domain_eval)
    every = sum(bool(r.baseline) and (r.task, r.domain_train, r.domain_eval) == pair for r in run.robustness)
    caption = (
        f"Degradation of {chosen[0].method} minus that of each other method: below 0, {chosen[0].method} loses less. "
        f"p corrected by Benjamini and Hochberg over all {wording.count(every)} differences in degradation "
        "(robustness.csv), single conditions and other metrics among them."
    )
    return Table(caption, ("Against", "Metric", "Over", "Difference", "p", "p corrected"), lines)


def _order(run: RunFolder, rows: Sequence[RobustnessRow]) -> Table | None:
    metrics = [m for m in tables.curve_metrics(run) if any(r.metric == m for r in rows)]
    found = {(r.condition, r.severity, r.metric): r for r in rows if r.summary == names.RANK_AGREEMENT}
    if not found:
        return None
    lines = []
    for key in dict.fromkeys(k[:2] for k in found):
        entries = [_entry(found.get((*key, metric)), sign=True) for metric in metrics]
        lines.append(Line(wording.condition_label(*key), tuple(entries)))
    caption = (
        "Order of the methods on clean and on perturbed records: Kendall's tau-b, 1 for the same order, -1 for the "
        f"opposite one. With the {tables.percentile_words(run)}; noise counts in both orders, so the intervals lie low."
    )
    return Table(caption, ("Condition", *(wording.metric_label(metric) for metric in metrics)), tuple(lines))


def _citations(run: RunFolder, rows: Sequence[RobustnessRow]) -> Table | None:
    found = {(r.method, r.condition, r.severity, r.summary): r for r in rows if r.summary in _CITATIONS}
    if not found:
        return None
    lines = tuple(
        Line(
            method,
            (
                Entry(wording.condition_label(condition, severity)),
                *(_entry(found.get((method, condition, severity, summary)), sign=True) for summary in _CITATIONS),
            ),
        )
        for method, condition, severity in dict.fromkeys(key[:3] for key in found)
    )
    caption = (
        "Citations under stress. Overlap: Jaccard of a case's cited features, clean and perturbed; its excess over "
        "other patients' citations. Alignment and change: Spearman's correlation over cases of the clean overlap with "
        "the expert's list and the absolute change of the answer; below 0, aligned answers change less. "
        f"{tables.seeds_words(run)}, with the {tables.percentile_words(run)}."
    )
    headings = ("Overlap with clean", "Excess over other patients", "Alignment and change")
    return Table(caption, ("Method", "Condition", *headings), lines)


def _entry(row: RobustnessRow | None, *, sign: bool = False) -> Entry:
    if row is None:
        return Entry(wording.EN_DASH, quiet=True)
    written = signed if sign else wording.number
    note = "" if math.isnan(row.ci_low) else f"{written(row.ci_low)} to {written(row.ci_high)}"
    return Entry(written(row.value), note)
