"""Report paired differences: the method under test against every other one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eagbench.analysis.comparisons import GRID, PRIMARY
from eagbench.analysis.multiple_testing import HOLM
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.report import tables, wording
from eagbench.report.figure_data import of_estimates
from eagbench.report.figures import estimates as figures
from eagbench.report.figures.estimates import Estimate
from eagbench.report.page.blocks import Block, FigureBlock, Folded, Prose, Section, TableBlock
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import ComparisonRow, Group, RobustnessRow, RunFolder
from eagbench.stats.zero import ZERO

UNTESTED = "Shown and not tested: this metric has no better end, or is biased by how answers scatter."


def comparisons(run: RunFolder, group: Group) -> Section | None:
    """Show primary differences in a table and in words, and fold all others; return None if no method is under test."""
    rows = of_group(run, group)
    if not rows:
        return None
    spec = run.manifest["comparisons"]
    metric = tables.label(run, spec["metric"])
    primary = [row for row in rows if row.family == PRIMARY]
    rest = [row for row in rows if row.family != PRIMARY]
    opening = (
        f"{spec['method']} is compared with each other method. Primary: the differences in {metric}, on unchanged "
        "records and on the probabilities as answered. Everything else is secondary and stands in the "
        "folded tables."
    )
    blocks: list[Block] = [Prose(opening)]
    if primary:
        blocks += [Prose(verdict(run, primary, metric)), _figure(run, primary), TableBlock(primary_table(run, primary))]
    else:
        blocks.append(Prose("No primary difference could be formed: see the section on missing cells."))
    if rest:
        names = dict.fromkeys((row.metric, row.calibration) for row in rest)
        folded = tuple(TableBlock(_grid_table(run, rest, metric, calibration)) for metric, calibration in names)
        blocks.append(Folded("Differences in other metrics and under other conditions", folded))
    return Section("comparisons", "Paired differences", tuple(blocks))


def of_group(run: RunFolder, group: Group) -> list[ComparisonRow]:
    """Return the paired differences of one task and pair of domains."""
    where = (group.task, group.domain_train, group.domain_eval)
    return [row for row in run.comparisons if (row.task, row.domain_train, row.domain_eval) == where]


def distinct_tests(rows: Sequence[ComparisonRow] | Sequence[RobustnessRow]) -> int:
    """Count the distinct tests among rows: rows of the same test count once."""
    return len({(row.method, row.baseline, row.test) for row in rows if not math.isnan(row.p_value)})


def _figure(run: RunFolder, rows: Sequence[ComparisonRow]) -> FigureBlock:
    """Draw the primary differences with their intervals, around the line of no difference."""
    metric = tables.heading(run, rows[0].metric)
    drawn = [row for row in rows if not math.isnan(row.difference)]
    estimates = {row.baseline: Estimate(row.difference, row.ci_low, row.ci_high) for row in drawn}
    panel = figures.ForestPanel(f"{rows[0].method} minus ..., {metric}", estimates, (0.0, "no difference"))
    caption = (
        f"{rows[0].method} minus each other method: paired difference in {tables.label(run, rows[0].metric)} on "
        f"unchanged records. {_setting(run, rows)} An interval that leaves out 0 is one test at "
        f"{100 * (1 - run.level):g} %; what holds among all of them stands in the table."
    )
    svg = figures.forest([row.baseline for row in rows], figures.looks(run.methods), [panel])
    keys = ("method", "baseline", "metric")
    file = of_estimates(
        "differences", keys, "difference", [((r.method, r.baseline, r.metric), estimates[r.baseline]) for r in drawn]
    )
    return FigureBlock(svg, caption, file=file)


def verdict(run: RunFolder, rows: Sequence[ComparisonRow], metric: str) -> str:
    """Say which differences the corrected tests show, and which remain open because there are too few data."""
    alpha = 1 - run.level
    shown = [row for row in rows if row.p_corrected <= alpha]
    above = [row.baseline for row in shown if row.difference > 0]
    below = [row.baseline for row in shown if row.difference < 0]
    open_ = [row for row in rows if row not in shown]
    said = []
    if above:
        said.append(f"{metric} of {rows[0].method} is higher than that of {wording.enumeration(above)}")
    if below:
        said.append(f"{metric} of {rows[0].method} is lower than that of {wording.enumeration(below)}")
    if open_:
        names = wording.enumeration([row.baseline for row in open_])
        said.append(f"no difference is shown from {names}, which is not to say that there is none")
    silent = [row.baseline for row in open_ if math.isnan(row.difference)]
    few = [row.baseline for row in open_ if abs(row.difference) < row.smallest_detectable]
    text = f"At {100 * alpha:g} % after correction: {'; '.join(said)}."
    if silent:
        text += (
            f" {rows[0].method} or the other method gave no answer that could be read against "
            f"{wording.enumeration(silent)}: no difference can be formed, and the test counts with p = 1."
        )
    if few:
        text += (
            " Smaller than the smallest difference that so many cases would show with 80 % power: that from "
            f"{wording.enumeration(few)}."
        )
    return text


def primary_table(run: RunFolder, rows: Sequence[ComparisonRow]) -> Table:
    """Tabulate the primary family, one line per other method."""
    metric = rows[0].metric
    lines = tuple(
        Line(
            row.baseline,
            (
                _difference(run, row),
                Entry(wording.EN_DASH, quiet=True)
                if math.isnan(row.relative_percent)
                else Entry(f"{signed(row.relative_percent, 1)} %"),
                _detectable(run, row),
                p_entry(row.p_value),
                p_entry(row.p_corrected),
            ),
        )
        for row in rows
    )
    every = [row for row in run.comparisons if row.family == PRIMARY]
    over = " over all pairs of domains" if distinct_tests(every) > distinct_tests(rows) else ""
    caption = (
        f"{rows[0].method} minus each other method: paired difference in {tables.label(run, metric)} on unchanged "
        f"records. {_setting(run, rows)} Primary family: {wording.several(distinct_tests(every), 'test')}{over}, p "
        "corrected by Holm. Relative: the difference in % of the other method's value. Smallest detectable: 2.8 "
        "standard errors, what a test at 5 % finds with 80 % power."
    )
    headings = (
        f"Difference in {tables.heading(run, metric)}",
        "Relative",
        "Smallest detectable",
        "p",
        "p corrected",
    )
    return Table(caption, ("Against", *headings), lines)


def _grid_table(run: RunFolder, rows: Sequence[ComparisonRow], metric: str, calibration: str) -> Table:
    chosen = [row for row in rows if (row.metric, row.calibration) == (metric, calibration)]
    lines = tuple(
        Line(
            row.baseline,
            (
                Entry(wording.condition_label(row.condition, row.severity)),
                _difference(run, row),
                _detectable(run, row),
                p_entry(row.p_value),
                p_entry(row.p_corrected, "the primary test" if row.correction == HOLM else ""),
            ),
        )
        for row in chosen
    )
    every = [row for row in run.comparisons if row.family == GRID and row.correction != HOLM]
    kind = "" if calibration == UNCORRECTED else f", {wording.words(calibration)}"
    if any(is_untested(row.ci_low, row.ci_high, row.p_value) for row in chosen):
        tests = UNTESTED
    elif all(math.isnan(row.p_value) for row in chosen):
        tests = "No two methods differ in it on any resample, or it is undefined: there is nothing to test."
    else:
        tests = (
            "Secondary: p corrected by Benjamini and Hochberg over all "
            f"{wording.count(distinct_tests(every))} secondary tests of the run; a difference that returns unchanged "
            "counts once, and as the primary test where it is that one."
        )
    caption = (
        f"{chosen[0].method} minus each other method: paired difference in {tables.label(run, metric)}{kind}. "
        f"{_setting(run, chosen)} {tests}"
    )
    headings = (
        "Condition",
        f"Difference in {tables.heading(run, metric)}",
        "Smallest detectable",
        "p",
        "p corrected",
    )
    return Table(caption, ("Against", *headings), lines)


def is_untested(low: float, high: float, p_value: float) -> bool:
    """Say whether a difference has an interval other than 0 but no test; if so, none of its metric has one."""
    return math.isnan(p_value) and not math.isnan(low) and max(abs(low), abs(high)) > ZERO


def _setting(run: RunFolder, rows: Sequence[ComparisonRow]) -> str:
    row = rows[0]
    share = f" ({wording.percent(row.n_positive / row.n_cases)})" if row.n_cases else ""
    text = (
        f"{tables.seeds_words(run)}, with the {tables.percentile_words(run)}, drawn jointly for both methods. "
        f"n = {wording.count(row.n_cases)} cases, {wording.several(row.n_positive, 'event')}{share}."
    )
    left_out = max(row.undefined_resamples for row in rows)
    if left_out:
        text += f" Up to {wording.several(left_out, 'resample')} left out, in which the metric is undefined."
    return text


def _difference(run: RunFolder, row: ComparisonRow) -> Entry:
    if math.isnan(row.difference):
        return Entry("unanswered", quiet=True)
    decimals = run.declared(row.metric).decimals
    difference, low, high = (signed(value, decimals) for value in (row.difference, row.ci_low, row.ci_high))
    interval = "interval undefined" if math.isnan(row.ci_low) else f"{low} to {high}"
    return Entry(difference, interval, value=row.difference)


def _detectable(run: RunFolder, row: ComparisonRow) -> Entry:
    if math.isnan(row.smallest_detectable):
        return Entry(wording.EN_DASH, quiet=True)
    note = "larger than the difference" if abs(row.difference) < row.smallest_detectable else ""
    return Entry(f"{row.smallest_detectable:.{run.declared(row.metric).decimals}f}", note)


def signed(value: float, decimals: int = 3) -> str:
    """Write a difference with its sign, or 0 without one."""
    written = f"{value:+.{decimals}f}"
    return f"{0:.{decimals}f}" if float(written) == 0 else written.replace("-", wording.MINUS)


def p_value(value: float) -> str:
    """Write a p-value to three decimals."""
    if math.isnan(value):
        return wording.EN_DASH
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def p_entry(value: float, note: str = "") -> Entry:
    """Write a p-value as a cell that sorts by the unrounded one."""
    return Entry(p_value(value), note, value=value)
