"""What a sweep's report says about held-out cases: nothing, or the result of one evaluation at the end."""

from __future__ import annotations

import math
from dataclasses import replace

from eagbench.analysis.comparisons import PRIMARY
from eagbench.report import wording
from eagbench.report.page.blocks import Prose, Section, TableBlock
from eagbench.report.sections.comparisons import of_group, primary_table, verdict
from eagbench.report.tables import Entry, Line, Table, group_title, label, main_table
from eagbench.runs.reader import ComparisonRow, Group, RunFolder
from eagbench.sweep.folder import EVALUATION
from eagbench.sweep.report.tables import tuning_words
from eagbench.sweep.report.trials import TUNING, SweepFolder

NOT_LOOKED_AT = (
    "The held-out set has not been looked at: no number on this page comes from it. eagbench sweep with "
    "--evaluate-best evaluates the choice on it, once."
)


def trials_behind(sweep: SweepFolder) -> str:
    """Say how many trials the choice was made from."""
    n = len(sweep.complete) + len(sweep.pruned)
    pruned = f", {len(sweep.pruned)} of them pruned," if sweep.pruned else ""
    return f"{wording.in_words(n, 'trial').capitalize()}{pruned} stood behind the choice, made on {TUNING} alone."


def held_out(sweep: SweepFolder) -> Section:
    """Compare the default configuration with the tuned one, on tuning cases and once on held-out ones."""
    chosen = [TableBlock(table) for table in _tuning_tables(sweep)]
    run = _evaluation(sweep)
    if run is None:
        return Section("held-out", "Held-out cases: not looked at", (Prose(NOT_LOOKED_AT), *chosen))
    text = (
        f"{trials_behind(sweep)} Then the held-out cases were looked at, once, after the last trial. Differences there "
        "are not flattered by the choice; those on tuning cases are."
    )
    found = [TableBlock(table) for table in held_out_tables(sweep)]
    verdicts = [Prose(words) for words in _verdicts(run)]
    whole = Prose(f"The evaluation is an ordinary run: {EVALUATION}/report.html has all of it.")
    return Section("held-out", "Default against tuned", (Prose(text), *chosen, *found, *verdicts, whole))


def held_out_tables(sweep: SweepFolder) -> list[Table]:
    """Tabulate the metrics and paired differences of the evaluation at the end, if there was one."""
    run = _evaluation(sweep)
    if run is None:
        return []
    found: list[Table] = []
    for group in run.groups:
        found += [_stamped(run, group, main_table(run, group))]
        if rows := _primary(run, group):
            found += [_stamped(run, group, primary_table(run, rows))]
    return found


def _evaluation(sweep: SweepFolder) -> RunFolder | None:
    folder = sweep.path / EVALUATION
    return RunFolder(folder) if (folder / "manifest.json").is_file() else None


def _primary(run: RunFolder, group: Group) -> list[ComparisonRow]:
    return [row for row in of_group(run, group) if row.family == PRIMARY and not math.isnan(row.difference)]


def _where(run: RunFolder, group: Group) -> str:
    title = group_title(run, group)
    return f" ({title})" if title else ""


def _stamped(run: RunFolder, group: Group, table: Table) -> Table:
    return replace(table, caption=f"HELD-OUT CASES{_where(run, group)}, evaluated once. {table.caption}")


def _verdicts(run: RunFolder) -> list[str]:
    words = []
    for group in run.groups:
        if rows := _primary(run, group):
            metric = label(run, run.manifest["comparisons"]["metric"])
            words.append(f"On held-out cases{_where(run, group)}: {verdict(run, rows, metric)}")
    return words


def _tuning_tables(sweep: SweepFolder) -> list[Table]:
    default = sweep.default
    if default is None or not sweep.best:
        return []
    objectives = range(len(sweep.record.objectives))
    lines = []
    for trial in sweep.best:
        entries: list[Entry] = []
        for i in objectives:
            gain = trial.values[i] - default.values[i]
            sign = wording.MINUS if gain < 0 else "+" if gain > 0 else ""
            before, after, change = (sweep.number(i, v) for v in (default.values[i], trial.values[i], abs(gain)))
            entries += [Entry(before), Entry(after), Entry(f"{sign}{change}")]
        lines.append(Line(f"Trial {trial.number}", tuple(entries)))
    headings = [h for i in objectives for h in (f"{sweep.title(i)}: default", "tuned", "difference")]
    caption = (
        f"The default configuration (trial {default.number}) and the tuned one on {TUNING} ({tuning_words(sweep)}). "
        "Without intervals: what is tuned is the best of many on these very cases."
    )
    return [Table(caption, ("Tuned", *headings), tuple(lines))]
