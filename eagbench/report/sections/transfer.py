"""Report transfer: the matrix of domains, what they share, and what a change of domain costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.transfer import OTHER_CASES
from eagbench.metrics.unparsed import UnparsedRate
from eagbench.report import tables, wording
from eagbench.report.figure_data import of_estimates
from eagbench.report.figures import transfer as transfer_figures
from eagbench.report.figures.estimates import Estimate
from eagbench.report.page.blocks import Block, FigureBlock, Folded, Prose, Section, TableBlock
from eagbench.report.sections.comparisons import UNTESTED, is_untested, p_entry, signed
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.reader import Group, ResultRow, RunFolder

ALL_OTHERS = "all others"

# Shares of unparsed answers. From the first on, name them; from the second on, a number says more about the filling
# than about the model.
_NAMED, _MANY = 0.01, 0.1


def transfer(run: RunFolder) -> Section | None:
    """Show the matrix, the coverage and the gaps; return None for a run with one domain."""
    if not is_crossed(run):
        return None
    metric = tables.curve_metrics(run)[0]
    others = [m for m in run.metrics if m != metric]
    blocks: list[Block] = [Prose(_views(run)), _matrix(run, metric)]
    folded = [matrix_table(run, metric), *(matrix_table(run, m) for m in others)]
    blocks.append(Folded("The matrices as tables, every metric", tuple(TableBlock(table) for table in folded if table)))
    blocks.append(TableBlock(coverage_table(run)))
    blocks.append(Folded("Concepts by name", (TableBlock(_concepts_table(run)),)))
    gap = gap_table(run, metric)
    if gap is not None:
        blocks += [Prose(" ".join(filter(None, (found(run), unread(run))))), TableBlock(gap)]
        rest = [table for m in others if (table := gap_table(run, m)) is not None]
        if rest:
            blocks.append(Folded("Gaps in other metrics", tuple(TableBlock(table) for table in rest)))
    return Section("transfer", "Transfer between domains", tuple(blocks))


def is_crossed(run: RunFolder) -> bool:
    """Say whether the run has more than one domain."""
    return bool((run.manifest.get("transfer") or {}).get("shared"))


def _views(run: RunFolder) -> str:
    described = run.manifest["transfer"]
    n = len(described["shared"]["features"])
    seen = {method["reads"] for method in run.manifest["methods"]}
    text = (
        "Each method is trained once in a domain and asked about held-out cases of that and of other domains. A model "
        "from elsewhere knows no label, threshold or quantile of the domain that it is evaluated in; its unreadable "
        "answers are scored with the event rate of the domain that trained it. Methods that read columns, and experts "
        f"inside other methods, see the {wording.several(n, 'concept')} that all domains share, in one order and unit."
    )
    if "text" in seen:
        all_of_it = described["features"]["text"] == "all"
        text += (
            " Methods that read text see all of the record that they are given, concepts of one domain alone included."
            if all_of_it
            else " Methods that read text see the same."
        )
    tasks = {domain["task"]["name"] for domain in run.manifest["data"].values()}
    if len(tasks) > 1:
        text += (
            f" The domains ask different questions ({wording.enumeration(sorted(wording.words(t) for t in tasks))}): "
            "what is measured is the change of question as well as that of the patients."
        )
    return text


def _pairs(run: RunFolder) -> list[tuple[str, str]]:
    return [(train, target) for train, target in run.manifest["transfer"]["pairs"]]


def _row_of(run: RunFolder, train: str, target: str) -> str:
    """Return the matrix row of a pair: its training domain, or one row for all models without the evaluated domain."""
    trained: dict[str, set[str]] = {}
    for other, evaluated in _pairs(run):
        trained.setdefault(other, set()).add(evaluated)
    holds = {domain["name"]: set(domain["holds"]) for domain in run.manifest["transfer"]["domains"]}
    leaves_out = len(holds[train]) > 1 and target not in holds[train] and trained[train] == {target}
    return ALL_OTHERS if leaves_out else train


def _cells(run: RunFolder, metric: str) -> dict[tuple[str, str, str], ResultRow]:
    """Return results on unchanged records by method, row and column of the matrix."""
    pairs = set(_pairs(run))
    found = {}
    for group in run.groups:
        if (group.domain_train, group.domain_eval) not in pairs or group.subgroup != "all":
            continue
        for method in run.methods:
            row = run.headline(group).get((method, CLEAN, None, metric))
            if row is not None:
                place = _row_of(run, group.domain_train, group.domain_eval)
                found[(method, place, group.domain_eval)] = row
    return found


def _axes(run: RunFolder) -> tuple[list[str], list[str]]:
    rows = dict.fromkeys(_row_of(run, train, target) for train, target in _pairs(run))
    columns = dict.fromkeys(target for _, target in _pairs(run))
    return list(rows), list(columns)


def _matrix(run: RunFolder, metric: str) -> FigureBlock:
    cells = _cells(run, metric)
    rows, columns = _axes(run)
    holds = {domain["name"]: set(domain["holds"]) for domain in run.manifest["transfer"]["domains"]}
    at_home = frozenset((row, column) for row in rows for column in columns if column in holds.get(row, ()))
    values = [row.value for row in cells.values() if row.status == "ok" and not math.isnan(row.value)]
    # Start the shades at the score of no skill if that is fixed; keep a width even if a panel has only one value.
    least = run.declared(metric).without_skill(None)
    extent = (
        (min(values, default=0.0), max(values, default=1.0)) if least is None else (least, max([least + 0.4, *values]))
    )
    counts = {
        column: f"{wording.count(row.n_cases)} / {wording.count(row.n_positive)}"
        for (_, _, column), row in cells.items()
    }
    panels = [
        transfer_figures.MatrixPanel(
            method,
            {
                (place, column): Estimate(row.value, row.ci_low, row.ci_high)
                for (name, place, column), row in cells.items()
                if name == method and row.status == "ok"
            },
            frozenset(
                (place, column)
                for (name, place, column), row in cells.items()
                if name == method
                and row.status == "ok"
                and tables.unparsed_share(row, len(run.manifest["seeds"])) >= _MANY
            ),
        )
        for method in run.methods
    ]
    caption = (
        f"{tables.label(run, metric)} of every method, trained in the row's domain and evaluated on the held-out "
        f"cases of the column's (below its name: cases / events), on unchanged records. {tables.seeds_words(run)}, "
        f"with the {tables.interval_words(run)}. Framed: trained where it is evaluated, on other patients. Darker is "
        "higher; the shades are the same in all panels. Fields of one column "
        "are on the same cases and can be compared; those of different columns are not."
    )
    if any(panel.unread for panel in panels):
        caption += (
            f" {transfer_figures.UNREAD_MARK}: {wording.percent(_MANY)} or more of the answers could not be read, and "
            "were scored with the training prevalence."
        )
    file = of_estimates(
        f"transfer_{metric}",
        ("method", "trained_in", "evaluated_in"),
        metric,
        [((panel.title, *field), estimate) for panel in panels for field, estimate in panel.estimates.items()],
    )
    return FigureBlock(transfer_figures.matrices(panels, rows, columns, counts, at_home, extent), caption, file=file)


def matrix_table(run: RunFolder, metric: str) -> Table | None:
    """Tabulate one metric of every method by training and evaluated domain; return None if no cell has a number."""
    cells = _cells(run, metric)
    if not any(row.status == "ok" for row in cells.values()):
        return None
    n_seeds = len(run.manifest["seeds"])
    rows, columns = _axes(run)

    def line(method: str, place: str) -> Line:
        of_columns = (cells.get((method, place, column)) for column in columns)
        return Line(method, (Entry(place), *(_matrix_entry(run, row) for row in of_columns)))

    lines = tuple(line(method, place) for method in run.methods for place in rows)
    sizes = {c: f"{row.n_cases:,} / {row.n_positive:,}" for (_, _, c), row in cells.items()}
    caption = (
        f"{tables.heading(run, metric)} by training domain (row) and evaluated domain (column, with its held-out "
        f"cases / events), on unchanged records. {tables.seeds_words(run)}, with the {tables.interval_words(run)}."
    )
    if any(tables.unparsed_share(row, n_seeds) >= _NAMED for row in cells.values()):
        caption += (
            " Unparsed: answers that could not be read, scored with the training prevalence, where 1 % or more are."
        )
    headings = (f"on {column} ({sizes.get(column, '')})" for column in columns)
    return Table(caption, ("Method", "Trained in", *headings), lines)


def _matrix_entry(run: RunFolder, row: ResultRow | None) -> Entry:
    """Write a number with its interval, and the share of unparsed answers if that is large enough to be named."""
    entry, n_seeds = tables.entry(run, row), len(run.manifest["seeds"])
    if row is None or row.metric == UnparsedRate.name or tables.unparsed_share(row, n_seeds) < _NAMED:
        return entry
    share = f"{wording.percent(tables.unparsed_share(row, n_seeds))} unparsed"
    return replace(entry, note=f"{entry.note}; {share}" if entry.note else share)


def _across(run: RunFolder) -> list[Mapping[str, str]]:
    """Return the rows of domains.csv for pairs whose domains hold different cases."""
    holds = {domain["name"]: set(domain["holds"]) for domain in run.manifest["transfer"]["domains"]}
    return [row for row in run.domains if row["domain_eval"] not in holds[row["domain_train"]]]


def coverage_table(run: RunFolder) -> Table:
    """Tabulate shared concepts, sizes, event rates and covariate shift of each pair."""
    lines = []
    for row in _across(run):
        shift = [row["shift_auroc"], row["shift_auroc_values"]]
        lines.append(
            Line(
                f"{row['domain_train']} to {row['domain_eval']}",
                (
                    Entry(f"{row['n_shared']} / {row['n_only_train']} / {row['n_only_eval']}"),
                    Entry(wording.count(int(row["n_train"]))),
                    Entry(wording.percent(float(row["prevalence_train"]))),
                    Entry(wording.count(int(row["n_eval"]))),
                    Entry(wording.percent(float(row["prevalence_eval"]))),
                    *(Entry(wording.number(float(v)) if v else wording.EN_DASH, quiet=not v) for v in shift),
                ),
            )
        )
    caption = (
        "How the domains of each pair differ. Concepts: shared by all domains / only in training / only in evaluation. "
        "Event rate in training cases and in evaluated held-out cases (label shift). Records told apart: AUROC of a "
        "classifier that guesses from a training record's shared concepts which of the two domains it is from, "
        "cross-validated by patient, without labels (covariate shift): 0.5 means that none was found; once with "
        "the numbers of measurements, once from the values alone."
    )
    headings = (
        "Concepts", "Training cases", "Event rate", "Evaluated cases", "Event rate", "Records told apart",
        "by values alone",
    )  # fmt: skip
    return Table(caption, ("Trained in, evaluated in", *headings), tuple(lines))


def _concepts_table(run: RunFolder) -> Table:
    shared = run.manifest["transfer"]["shared"]
    lines = [
        Line("shared by all", (Entry(", ".join(shared["features"])),)),
        Line("shared static facts", (Entry(", ".join(shared["static_names"]) or "none"),)),
    ]
    seen: dict[str, str] = {}
    for row in run.domains:
        for side in ("train", "eval"):
            seen.setdefault(row[f"domain_{side}"], row[f"only_{side}"])
    lines += [
        Line(f"only in {name}", (Entry(", ".join(names.split())),)) for name, names in seen.items() if names.split()
    ]
    return Table("Concepts of the domains, by name.", ("Where", "Concepts"), tuple(lines), numeric=False)


def gap_table(run: RunFolder, metric: str) -> Table | None:
    """Tabulate in-domain minus out-of-domain value of every method and pair; return None if this metric has no gaps."""
    rows = [row for row in run.gaps if row["metric"] == metric]
    if not rows:
        return None
    traits = run.declared(metric)
    lines = tuple(
        Line(
            row["method"],
            (
                Entry(f"{row['domain_train']} to {row['domain_eval']}"),
                Entry(wording.number(float(row["value"]), traits)),
                Entry(
                    wording.number(float(row["in_domain_value"]), traits),
                    f"{row['in_domain']}, {'other cases' if row['cases'] == OTHER_CASES else 'same cases'}",
                ),
                _gap(row, traits.decimals),
                *(p_entry(float(row[key] or "nan")) for key in ("p_value", "p_corrected")),
            ),
        )
        for row in rows
    )
    loss = " (a negative gap is a loss: lower is better)" if wording.loss(traits, 0.0, 1.0) > 0 else ""
    caption = (
        f"Gap in {tables.heading(run, metric)}: in-domain minus out-of-domain value{loss}. In-domain is the same "
        "method trained where it is evaluated (the domain is named), on the same held-out cases and joint resamples; "
        "where no such model was trained, the method on the held-out cases of its own domain, which are other cases, "
        f"resampled apart. {tables.seeds_words(run)}, with the {tables.percentile_words(run)}. "
    )
    caption += (
        "p corrected by Benjamini and Hochberg over all gaps of this run in metrics that are tested."
        if not any(is_untested(*(float(row[key] or "nan") for key in ("ci_low", "ci_high", "p_value"))) for row in rows)
        else UNTESTED
    )
    headings = ("Trained in, evaluated in", "Out of domain", "In domain", "Gap", "p", "p corrected")
    return Table(caption, ("Method", *headings), lines)


def found(run: RunFolder) -> str:
    """Say in one sentence how many gaps the corrected tests show."""
    metric = tables.curve_metrics(run)[0]
    rows = [row for row in run.gaps if row["metric"] == metric]
    if not rows:
        return ""
    alpha, traits = 1 - run.level, run.declared(metric)
    shown = [row for row in rows if row["p_corrected"] and float(row["p_corrected"]) <= alpha]
    lost = [row for row in shown if wording.loss(traits, float(row["in_domain_value"]), float(row["value"])) > 0]
    text = (
        f"Of {wording.several(len(rows), 'gap')} in {tables.label(run, metric)}, "
        f"{len(lost)} {'is a loss' if len(lost) == 1 else 'are losses'} and {len(shown) - len(lost)} "
        f"{'is a gain' if len(shown) - len(lost) == 1 else 'are gains'} at {100 * alpha:g} % after correction; for the "
        "others no difference is shown, which is not to say that there is none."
    )
    if lost:
        worst = max(lost, key=lambda row: wording.loss(traits, float(row["in_domain_value"]), float(row["value"])))
        text += (
            f" The largest loss is that of {worst['method']} from {worst['domain_train']} to {worst['domain_eval']}: "
            f"{wording.number(float(worst['value']), traits)} instead of "
            f"{wording.number(float(worst['in_domain_value']), traits)} "
            f"({worst['in_domain']})."
        )
    return text


def unread(run: RunFolder) -> str:
    """Say in one sentence which models gave many unreadable answers; return nothing if none did."""
    shares: dict[tuple[str, str], list[float]] = {}
    for (method, place, _), row in _cells(run, tables.curve_metrics(run)[0]).items():
        share = tables.unparsed_share(row, len(run.manifest["seeds"]))
        if share >= _MANY:
            shares.setdefault((method, place), []).append(share)
    if not shares:
        return ""
    named = [
        f"{method} trained in {place} ({wording.percent(min(of_model))} to {wording.percent(max(of_model))})"
        for (method, place), of_model in shares.items()
    ]
    return (
        f"Many answers could not be read: {wording.enumeration(named)}. Such a model's numbers, and gaps and "
        "differences from it, are those of the training prevalence that was filled in."
    )


def _gap(row: Mapping[str, Any], decimals: int) -> Entry:
    gap, low, high = (signed(float(row[key] or "nan"), decimals) for key in ("gap", "ci_low", "ci_high"))
    return Entry(gap, f"{low} to {high}" if row["ci_low"] else "interval undefined", value=float(row["gap"] or "nan"))


def by_pair(sections: Sequence[tuple[Group, Sequence[Section]]]) -> Section:
    """Fold the sections of every pair of domains away: there are many, and the matrix comes first."""
    folded = []
    for group, of_group in sections:
        title = f"Trained in {group.domain_train}, evaluated in {group.domain_eval}"
        folded.append(Folded(title, tuple(block for section in of_group for block in section.blocks)))
    return Section("pairs", "Each pair of domains", tuple(folded))
