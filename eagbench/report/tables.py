"""The report's tables: their contents, and how they are written as Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.run_tables import MEAN_SEED
from eagbench.analysis.scored_run import UNANSWERED
from eagbench.contracts.traits import MetricTable
from eagbench.metrics.unparsed import UnparsedRate
from eagbench.report import wording
from eagbench.report.unread_answers import warning
from eagbench.runs.reader import Group, ResultRow, RunFolder

Format = Literal["md", "latex", "csv"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A cell of a table.

    Attributes:
        text: What it says.
        note: What stands beside it, such as an interval.
        quiet: Whether it has no number of its own.
        value: The unrounded number, by which the page sorts; None if the text is the number.
    """

    text: str
    note: str = ""
    quiet: bool = False
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a table; references are set apart from the methods."""

    name: str
    entries: tuple[Entry, ...]
    reference: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table with its caption. `columns` has a heading for the name and one per entry."""

    caption: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    numeric: bool = True


def sort_value(entry: Entry) -> float | None:
    """Return the number by which a page sorts a cell; None for words and for cells without a number."""
    value = wording.written_number(entry.text) if entry.value is None else entry.value
    return value if value is not None and math.isfinite(value) and not entry.quiet else None


def columns_of_words(table: Table) -> tuple[bool, ...]:
    """Tell for each heading whether its column holds words, which read from the left, and no numbers."""
    if not table.numeric:
        return (True,) * len(table.columns)
    columns = zip(*(line.entries for line in table.lines), strict=True) if table.lines else ()
    said = [[entry for entry in column if not entry.quiet] for column in columns]
    return (True, *(bool(shown) and all(sort_value(entry) is None for entry in shown) for shown in said))


def label(run: RunFolder, metric: str) -> str:
    """Return the label that readers see for one of a run's numbers."""
    return wording.metric_label(metric, run.declared(metric))


def heading(run: RunFolder, metric: str) -> str:
    """Return a number's label with an arrow towards its better end."""
    return wording.metric_heading(metric, run.declared(metric))


def metrics_of(run: RunFolder, table: MetricTable) -> list[str]:
    """List the run's metrics that belong in a table of the report."""
    return [metric for metric in run.metrics if run.declared(metric).table == table]


def scale_metrics(run: RunFolder) -> list[str]:
    """List the run's main-table metrics that change when answers are corrected or recalibrated."""
    return [metric for metric in metrics_of(run, "main") if run.declared(metric).depends_on_scale]


def definitions(run: RunFolder, metrics: Sequence[str]) -> str:
    """Explain in sentences the metrics that not every reader knows; return nothing if there are none."""
    found = ((label(run, metric), run.declared(metric).definition) for metric in metrics)
    return "".join(f" {name}: {text}." for name, text in found if text)


def event_rate(rows: Sequence[ResultRow]) -> float | None:
    """Return the share of events among the cases, or None if rows differ in it."""
    rates = {row.n_positive / row.n_cases for row in rows if row.n_cases}
    return rates.pop() if len(rates) == 1 else None


def without_skill(run: RunFolder, metrics: Sequence[str], rate: float | None) -> str:
    """Say in a sentence what a prediction without skill scores; return nothing if no metric has a known value."""
    said = []
    for metric in metrics:
        traits = run.declared(metric)
        value = traits.without_skill(rate)
        if value is not None and traits.table == "main":
            how = _NO_SKILL.get(str(traits.no_skill), "")
            said.append(f"{label(run, metric)} {wording.number(value, traits) if how else f'{value:g}'}{how}")
    return f" Without skill: {', '.join(said)}." if said else ""


_NO_SKILL = {"event_rate": " (the event rate)", "event_variance": " (always predicting the event rate)"}


def entry(run: RunFolder, row: ResultRow | None) -> Entry:
    """Format a result as a cell: the number with its interval, or why there is none."""
    if row is None:
        return Entry(wording.EN_DASH, quiet=True)
    if row.status == "ok" and not math.isnan(row.value):
        traits = run.declared(row.metric)
        return Entry(wording.number(row.value, traits), wording.interval(row, traits), value=row.value)
    if run.declared(row.metric).undefined and row.status == "undefined":
        return Entry(wording.EN_DASH, quiet=True)  # by construction; the table of missing cells explains it
    return Entry("n/a" if row.status == "not_applicable" else row.status.replace("ok", "undefined"), quiet=True)


def interval_words(run: RunFolder) -> str:
    """Describe the intervals of a run's results."""
    is_logit = run.manifest["intervals"].get("auroc") == "logit"
    return percentile_words(run) + (", of AUROC one that is normal on the scale of its log odds" if is_logit else "")


def percentile_words(run: RunFolder, resamples: int | None = None) -> str:
    """Describe the intervals of a run's differences and shares, which are of all its resamples, or of the first few."""
    n = int(run.manifest["intervals"]["resamples"]) if resamples is None else resamples
    return f"{100 * run.level:g} % percentile bootstrap interval over patients ({wording.count(n)} resamples)"


