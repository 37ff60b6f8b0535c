"""What the page says about subgroups: the same metrics within each, with their counts."""

from __future__ import annotations

from dataclasses import replace

from eagbench.report import tables, wording
from eagbench.report.blocks import Block, Prose, Section, TableBlock
from eagbench.report.run_folder import Group, ResultRow, RunFolder
from eagbench.report.tables import Entry, Line, Table
from eagbench.run_contract import ALL_CASES, CLEAN


def subgroups(run: RunFolder, group: Group) -> Section | None:
    """A table per followed metric, a row per subgroup; None if the benchmark asks for no subgroups."""
    found = subgroup_tables(run, group)
    if not found:
        return None
    spec = run.manifest["subgroups"]
    said = (
        f"A subgroup has numbers from {wording.count(spec['minimum_cases'])} cases on, with at least "
        f"{wording.count(spec['minimum_positive'])} of the rarer class. Nothing here is a test: of many subgroups one "
        "looks different by chance, and a metric may differ because the cases do (AUROC and Brier score depend on who "
        "is in a group)."
    )
    blocks: list[Block] = [Prose(said), *(TableBlock(table) for table in found)]
    return Section("subgroups", "Subgroups", tuple(blocks))


def subgroup_tables(run: RunFolder, group: Group) -> list[Table]:
    """One table per followed metric; none without subgroups."""
    names = [g.subgroup for g in run.all_groups if g.subgroup != ALL_CASES and replace(g, subgroup=ALL_CASES) == group]
    if not names:
        return []
    return [_table(run, group, names, metric) for metric in tables.curve_metrics(run)]


def _table(run: RunFolder, group: Group, names: list[str], metric: str) -> Table:
    shown = [*run.methods, *run.references]
    lines = []
    for name in (ALL_CASES, *names):
        cells = run.headline(replace(group, subgroup=name))
        rows = [cells.get((method, CLEAN, None, metric)) for method in shown]
        counted = next((row for row in rows if row is not None and row.n_cases), None)
        counts = f"{wording.count(counted.n_cases)} / {wording.count(counted.n_positive)}" if counted else "0 / 0"
        lines.append(Line(_name(name), (Entry(counts), *(_entry(row) for row in rows))))
    caption = (
        f"{wording.metric_heading(metric)} within subgroups on unchanged records. {tables.seeds_words(run)}, with the "
        f"{tables.interval_words(run)}, of which each subgroup takes its part."
    )
    return Table(caption, ("Subgroup", "n / events", *shown), tuple(lines))


def _entry(row: ResultRow | None) -> Entry:
    if row is not None and row.status == "too_few":
        return Entry("too few", quiet=True)
    return tables.entry(row)


def _name(subgroup: str) -> str:
    if subgroup == ALL_CASES:
        return "all cases"
    fact, _, value = subgroup.partition("=")
    return f"{wording.words(fact)}: {value}"
