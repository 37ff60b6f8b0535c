"""Which method has the best value on unchanged records, by how much, and whether the test shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.comparisons import PRIMARY
from eagbench.metrics.unparsed import UnparsedRate
from eagbench.report import tables, wording
from eagbench.report.sections.comparisons import of_group, p_value
from eagbench.runs.reader import ComparisonRow, Group, ResultRow, RunFolder
from eagbench.stats.zero import ZERO


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much one method is ahead of another, above 0 for the better one, with its test.

    Attributes:
        value: The difference.
        low: The lower end of its interval; NaN where undefined.
        high: The upper end of its interval; NaN where undefined.
        p_corrected: Its p-value within the primary family.
        detectable: The smallest difference that so many cases would show with 80 % power.
    """

    value: float
    low: float
    high: float
    p_corrected: float
    detectable: float


def main_metric(run: RunFolder) -> str | None:
    """Name the metric of the answer: that of the comparisons, else the first that the report follows."""
    compared = (run.manifest.get("comparisons") or {}).get("metric")
    names = [name for name in (compared, *tables.curve_metrics(run)) if name in run.metrics]
    return next((name for name in names if run.declared(name).sign), None)


def ranked(run: RunFolder, group: Group, metric: str) -> list[ResultRow]:
    """List the methods' results on unchanged records, the best point estimate first; those without one are left out."""
    cells = run.headline(group)
    found = [cells.get((method, CLEAN, None, metric)) for method in run.methods]
    rows = [row for row in found if row is not None and row.status == "ok" and not math.isnan(row.value)]
    return sorted(rows, key=lambda row: -run.declared(metric).sign * row.value)


def tied(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Return the results that share the best value, of rows with the best first."""
    return [row for row in rows if abs(row.value - rows[0].value) <= ZERO]


def lead(run: RunFolder, group: Group, best: ResultRow, other: ResultRow) -> Lead | None:
    """Return the tested difference of two methods; None if the run compares no such pair."""
    pair = {best.method, other.method}
    row = next((r for r in _primary(run, group, best.metric) if {r.method, r.baseline} == pair), None)
    if row is None:
        return None
    towards = run.declared(best.metric).sign * (1 if row.method == best.method else -1)
    low, high = sorted((towards * row.ci_low, towards * row.ci_high))
    return Lead(towards * row.difference, low, high, row.p_corrected, row.smallest_detectable)


def _primary(run: RunFolder, group: Group, metric: str) -> list[ComparisonRow]:
    return [row for row in of_group(run, group) if row.family == PRIMARY and row.metric == metric]


def is_shown(run: RunFolder, found: Lead | None) -> bool:
    """Tell whether the corrected test shows a difference."""
    return found is not None and found.p_corrected <= 1 - run.level


def value_words(run: RunFolder, row: ResultRow) -> str:
    """Write a result with its interval: "0.834 (0.793 to 0.867)", the interval as in every table."""
    traits = run.declared(row.metric)
    interval, value = wording.interval(row, traits), wording.number(row.value, traits)
    return f"{value} ({interval})" if interval else value


def lead_words(run: RunFolder, metric: str, found: Lead) -> str:
    """Write a difference with its interval and corrected p: "0.021 (0.010 to 0.032; p corrected 0.012)"."""
    value, low, high = (wording.number(v, run.declared(metric)) for v in (found.value, found.low, found.high))
    p = p_value(found.p_corrected)
    tested = f"p corrected {p}" if not math.isnan(found.p_corrected) else "no test"
    interval = "interval undefined" if math.isnan(found.low) else f"{low} to {high}"
    return f"{value} ({interval}; {tested})"


def best_sentence(run: RunFolder, rows: Sequence[ResultRow]) -> str:
    """Say which method has the best point estimate and which comes next."""
    label, end = tables.label(run, rows[0].metric), _end(run, rows[0].metric)
    first = tied(rows)
    if len(rows) == 1:
        return f"{label} of {rows[0].method} on unchanged records is {value_words(run, rows[0])}."
    if len(first) > 1:
        names = wording.enumeration([row.method for row in first])
        return f"{names} share the {end} {label} on unchanged records, {value_words(run, rows[0])}."
    best, following = rows[0], tied(rows[1:])
    names = wording.enumeration([row.method for row in following])
    come = "comes" if len(following) == 1 else "come"
    return (
        f"{best.method} has the {end} {label} on unchanged records: {value_words(run, best)}. "
        f"{names} {come} next with {value_words(run, following[0])}."
    )


def _end(run: RunFolder, metric: str) -> str:
    return "highest" if run.declared(metric).sign > 0 else "lowest"


def difference_sentence(run: RunFolder, group: Group, rows: Sequence[ResultRow]) -> str:
    """Say whether the difference between the two best methods is shown; return nothing for one method or a tie."""
    if len(rows) < 2 or len(tied(rows)) > 1:
        return ""
    best, following = rows[0], rows[1]
    found = lead(run, group, best, following)
    if found is None:
        apart = wording.number(abs(best.value - following.value), run.declared(best.metric))
        return (
            f"Between {best.method} and {following.method} it is {apart}. This run does not test that difference, so "
            "it may be chance; overlapping or separate intervals are not a test."
        )
    words = lead_words(run, best.metric, found)
    if is_shown(run, found):
        return f"{best.method} is better than {following.method} by {words}: the difference is shown."
    text = f"No difference between {best.method} and {following.method} is shown: {words}."
    if found.value < found.detectable:
        least = wording.number(found.detectable, run.declared(best.metric))
        text += f" With so many cases only a difference of {least} or more would show with 80 % power."
    return text


def other_metrics(run: RunFolder, group: Group, metric: str) -> str:
    """Say which methods have the best point estimates by the main table's other metrics."""
    not_asked = {metric, UnparsedRate.name}
    others = [m for m in tables.metrics_of(run, "main") if m not in not_asked and run.declared(m).sign]
    firsts: dict[str, list[str]] = {}
    for other in others:
        rows = ranked(run, group, other)
        if len(rows) > 1 and len(tied(rows)) < len(rows):
            names = wording.enumeration([row.method for row in tied(rows)])
            firsts.setdefault(names, []).append(tables.label(run, other))
    if not firsts:
        return ""
    said = [f"{names} by {wording.enumeration(labels)}" for names, labels in firsts.items()]
    return f"The best point estimate is that of {'; of '.join(said)}."