def seeds_words(run: RunFolder) -> str:
    """Say whether values are means over seeds."""
    seeds = len(run.manifest["seeds"])
    return f"Mean over {seeds} training seeds" if seeds > 1 else f"One training seed ({run.manifest['seeds'][0]})"


def stamp(run: RunFolder) -> str:
    """Return the words that must open every caption; empty for a full run on real data with answers."""
    words = []
    if run.synthetic:
        words.append("SYNTHETIC DATA.")
    if run.manifest.get("limit") is not None:
        words.append(f"LIMITED TO {wording.count(int(run.manifest['limit']))} PATIENTS.")
    if run.manifest.get("profile"):
        words.append(f"PROFILE {run.manifest['profile']}.")
    words.append(run.manifest.get("weights_note", ""))
    words.append(warning(run))
    return " ".join(word for word in words if word)


def counts_words(rows: Sequence[ResultRow]) -> str:
    """State the number of cases and events, if all rows share them."""
    seen = {(row.n_cases, row.n_positive) for row in rows if row.n_cases}
    if len(seen) != 1:
        return "Numbers of cases differ between rows and stand in the table."
    cases, positive = seen.pop()
    return (
        f"n = {wording.count(cases)} evaluated cases, {wording.several(positive, 'event')} "
        f"({wording.percent(positive / cases)})."
    )


def main_table(run: RunFolder, group: Group) -> Table:
    """Tabulate methods and references by metrics, on unchanged records."""
    cells = run.headline(group)
    metrics = [m for m in metrics_of(run, "main") if any(key[1] == CLEAN and key[3] == m for key in cells)]
    lines: list[Line] = []
    used: list[ResultRow] = []
    for name in (*run.methods, *run.references):
        rows = [cells.get((name, CLEAN, None, metric)) for metric in metrics]
        found = [row for row in rows if row is not None]
        used.extend(found)
        n = next((row for row in found if row.n_cases), None)
        n_entry = Entry(f"{wording.count(n.n_cases)} / {wording.count(n.n_positive)}" if n else wording.EN_DASH)
        lines.append(Line(name, (n_entry, *(entry(run, row) for row in rows)), reference=name in run.references))
    headings = tuple(heading(run, metric) for metric in metrics)
    caption = (
        f"Performance on unchanged records. {seeds_words(run)}, with the {interval_words(run)}. {counts_words(used)}"
        f"{definitions(run, metrics)} Arrows point to the better end.{without_skill(run, metrics, event_rate(used))}"
        " Overlapping or separate intervals are not a test of a difference."
    )
    return Table(caption, ("Method", "n / events", *headings), tuple(lines))


def robustness_table(run: RunFolder, group: Group, perturbation: str, metric: str) -> Table:
    """Tabulate one metric over the severities of one perturbation."""
    cells = run.headline(group)
    severities = run.perturbations[perturbation]
    lines: list[Line] = []
    used: list[ResultRow] = []
    for method in run.methods:
        rows = [
            cells.get((method, CLEAN, None, metric)),
            *(cells.get((method, perturbation, s, metric)) for s in severities),
        ]
        used.extend(row for row in rows if row is not None)
        lines.append(Line(method, tuple(entry(run, row) for row in rows)))
    unit = run.severity_unit(perturbation)
    by = f"severity ({unit})" if unit else "severity"
    caption = (
        f"{heading(run, metric)} under {perturbation}, by {by}. {seeds_words(run)}, with the "
        f"{interval_words(run)}. {counts_words(used)}"
    )
    columns = ("Method", "clean", *(wording.amount(severity) or "on" for severity in severities))
    return Table(caption, columns, tuple(lines))


def unparsed_table(run: RunFolder, group: Group, conditions: Sequence[tuple[str, float | None]]) -> Table | None:
    """Tabulate the followed metrics with unparsed answers filled in, left out, and counted as wrong.

    Returns:
        A row per method and condition with unparsed answers; None if there are none.
    """
    cells = run.headline(group)
    lines: list[Line] = []
    names = [m for m in curve_metrics(run) if any(key[3].startswith(f"{m}:") for key in cells)]
    for method in run.methods:
        for condition, severity in conditions:
            rows = [
                cells.get((method, condition, severity, name + treatment))
                for name in names
                for treatment in ("", ":parsed_only", ":worst_case")
            ]
            rate = cells.get((method, condition, severity, UnparsedRate.name))
            headline = cells.get((method, condition, severity, run.metrics[0]))  # all that a silent method may have
            known = next((row for row in (*rows, rate, headline) if row is not None), None)
            if known is None or not known.n_unparsed:
                continue
            if known.status == UNANSWERED:
                share = Entry(wording.percent(1.0))
            else:
                share = entry(run, rate) if rate is not None else Entry(wording.count(known.n_unparsed))
            where = Entry(wording.condition_label(condition, severity))
            lines.append(Line(method, (where, share, *(entry(run, row) for row in rows))))
    if not lines:
        return None
    columns = ["Method", "Condition", "Unparsed"]
    for name in names:
        columns.extend([f"{heading(run, name)} filled", "parsed only", "worst case"])
    caption = (
        "Answers that could not be read. Filled: scored with the training prevalence, as in all other tables. Parsed "
        "only: those cases left out. Worst case: counted as confidently wrong. "
        f"{seeds_words(run)}, with the {interval_words(run)}. n counts all cases, parsed or not: "
        f"{counts_words([row for row in cells.values() if row.n_cases])}"
    )
    return Table(caption, tuple(columns), tuple(lines))


