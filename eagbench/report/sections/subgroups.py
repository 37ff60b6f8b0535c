"""Report subgroups: the same metrics within each, with their counts."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.run_tables import ALL_CASES
from eagbench.report import tables, wording
from eagbench.report.figure_data import of_results
from eagbench.report.figures import estimates as figures
from eagbench.report.figures.estimates import Estimate
from eagbench.report.figures.subgroups import SubgroupPanel, SubgroupRow, subgroup_forest
from eagbench.report.page.blocks import Block, FigureBlock, Prose, Section, TableBlock
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import Group, ResultRow, RunFolder
from eagbench.runs.schema import SUPPRESSED


def subgroups(run: RunFolder, group: Group) -> Section | None:
    """Show a forest plot and tables, a row per subgroup; return None if the benchmark has no subgroups."""
    found = subgroup_tables(run, group)
    if not found:
        return None
    forest = _forest(run, group)
    spec = run.manifest["subgroups"]
    said = (
        f"A subgroup has numbers from {wording.count(spec['minimum_cases'])} cases on, with at least "
        f"{wording.count(spec['minimum_positive'])} of the rarer class. Nothing here is a test: of many subgroups one "
        "looks different by chance, and a metric may differ because the cases do (AUROC and Brier score depend on who "
        "is in a group)."
    )
    blocks: list[Block] = [Prose(said), *([forest] if forest else []), *(TableBlock(table) for table in found)]
    return Section("subgroups", "Subgroups", tuple(blocks))


def subgroup_tables(run: RunFolder, group: Group) -> list[Table]:
    """Build one table for the metric of the forest plot and each followed metric; none without subgroups."""
    if not _names(run, group):
        return []
    return [_table(run, group, metric) for metric in dict.fromkeys((_metric(run), *tables.curve_metrics(run)))]


def _names(run: RunFolder, group: Group) -> list[str]:
    """List the subgroups of a group of all cases."""
    return [g.subgroup for g in run.all_groups if g.subgroup != ALL_CASES and replace(g, subgroup=ALL_CASES) == group]


def _metric(run: RunFolder) -> str:
    """Name the metric of the benchmark's comparisons, or the first followed one if there are none."""
    compared = (run.manifest.get("comparisons") or {}).get("metric")
    return compared if compared in run.metrics else tables.curve_metrics(run)[0]


def _rows(run: RunFolder, group: Group, metric: str) -> dict[str, dict[str, ResultRow | None]]:
    """Return every method's and reference's number on unchanged records, for all cases and each subgroup."""
    shown = [*run.methods, *run.references]
    cells = {name: run.headline(replace(group, subgroup=name)) for name in (ALL_CASES, *_names(run, group))}
    return {
        name: {method: found.get((method, CLEAN, None, metric)) for method in shown} for name, found in cells.items()
    }


def _counts(rows: Iterable[ResultRow | None]) -> str:
    found = list(rows)
    counted = next((row for row in found if row is not None and row.n_cases), None)
    if counted is None:
        return SUPPRESSED if any(row is not None and row.status == SUPPRESSED for row in found) else "0 / 0"
    return f"{wording.count(counted.n_cases)} / {wording.count(counted.n_positive)}"


def _forest(run: RunFolder, group: Group) -> FigureBlock | None:
    metric, spec = _metric(run), run.manifest["subgroups"]
    found = _rows(run, group, metric)
    shown = [*run.methods, *run.references]
    drawn = [m for m in shown if any(isinstance(_cell(run, of_methods[m]), Estimate) for of_methods in found.values())]
    if not drawn:
        return None
    rows = [SubgroupRow(*_fact_and_value(name), _counts(of_methods.values())) for name, of_methods in found.items()]
    panels = []
    for method in drawn:
        cells = [_cell(run, of_methods[method]) for of_methods in found.values()]
        on_all = cells[0]
        panels.append(SubgroupPanel(method, math.nan if isinstance(on_all, str) else on_all.value, cells))
    caption = (
        f"{tables.heading(run, metric)} on all cases and within each subgroup, on unchanged records, one panel per "
        f"method. {tables.seeds_words(run)}, with the {tables.interval_words(run)}. Vertical line: the method's value "
        "on all cases, the subgroup's among them. Too few: fewer than "
        f"{wording.several(spec['minimum_cases'], 'case')}, or than {wording.count(spec['minimum_positive'])} of the "
        "rarer class. The axis is the same for all methods and does not start at 0."
    )
    missing = [method for method in run.methods if method not in drawn]
    if missing:
        caption += f" Without a number here (see the section on missing cells): {wording.enumeration(missing)}."
    svg = subgroup_forest(rows, panels, figures.looks(run.methods), tables.heading(run, metric))
    cells_of = (row for of_methods in found.values() for row in of_methods.values())
    return FigureBlock(svg, caption, file=of_results("subgroups", [r for r in cells_of if r and r.status == "ok"]))


def _cell(run: RunFolder, row: ResultRow | None) -> Estimate | str:
    if row is not None and row.status == "ok" and not math.isnan(row.value):
        return Estimate(row.value, row.ci_low, row.ci_high)
    return _entry(run, row).text


def _table(run: RunFolder, group: Group, metric: str) -> Table:
    lines = []
    for name, of_methods in _rows(run, group, metric).items():
        entries = (_entry(run, row) for row in of_methods.values())
        lines.append(Line(_name(name), (Entry(_counts(of_methods.values())), *entries)))
    caption = (
        f"{tables.heading(run, metric)} within subgroups on unchanged records. {tables.seeds_words(run)}, with the "
        f"{tables.interval_words(run)}, of which each subgroup takes its part."
    )
    return Table(caption, ("Subgroup", "n / events", *run.methods, *run.references), tuple(lines))


def _entry(run: RunFolder, row: ResultRow | None) -> Entry:
    if row is not None and row.status == "too_few":
        return Entry("too few", quiet=True)
    return tables.entry(run, row)


def _name(subgroup: str) -> str:
    fact, value = _fact_and_value(subgroup)
    return f"{fact}: {value}" if fact else value


def _fact_and_value(subgroup: str) -> tuple[str, str]:
    if subgroup == ALL_CASES:
        return "", "all cases"
    fact, _, value = subgroup.partition("=")
    return wording.words(fact), value
