"""Report calibration: reliability diagrams, and answers that were corrected or recalibrated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eagbench.analysis.cells import CLEAN
from eagbench.contracts.records import FloatArray
from eagbench.metrics.calibration import bin_of
from eagbench.metrics.number_names import PRIOR_CORRECTED, RECALIBRATED
from eagbench.report import tables, wording
from eagbench.report.figure_data import of_estimates
from eagbench.report.figures import estimates as figures
from eagbench.report.figures.estimates import Estimate
from eagbench.report.figures.reliability import ReliabilityCurve, ReliabilityPanel, reliability
from eagbench.report.page.blocks import Block, FigureBlock, FigureFile, Folded, Section, TableBlock
from eagbench.report.sections.prior_correction import prior_table, recalibration_table
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.pooled_answers import Answers
from eagbench.runs.reader import Group, RunFolder
from eagbench.stats.bootstrap import bootstrap, percentile_interval
from eagbench.stats.weighted import ratio

RELIABILITY_BINS = 10
FEW_PATIENTS = 10


def calibration(run: RunFolder, group: Group) -> Section | None:
    """Draw a reliability diagram per method, including recalibrated answers if the benchmark wants them."""
    found = _readable(run, group)
    panels = [reliability_panel(run, method, answers) for method, answers in found.items()]
    left_out = sum(int((~answers.parsed).sum()) for answers in found.values())
    if not panels:
        return None
    caption = (
        f"Reliability on unchanged records: event rate over mean predicted probability in {RELIABILITY_BINS} bins of "
        "equal width, answers of all seeds pooled; on the diagonal, probabilities mean what they say. Bars on the "
        f"points: {tables.percentile_words(run)}, all answers about a patient drawn together. Below: how many answers "
        "fall into each bin (each panel scaled to its fullest bin). Hollow, without an interval: fewer than "
        f"{FEW_PATIENTS} patients in the bin."
    )
    if any(panel.recalibrated for panel in panels):
        caption += (
            " Dark and dashed: the same answers after logistic recalibration fitted on each method's answers to tuning "
            "cases, in the same bins."
        )
    if left_out:
        caption += f" {wording.several(left_out, 'unparsed answer')} left out."
    blocks: list[Block] = [FigureBlock(reliability(panels, figures.looks(run.methods)), caption, file=_file(panels))]
    blocks.append(Folded("The numbers of this figure", (TableBlock(_reliability_table(run, panels)),)))
    measured = calibration_table(run, group)
    if measured is not None:
        blocks.append(TableBlock(measured))
    blocks.extend(TableBlock(table) for table in (prior_table(run, group), recalibration_table(run, group)) if table)
    return Section("calibration", "Calibration", tuple(blocks))


def calibration_table(run: RunFolder, group: Group) -> Table | None:
    """Tabulate the calibration metrics beside the main-table metrics that depend on calibration, on unchanged records.

    Returns:
        A row per method or reference and kind of answer (as answered, corrected, recalibrated); None if the benchmark
        has no metric of this table.
    """
    own = tables.metrics_of(run, "calibration")
    if not own:
        return None
    metrics = [*tables.scale_metrics(run), *own]
    kinds = {"as answered": group}
    for what, kind in (("corrected for the prior", PRIOR_CORRECTED), ("recalibrated", RECALIBRATED)):
        other = replace(group, calibration=kind)
        if other in run.all_groups:
            kinds[what] = other
    cells = {what: run.headline(of_kind) for what, of_kind in kinds.items()}
    lines = []
    for method in (*run.methods, *run.references):
        for what, found in cells.items():
            rows = [found.get((method, CLEAN, None, metric)) for metric in metrics]
            if any(row is not None and row.status == "ok" for row in rows):
                entries = (Entry(what), *(tables.entry(run, row) for row in rows))
                lines.append(Line(method, entries, reference=method in run.references))
    caption = (
        f"Calibration on unchanged records. {tables.seeds_words(run)}, with the {tables.percentile_words(run)}."
        f"{tables.definitions(run, own)}"
    )
    return Table(caption, ("Method", "Answers", *(tables.heading(run, m) for m in metrics)), tuple(lines))


def _readable(run: RunFolder, group: Group) -> dict[str, Answers]:
    """Return the answers of all methods and references with at least one readable answer."""
    found = {name: run.answers(group, name) for name in (*run.methods, *run.references)}
    return {name: answers for name, answers in found.items() if answers is not None and answers.parsed.any()}


def _file(panels: Sequence[ReliabilityPanel]) -> FigureFile:
    keys = ("method", "answers", "bin_low", "bin_high", "n", "mean_probability")
    found = [
        ((panel.method, name, b / RELIABILITY_BINS, (b + 1) / RELIABILITY_BINS, curve.counts[b], mean), rate)
        for panel in panels
        for name, curve in (("as answered", panel.answered), ("recalibrated", panel.recalibrated))
        if curve is not None
        for b, (mean, rate) in zip([b for b, n in enumerate(curve.counts) if n], curve.points, strict=True)
    ]
    return of_estimates("calibration", keys, "event_rate", found)


def _reliability_table(run: RunFolder, panels: Sequence[ReliabilityPanel]) -> Table:
    lines = []
    for panel in panels:
        for name, curve in ((panel.method, panel.answered), (f"{panel.method}, recalibrated", panel.recalibrated)):
            if curve is None:
                continue
            filled = [b for b, n in enumerate(curve.counts) if n]
            for b, (mean, rate) in zip(filled, curve.points, strict=True):
                ends = f"{b / RELIABILITY_BINS:g} to {(b + 1) / RELIABILITY_BINS:g}"
                note = "" if math.isnan(rate.low) else f"{wording.number(rate.low)} to {wording.number(rate.high)}"
                entries = (ends, wording.count(curve.counts[b]), wording.number(mean))
                lines.append(Line(name, (*(Entry(text) for text in entries), Entry(wording.number(rate.value), note))))
    caption = (
        f"Reliability on unchanged records: mean answer and event rate in {RELIABILITY_BINS} bins of equal width, "
        f"answers of all seeds pooled, with the {tables.percentile_words(run)}; without an interval, fewer than "
        f"{FEW_PATIENTS} patients. Empty bins are left out."
    )
    return Table(caption, ("Method", "Bin", "Answers", "Mean answer", "Event rate"), tuple(lines))


def reliability_panel(run: RunFolder, method: str, answers: Answers) -> ReliabilityPanel:
    """Draw a method's readable answers, as given and as recalibrated."""
    kept = np.flatnonzero(answers.parsed)
    patients, label = [answers.patient_id[i] for i in kept], answers.label[kept]
    probabilities = (answers.probability, *(() if answers.recalibrated is None else (answers.recalibrated,)))
    curves = [_curve(run, probability[kept], label.astype(np.float64), patients) for probability in probabilities]
    note = f"{wording.several(len(kept), 'answer')}, {wording.several(int(label.sum()), 'event')}"
    return ReliabilityPanel(method, note, *curves)


