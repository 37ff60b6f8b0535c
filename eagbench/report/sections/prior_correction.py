"""Report answers corrected for the prior of training, or recalibrated on tuning cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eagbench.analysis.cells import CLEAN
from eagbench.metrics.calibration import CalibrationSlope
from eagbench.metrics.number_names import PRIOR_CORRECTED, RECALIBRATED
from eagbench.report import tables
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import Group, ResultRow, RunFolder


def prior_table(run: RunFolder, group: Group) -> Table | None:
    """Tabulate the metrics that depend on calibration, as answered and corrected, on unchanged records.

    Returns:
        A row per method whose answers could be corrected; None if there are none, or the run has no such metric.
    """
    corrected_group = replace(group, calibration=PRIOR_CORRECTED)
    metrics = tables.scale_metrics(run)
    if not metrics or corrected_group not in run.all_groups:
        return None
    answered, corrected = run.headline(group), run.headline(corrected_group)
    lines: list[Line] = []
    used: list[ResultRow] = []
    for method in run.methods:
        cells = [(method, CLEAN, None, metric) for metric in metrics]
        if all(cell in corrected for cell in cells):
            pairs = [(answered.get(cell), corrected[cell]) for cell in cells]
            used.extend(row for _, row in pairs)
            lines.append(Line(method, tuple(tables.entry(run, row) for pair in pairs for row in pair)))
    if not lines:
        return None
    headings = [
        f"{tables.heading(run, metric)}{what}" for metric in metrics for what in (", as answered", ", corrected")
    ]
    caption = (
        "Calibration on unchanged records, as answered and corrected for the prior of training: a policy that was "
        "taught answers on balanced or selected cases answers as if the outcome were as common as it was there. "
        "Corrected by Bayes' rule from two shares of positive cases, that of what was learnt from and that of all "
        "training cases; nothing is fitted. Methods that were taught no such answers are left out. "
        f"{tables.seeds_words(run)}, with the {tables.interval_words(run)}. {tables.counts_words(used)}"
    )
    return Table(caption, ("Method", *headings), tuple(lines))


def recalibration_table(run: RunFolder, group: Group) -> Table | None:
    """Tabulate what depends on calibration, as answered and after recalibration on tuning cases, on unchanged records.

    Returns:
        A row per method, with the reason if nothing could be fitted; None if the benchmark does not recalibrate.
    """
    fitted = run.manifest.get("recalibration") or []
    slope = [CalibrationSlope.name] if CalibrationSlope.name in run.metrics else []
    metrics = [*tables.scale_metrics(run), *slope]
    recalibrated_group = replace(group, calibration=RECALIBRATED)
    if not fitted or not metrics or recalibrated_group not in run.all_groups:  # absent if every method failed
        return None
    answered, recalibrated = run.headline(group), run.headline(recalibrated_group)
    lines = []
    for method in run.methods:
        pairs = [
            (answered.get((method, CLEAN, None, metric)), recalibrated.get((method, CLEAN, None, metric)))
            for metric in metrics
        ]
        entries = tuple(tables.entry(run, row) for pair in pairs for row in pair)
        lines.append(Line(method, (*entries, Entry(_reason(fitted, method, group)))))
    headings = [
        f"{tables.heading(run, metric)}{what}" for metric in metrics for what in (", as answered", ", recalibrated")
    ]
    caption = (
        "Calibration on unchanged records, as answered and after logistic recalibration fitted on each method's "
        "answers to tuning cases; no held-out case has a part in the fit. "
        f"{tables.seeds_words(run)}, with the {tables.interval_words(run)}."
    )
    return Table(caption, ("Method", *headings, "Not fitted"), tuple(lines))


def _reason(fitted: Sequence[Mapping[str, Any]], method: str, group: Group) -> str:
    mine = [curve for curve in fitted if (curve["method"], curve["domain_train"]) == (method, group.domain_train)]
    reasons = list(dict.fromkeys(curve["reason"] for curve in mine if curve["reason"] is not None))
    return reasons[0] if reasons else ""
