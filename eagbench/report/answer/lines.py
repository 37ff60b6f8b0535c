"""Put the first lines of a report together, the same for the page, Markdown, LaTeX and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.comparisons import PRIMARY
from eagbench.report import tables, wording
from eagbench.report.answer import ranking
from eagbench.report.answer.losses import domain_sentence, largest_losses, losses_sentence
from eagbench.report.page.blocks import Point
from eagbench.report.sections import transfer
from eagbench.report.sections.comparisons import of_group, verdict
from eagbench.report.unread_answers import explanation, unread
from eagbench.runs.reader import Group, ResultRow, RunFolder
from eagbench.stats.bootstrap import LEAST_PATIENTS

TITLE = "In short"
UNREAD = "Unread answers"
# Of more pairs of domains the answer counts who is best; each pair's section has its own numbers.
_PAIRS = 6
# A smaller share of answers that could not be read changes no number of the page by much.
_SHARE = 0.01


def answer(run: RunFolder) -> tuple[Point, ...]:
    """Answer the benchmark's question: which method is best, by how much, what breaks it, on what cases."""
    metric = ranking.main_metric(run)
    if metric is None or not run.groups:
        return ()
    lines = _of_pairs(run, metric) if len(run.groups) > 1 else _of_one(run, run.groups[0], metric)
    lines.append((UNREAD, _unread(run)))
    return tuple(Point(topic, text) for topic, text in lines if text)


def _of_one(run: RunFolder, group: Group, metric: str) -> list[tuple[str, str]]:
    rows = ranking.ranked(run, group, metric)
    if not rows:
        return [("Best", f"No method has a value of {tables.label(run, metric)} on unchanged records.")]
    references = [run.headline(group).get((name, CLEAN, None, metric)) for name in run.references]
    reached = "".join(
        f" The reference {row.method} reaches {wording.number(row.value, run.declared(metric))}."
        for row in references
        if row is not None and row.status == "ok"
    )
    return [
        ("Best" if len(rows) > 1 else "Result", ranking.best_sentence(run, rows) + reached),
        ("Difference", ranking.difference_sentence(run, group, rows)),
        ("Under test", _verdict(run, group, metric, rows)),
        ("Other metrics", ranking.other_metrics(run, group, metric)),
        ("What breaks whom", losses_sentence(run, metric, largest_losses(run, group, metric))),
        ("On", _basis(run, rows)),
    ]


def _verdict(run: RunFolder, group: Group, metric: str, rows: Sequence[ResultRow]) -> str:
    """Say what the primary tests show beyond the difference between the two best methods."""
    best_two = {row.method for row in rows[:2]} if len(ranking.tied(rows)) == 1 else set()
    primary = [row for row in of_group(run, group) if row.family == PRIMARY]
    others = [row for row in primary if {row.method, row.baseline} != best_two]
    return verdict(run, others, tables.label(run, metric)) if others else ""


def _basis(run: RunFolder, rows: Sequence[ResultRow]) -> str:
    """Say on how many cases and seeds the numbers stand, and what the intervals are."""
    kind = "out-of-fold" if run.manifest.get("split", {}).get("folds") else "held-out"
    sizes = {(row.n_cases, row.n_positive) for row in rows}
    on, few = "", ""
    if len(sizes) == 1:
        cases, events = sizes.pop()
        on = f"{wording.several(cases, f'{kind} case')} with {wording.several(events, 'event')}; "
        if min(events, cases - events) < LEAST_PATIENTS:
            few = f" Intervals and tests take at least {LEAST_PATIENTS} patients with the event, and as many without."
    seeds = tables.seeds_words(run)
    return f"{on}{seeds[0].lower()}{seeds[1:]}, {tables.interval_words(run)}. The best is a point estimate.{few}"


def _of_pairs(run: RunFolder, metric: str) -> list[tuple[str, str]]:
    """Answer for several pairs of domains: who is best where, what a change of domain costs, what breaks whom."""
    by_group = {group: rows for group in run.groups if (rows := ranking.ranked(run, group, metric))}
    if not by_group:
        return [("Best", f"No method has a value of {tables.label(run, metric)} on unchanged records.")]
    label = tables.label(run, metric)
    lines: list[tuple[str, str]] = []
    if len(run.methods) > 1:
        firsts = Counter(wording.enumeration([row.method for row in ranking.tied(rows)]) for rows in by_group.values())
        counted = [f"{names} in {n} of {len(by_group)}" for names, n in firsts.most_common()]
        lines.append(
            (
                "Best",
                f"Over the pairs of domains, the best {label} on unchanged records is that of {', '.join(counted)}.",
            )
        )
    if len(by_group) <= _PAIRS:
        lines += [(_sentence(tables.group_title(run, g)), _pair(run, g, rows)) for g, rows in by_group.items()]
    if transfer.is_crossed(run):
        lines.append(("Change of domain", domain_sentence(run, metric)))
    losses = [loss for group in by_group for loss in largest_losses(run, group, metric)]
    worst = sorted(losses, key=lambda loss: -loss.value)[:1]
    if run.perturbations:
        where = f" It is for the models {tables.group_title(run, worst[0].group)}." if worst else ""
        lines.append(("What breaks whom", losses_sentence(run, metric, worst) + where))
    seeds = tables.seeds_words(run)
    lines.append(("On", f"{seeds}, {tables.interval_words(run)}. Who is best is a point estimate."))
    return lines


def _pair(run: RunFolder, group: Group, rows: Sequence[ResultRow]) -> str:
    return " ".join(filter(None, (ranking.best_sentence(run, rows), ranking.difference_sentence(run, group, rows))))


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}" if words else ""


def _unread(run: RunFolder) -> str:
    """Say which methods gave answers that could not be read; return nothing if next to none did."""
    if transfer.is_crossed(run) and (of_pairs := transfer.unread(run)):
        return of_pairs
    if unread(run):
        return explanation(run)
    shares: dict[str, float] = {}
    for group in run.groups:
        for (method, condition, _, metric), row in run.headline(group).items():
            if condition == CLEAN and metric == run.metrics[0] and method in run.methods:
                share = tables.unparsed_share(row, len(run.manifest["seeds"]))
                shares[method] = max(share, shares.get(method, 0.0))
    named = [f"{method} ({wording.percent(share)})" for method, share in shares.items() if share >= _SHARE]
    if not named:
        return ""
    return f"Scored with the training prevalence: those of {wording.enumeration(named)} on unchanged records."