def _curve(run: RunFolder, probability: FloatArray, label: FloatArray, patients: list[str]) -> ReliabilityCurve:
    """Compute event rates by bin. Probabilities and labels are (N,), N answers."""
    bins = bin_of(probability, RELIABILITY_BINS)
    counts = np.bincount(bins, minlength=RELIABILITY_BINS)
    member = (bins[:, None] == np.arange(RELIABILITY_BINS)).astype(np.float64)  # (N, M)
    events = member * label[:, None]
    intervals = run.manifest["intervals"]

    def rates(weights: FloatArray) -> FloatArray:
        in_bin = (weights @ member).T  # (M, b)
        return ratio((weights @ events).T, in_bin)

    resampled = bootstrap(rates, patients, int(intervals["resamples"]), int(intervals["seed"]))  # (M, B)
    points = []
    for b in np.flatnonzero(counts):
        inside = bins == b
        low, high = percentile_interval(resampled[b], run.level)
        if len({patient for patient, is_in in zip(patients, inside, strict=True) if is_in}) < FEW_PATIENTS:
            low = high = math.nan  # a bootstrap of so few patients says too little, or nothing if all had the event
        points.append((float(probability[inside].mean()), Estimate(float(label[inside].mean()), low, high)))
    return ReliabilityCurve(points, [int(c) for c in counts])
