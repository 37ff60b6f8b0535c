"""Report robustness.csv: what perturbations cost each method, and whether the methods keep their order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eagbench.analysis import summaries as names
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.report import tables, wording
from eagbench.report.page.blocks import Block, Folded, Prose, Section, TableBlock
from eagbench.report.sections.comparisons import distinct_tests, p_entry, signed
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import Group, RobustnessRow, RunFolder

_STRESS = {
    names.CITATION_OVERLAP: "Overlap with clean",
    names.CITATION_OVERLAP_OVER_OTHERS: "Excess over other patients",
    names.ATTENTION_LIKENESS: "Attention like clean",
    names.ATTENTION_LIKENESS_OVER_OTHERS: "Excess over other patients' attention",
    names.ALIGNMENT_AND_CHANGE: "Alignment and change",
}


def losses(run: RunFolder, group: Group) -> Section | None:
    """Show mean degradation per perturbation, worst case, method order and citations; None without perturbations."""
    rows = _of_group(run, group)
    if not rows:
        return None
    blocks: list[Block] = [TableBlock(table) for table in loss_tables(run, group)]
    folded = tuple(TableBlock(table) for table in stress_tables(run, group))
    if folded:
        blocks.append(Folded("Order of the methods, citations and attention under stress", folded))
    if not blocks:
        return None
    opening = "Read beside the clean value: who starts low has little to lose. Definitions: docs/robustness.md."
    return Section("losses", "What perturbations cost", (Prose(opening), *blocks))


def loss_tables(run: RunFolder, group: Group) -> list[Table]:
    """Tabulate mean degradation per perturbation and followed metric, the tested method's losses, and differences."""
    rows = _of_group(run, group)
    found = [_areas(run, rows, metric) for metric in tables.curve_metrics(run)]
    return [table for table in (*found, _own_losses(run, rows), _differences(run, rows)) if table is not None]


def stress_tables(run: RunFolder, group: Group) -> list[Table]:
    """Tabulate whether methods keep their order, and citations and attention their place."""
    rows = _of_group(run, group)
    return [table for table in (_order(run, rows), _stress(run, rows)) if table is not None]


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
    # A line per perturbation: there are often twenty, more than fit beside each other.
    lines = [Line(p, tuple(_degradation(run, by_cell.get((method, p))) for method in methods)) for p in perturbations]
    if worst:
        lines.append(Line("Worst case", tuple(_entry(worst.get(method)) for method in methods)))
    what = tables.label(run, metric)
    caption = (
        f"Mean degradation in {what} over the severities of each perturbation, clean records at 0 among them: above 0 "
        f"is worse than clean. {tables.seeds_words(run)}, with the {tables.percentile_words(run)}, clean and perturbed "
        "drawn jointly."
    )
    if worst:
        caption += " Worst case: the Brier score if each case met the condition that is worst for it."
    return Table(caption, ("Perturbation", *methods), tuple(lines))


def _own_losses(run: RunFolder, rows: Sequence[RobustnessRow]) -> Table | None:
    """Tabulate what each condition costs the tested method, in every followed metric, with its test."""
    metrics = tables.curve_metrics(run)
    percent = {(r.metric, r.condition, r.severity, r.method): r.value for r in rows if r.summary == names.PERCENT}
    chosen = [
        row
        for row in rows
        if row.summary == names.DEGRADATION and not row.baseline and row.metric in metrics and row.test
    ]
    if not chosen:
        return None
    lines = tuple(
        Line(
            wording.condition_label(row.condition, row.severity),
            (
                Entry(tables.label(run, row.metric)),
                _degradation(run, row),
                _relative(percent.get((row.metric, row.condition, row.severity, row.method))),
                p_entry(row.p_value),
                p_entry(row.p_corrected),
            ),
        )
        for row in chosen
    )
    caption = (
        f"What each condition costs {chosen[0].method}: degradation, above 0 is worse than clean, and in % of the "
        f"clean value. {tables.seeds_words(run)}, with the {tables.percentile_words(run)}. {_family_words(run)} A "
        "condition that changes no answer of it is left out."
    )
    return Table(caption, ("Condition", "Metric", "Degradation", "Relative", "p", "p corrected"), lines)


def _relative(percent: float | None) -> Entry:
    """Write a change in % of the clean value; a dash where that is 0."""
    return Entry(wording.EN_DASH if percent is None else f"{signed(percent, 1)} %")


def _family_words(run: RunFolder) -> str:
    return (
        f"p corrected by Benjamini and Hochberg over all {wording.count(distinct_tests(run.robustness))} tests of "
        "degradation in the run (robustness.csv), differences between methods, single conditions and other metrics "
        "among them."
    )


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
                Entry(tables.label(run, row.metric)),
                Entry("worst case" if row.summary == names.WORST_CASE_DEGRADATION else row.condition),
                _degradation(run, row),
                p_entry(row.p_value),
                p_entry(row.p_corrected),
            ),
        )
        for row in chosen
    )
    caption = (
        f"Degradation of {chosen[0].method} minus that of each other method: below 0, {chosen[0].method} loses less. "
        f"{_family_words(run)}"
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
    return Table(caption, ("Condition", *(tables.label(run, metric) for metric in metrics)), tuple(lines))


def _stress(run: RunFolder, rows: Sequence[RobustnessRow]) -> Table | None:
    found = {(r.method, r.condition, r.severity, r.summary): r for r in rows if r.summary in _STRESS}
    if not found:
        return None
    shown = [summary for summary in _STRESS if any(key[3] == summary for key in found)]
    teacher = {(r.condition, r.severity): r for r in rows if r.summary == names.TEACHER_OVERLAP}
    lines = tuple(
        Line(
            method,
            (
                Entry(wording.condition_label(condition, severity)),
                *(_entry(found.get((method, condition, severity, summary)), sign=True) for summary in shown),
                _entry(teacher.get((condition, severity))),
            ),
        )
        for method, condition, severity in dict.fromkeys(key[:3] for key in found)
    )
    caption = (
        "Citations and attention under stress. Overlap: Jaccard of a case's cited features, clean and perturbed; its "
        "excess over other patients' citations. Attention: 1 minus the Jensen-Shannon distance of the policy's "
        "attention to features, clean and perturbed; its excess over other patients' attention. Alignment and change: "
        "Spearman's correlation over cases of the clean overlap with the expert's list and the absolute change of the "
        "answer; below 0, aligned answers change less. Expert's list: its own overlap with the clean one, how far the "
        f"yardstick moved. {tables.seeds_words(run)}, with the {tables.percentile_words(run)}."
    )
    headings = (*(_STRESS[summary] for summary in shown), "Expert's list")
    return Table(caption, ("Method", "Condition", *headings), lines)


def _degradation(run: RunFolder, row: RobustnessRow | None) -> Entry:
    """Write a loss with its sign, with as many decimals as its metric has."""
    if row is None:
        return Entry(wording.EN_DASH, quiet=True)
    if math.isnan(row.value):
        return Entry("unanswered", quiet=True)
    value, low, high = (signed(v, run.declared(row.metric).decimals) for v in (row.value, row.ci_low, row.ci_high))
    return Entry(value, "" if math.isnan(row.ci_low) else f"{low} to {high}", value=row.value)


def _entry(row: RobustnessRow | None, *, sign: bool = False) -> Entry:
    if row is None:
        return Entry(wording.EN_DASH, quiet=True)
    written = signed if sign else wording.number
    note = "" if math.isnan(row.ci_low) else f"{written(row.ci_low)} to {written(row.ci_high)}"
    return Entry(written(row.value), note, value=row.value)