def seed_table(run: RunFolder, group: Group, metric: str) -> Table | None:
    """Tabulate one metric for each seed on unchanged records; return None for a run with one seed."""
    by_seed = run.by_seed(group, metric)
    seeds = [str(seed) for seed in run.manifest["seeds"]]
    if len(seeds) < 2 or not by_seed:
        return None
    lines = []
    for method in run.methods:
        rows = [by_seed.get(method, {}).get(seed) for seed in seeds]
        values = [row.value for row in rows if row is not None and not math.isnan(row.value)]
        mean = sum(values) / len(values) if values else math.nan
        spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else math.nan
        deviation = (
            Entry(wording.number(spread, run.declared(metric))) if values else Entry(wording.EN_DASH, quiet=True)
        )
        lines.append(Line(method, (*(entry(run, row) for row in rows), deviation)))
    caption = (
        f"{heading(run, metric)} of each training seed on unchanged records, with the {interval_words(run)}, "
        "and the standard deviation between seeds, which the intervals of the means do not contain."
    )
    return Table(caption, ("Method", *(f"seed {seed}" for seed in seeds), "SD"), tuple(lines))


def group_title(run: RunFolder, group: Group) -> str:
    """Say what distinguishes a group from the others of its run; return nothing if there is only one."""
    if len(run.groups) == 1:
        return ""
    where = (
        f"trained and evaluated on {group.domain_eval}"
        if group.domain_train == group.domain_eval
        else f"trained on {group.domain_train}, evaluated on {group.domain_eval}"
    )
    parts = [wording.words(group.task), where, wording.words(group.split)]
    if group.calibration != "none":
        parts.append(f"calibration {group.calibration}")
    if group.subgroup != "all":
        parts.append(f"subgroup {group.subgroup}")
    return ", ".join(parts)


def unparsed_share(row: ResultRow, n_seeds: int) -> float:
    """Return the share of unparsed answers: a mean row counts those of all seeds, but each case once."""
    answers = row.n_cases * (n_seeds if row.seed == MEAN_SEED else 1)
    return row.n_unparsed / answers if answers else 0.0


def curve_metrics(run: RunFolder) -> tuple[str, ...]:
    """List the metrics followed over severities: those that declare so, or the run's first if none does."""
    chosen = tuple(metric for metric in run.metrics if run.declared(metric).curve)
    return chosen or run.metrics[:1]


def escaped_markdown(content: str) -> str:
    """Escape text for Markdown: most viewers render HTML inside it, and a bar would end a cell."""
    return content.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "\\|")


def markdown(table: Table, opening: str) -> str:
    """Write a table in Markdown, after its caption, which starts with an opening that must come first."""
    safe = escaped_markdown
    rows = [[line.name, *(f"{e.text} ({e.note})" if e.note else e.text for e in line.entries)] for line in table.lines]
    body = "\n".join(f"| {' | '.join(map(safe, row))} |" for row in rows)
    rule = " | ".join(["---", *(["---:" if table.numeric else "---"] * (len(table.columns) - 1))])
    heading = " | ".join(map(safe, table.columns))
    caption = safe(f"{opening} {table.caption}".strip())
    return f"{caption}\n\n| {heading} |\n| {rule} |\n{body}\n"


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    wording.EN_DASH: "--", wording.MINUS: "$-$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "°": r"$^{\circ}$",
    "\u2265": r"$\geq$",
}  # fmt: skip


def escaped_latex(content: str) -> str:
    """Escape text for LaTeX."""
    return "".join(_LATEX.get(character, character) for character in content)


def latex(table: Table, opening: str) -> str:
    """Write a table in LaTeX, with an opening that must come first in its caption."""
    safe = escaped_latex
    columns = "l" + ("r" if table.numeric else "l") * (len(table.columns) - 1)
    body: list[str] = []
    in_references = False
    for line in table.lines:
        if line.reference and not in_references:
            body.append(r"\midrule")
            in_references = True
        cells = [safe(e.text) + (rf" {{\scriptsize ({safe(e.note)})}}" if e.note else "") for e in line.entries]
        body.append(" & ".join([safe(line.name), *cells]) + r" \\")
    heading = " & ".join(map(safe, table.columns)) + r" \\"
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{safe(f'{opening} {table.caption}'.strip())}}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            heading,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
