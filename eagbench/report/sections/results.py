"""Report results: performance, citations, unparsed answers and missing cells."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.scored_run import UNANSWERED
from eagbench.report import tables, wording
from eagbench.report.figure_data import of_results
from eagbench.report.figures import estimates as figures
from eagbench.report.figures.estimates import Estimate
from eagbench.report.page.blocks import (
    Block,
    Code,
    FigureBlock,
    FigureFile,
    Folded,
    Heading,
    Prose,
    Section,
    TableBlock,
)
from eagbench.report.tables import Entry, Line, Table
from eagbench.report.unread_answers import example_texts, unread
from eagbench.runs.pooled_answers import Answers
from eagbench.runs.reader import Group, ResultRow, RunFolder
from eagbench.runs.schema import SUPPRESSED

SHOWN_FEATURES = 12


def performance(run: RunFolder, group: Group) -> Section:
    """Show the methods on unchanged records."""
    blocks: list[Block] = [TableBlock(tables.main_table(run, group))]
    forest = _forest(run, group)
    if forest is not None:
        blocks.append(forest)
    constant = _constant_answers(run, group)
    if constant:
        blocks.append(Prose(constant))
    spread = [tables.seed_table(run, group, metric) for metric in run.metrics[:2]]
    folded = tuple(TableBlock(table) for table in spread if table is not None)
    if folded:
        blocks.append(Folded("Each training seed", folded))
    return Section("performance", "Performance on unchanged records", tuple(blocks))


def _constant_answers(run: RunFolder, group: Group) -> str:
    """Name the methods that answer the same for every case; their AUROC is 0.5 because every pair of cases is a tie."""
    constant = []
    for method in run.methods:
        answers = run.answers(group, method)
        if answers is not None and len(answers.probability) > 1 and np.ptp(answers.probability) == 0:
            constant.append(f"{method} ({wording.number(float(answers.probability[0]))})")
    if not constant:
        return ""
    return (
        f"One and the same probability for every case: {wording.enumeration(constant)}. Such answers order nothing: "
        "AUROC is 0.5 because every pair of cases is a tie, and its interval has no width."
    )


def _forest(run: RunFolder, group: Group) -> FigureBlock | None:
    cells = run.headline(group)
    metrics = [m for m in run.metrics if run.declared(m).is_plotted] or list(run.metrics[:1])
    rows = [n for n in (*run.methods, *run.references) if any((n, CLEAN, None, m) in cells for m in metrics)]
    if not rows:
        return None
    found = [row for name in rows for m in metrics if (row := cells.get((name, CLEAN, None, m))) is not None]
    rate = tables.event_rate(found)
    no_skill = {metric: run.declared(metric).without_skill(rate) for metric in metrics}
    panels = [
        figures.ForestPanel(
            tables.heading(run, metric),
            {name: _estimate(cells.get((name, CLEAN, None, metric))) for name in rows},
            None if value is None else (value, "no skill"),
        )
        for metric, value in no_skill.items()
    ]
    caption = (
        f"The figures of the table above: point estimates with the {tables.interval_words(run)}. "
        f"{tables.seeds_words(run)}. {tables.counts_words(found)} Axes do not start at 0."
    )
    if any(value is not None for value in no_skill.values()):
        caption += " Dotted: a prediction without skill."
    if run.references:
        caption += f" Grey: {_references_words(run)}."
    file = of_results("performance", [row for row in found if row.status == "ok"])
    return FigureBlock(figures.forest(rows, figures.looks(run.methods), panels), caption, file=file)


def _estimate(row: ResultRow | None) -> Estimate | None:
    return None if row is None or row.status != "ok" else Estimate(row.value, row.ci_low, row.ci_high)


def _references_words(run: RunFolder) -> str:
    names = wording.enumeration(list(run.references))
    return f"{names}, a reference that no method made (its probabilities came with the data)"


def citation_table(run: RunFolder, group: Group) -> Table | None:
    """Tabulate the numbers behind the citation figure, over all features; return None if no method cites any."""
    shares = {
        method: (_shares(answers.cited or ()), _shares(answers.reference or ()))
        for method, answers in _citing(run, group)
    }
    if not shares:
        return None
    rank = Counter[str]()
    for of_lists in (lists for both in shares.values() for lists in both):
        rank |= Counter(of_lists)
    lines = tuple(
        Line(
            feature,
            tuple(
                Entry(
                    wording.percent(cited.get(feature, 0.0)), f"expert's {wording.percent(teacher.get(feature, 0.0))}"
                )
                for cited, teacher in shares.values()
            ),
        )
        for feature, _ in sorted(rank.items(), key=lambda item: (-item[1], item[0]))
    )
    caption = (
        "How often an answer cites a feature, and how often it is among the reference expert's top features, in % of "
        "the answers on unchanged records, seeds pooled. Without intervals: equal shares do not mean the same cases."
    )
    return Table(caption, ("Feature", *shares), lines)


def _citing(run: RunFolder, group: Group) -> list[tuple[str, Answers]]:
    """Return the methods whose answers cite features, if there is an expert's list to compare with."""
    found = [(method, run.answers(group, method)) for method in run.methods]
    return [(m, a) for m, a in found if a is not None and a.cited is not None and a.reference is not None]


def citations(run: RunFolder, group: Group) -> Section | None:
    """Show what answers cite, beside what the reference expert attends to."""
    found = _citing(run, group)
    if not found:
        return None
    lines, panels, rank = [], [], Counter[str]()
    for method, answers in found:
        cited, teacher = answers.cited or (), answers.reference or ()
        per_cited, per_teacher = _shares(cited), _shares(teacher)
        for feature in {*per_cited, *per_teacher}:
            rank[feature] = max(rank[feature], per_cited.get(feature, 0.0), per_teacher.get(feature, 0.0))  # type: ignore[assignment]
        panels.append(figures.CitationPanel(method, per_cited, per_teacher))
        lines.append(
            Line(
                method,
                (
                    Entry(f"{np.mean([len(c) for c in cited]):.1f}"),
                    Entry(f"{np.mean([len(t) for t in teacher]):.1f}"),
                    Entry(wording.count(len(cited))),
                ),
            )
        )
    name = run.reference_expert
    expert_words = f"the reference expert ({name})" if name else "the reference expert"
    table = Table(
        f"Features per answer, cited and on the list of {expert_words}, on unchanged records; the answers of all seeds "
        "pooled. How the two agree, and whether beyond chance: see the section on alignment.",
        ("Method", "Features cited", "Expert's features", "Answers"),
        tuple(lines),
    )
    ranked = [feature for feature, _ in sorted(rank.items(), key=lambda item: (-item[1], item[0]))]
    features = ranked[:SHOWN_FEATURES]
    look = figures.looks(run.methods)
    figure = FigureBlock(
        figures.citations(panels, features, look),
        f"How often an answer cites a feature (circle, in the method's colour) and how often it is among the expert's "
        f"top features (dark diamond), in % of the answers, seeds pooled; the {len(features)} features that are most "
        "frequent in either. Shares over all answers, without intervals: equal shares do not mean the same cases.",
        file=FigureFile(
            "citations",
            ("method", "feature", "cited", "expert"),
            [
                {"method": p.method, "feature": f, "cited": p.cited.get(f, 0.0), "expert": p.reference.get(f, 0.0)}
                for p in panels
                for f in ranked
            ],
        ),
    )
    shares = citation_table(run, group)
    assert shares is not None
    folded = Folded("The numbers of this figure, for all features", (TableBlock(shares),))
    return Section("citations", "What the answers cite", (TableBlock(table), figure, folded))


def _shares(lists: Sequence[frozenset[str]]) -> dict[str, float]:
    counted = Counter(feature for features in lists for feature in features)
    return {feature: n / len(lists) for feature, n in counted.items()}


def unparsed(run: RunFolder, group: Group) -> Section | None:
    """Show the answers that could not be read."""
    clean = tables.unparsed_table(run, group, [(CLEAN, None)])
    perturbed = tables.unparsed_table(
        run, group, [(p, s) for p, severities in run.perturbations.items() for s in severities]
    )
    if clean is None and perturbed is None:
        return None
    examples = [(method.method, example_texts(run, method.method)) for method in unread(run)]
    blocks: list[Block] = [
        Prose(
            "An answer without a readable probability is kept and scored with the training prevalence, which flatters "
            "calibration. The other two columns show how much hangs on that choice. A method without a single readable "
            "answer has no number."
        )
    ]
    blocks += _reasons(run)
    blocks.append(Prose("All answers on unchanged records could be read.") if clean is None else TableBlock(clean))
    if perturbed is not None:
        blocks.append(Folded("The same under perturbations", (TableBlock(perturbed),)))
    for method, texts in examples:
        if texts and run.is_credentialed:
            # A page is passed on, and a text may repeat what the record says.
            where = f"trajectories/{method}.jsonl"
            blocks.append(Prose(f"The data are credentialed, so what {method} wrote instead is shown in {where} only."))
        elif texts:
            blocks += [Heading(f"What {method} wrote instead, for example"), *(Code(text) for text in texts)]
    return Section("unparsed", "Answers that could not be read", tuple(blocks))


def _reasons(run: RunFolder) -> list[Block]:
    """Explain the reasons for unread answers that the run counted."""
    predicted = [row for row in run.costs if row.kind == "predict"]
    reasons = (
        (
            sum(row.truncated_thought for row in predicted),
            "text",
            "ended inside the model's thought, before any answer: "
            "the method's max_new_tokens is too low for this model.",
        ),
        (
            sum(row.too_long for row in predicted),
            "prompt",
            "did not fit into what the model reads, and got no answer: "
            "show less of a record (record_text: periods, values: quantile) or take a model that reads more.",
        ),
    )
    return [Prose(f"{wording.several(count, noun)} {what}") for count, noun, what in reasons if count]


def missing(run: RunFolder, group: Group) -> Section:
    """List planned cells without a number, grouped by reason."""
    gathered: dict[tuple[str, str, str], _Gap] = {}

    def note(status: str, what: str, reason: str, method: str, seed: str, condition: str) -> None:
        gap = gathered.setdefault((status, what, reason), _Gap({}, {}, {}))
        gap.methods[method] = gap.seeds[seed] = gap.conditions[condition] = None

    failed = set()
    for failure in run.manifest.get("failed", []):
        severity = failure.get("severity")
        where = wording.condition_label(str(failure["condition"]), None if severity is None else float(severity))
        method = str(failure["method"])
        failed.add((method, where))
        metric = failure.get("metric")
        what = "all metrics" if metric is None else tables.label(run, metric)
        note("failed", what, f"{failure['stage']}: {failure['reason']}", method, str(failure["seed"]), where)
    reads = {str(m["label"]): str(m.get("reads") or "something else") for m in run.manifest["methods"]}
    for (method, condition, severity, metric), row in run.headline(group).items():
        where = wording.condition_label(condition, severity)
        if row.status == "ok" and not math.isnan(row.value):
            continue
        if row.status == "failed":
            if (method, where) not in failed:
                note("failed", "all metrics", "see log.jsonl", method, "all", where)
        elif row.status == UNANSWERED:
            reason = "no answer could be read, in one seed or more"
            note(UNANSWERED, "all metrics", reason, method, "all", where)
        elif row.status == SUPPRESSED:
            note(SUPPRESSED, "all metrics", "a number about a few cases", method, "all", where)
        elif row.status == "not_applicable":
            reason = f"{condition} means nothing for a method that reads {reads.get(method, 'something else')}"
            note("not applicable", "all metrics", reason, method, "all", where)
        else:
            note("undefined", tables.label(run, metric), _why_undefined(run, metric, row), method, "all", where)
    if not gathered:
        return Section("missing", "Cells without a number", (Prose("None: every planned cell has its number."),))
    everywhere = 1 + sum(len(severities) for severities in run.perturbations.values())
    lines = []
    for (status, what, reason), gap in gathered.items():
        conditions = "all" if len(gap.conditions) == everywhere > 1 else ", ".join(gap.conditions)
        entries = (what, ", ".join(gap.methods), conditions, ", ".join(gap.seeds), reason)
        lines.append(Line(status, tuple(Entry(text) for text in entries)))
    table = Table(
        "Planned cells without a number, and why. Nothing was filled in for them.",
        ("Status", "Number", "Methods", "Conditions", "Seeds", "Reason"),
        tuple(lines),
        numeric=False,
    )
    return Section("missing", "Cells without a number", (TableBlock(table),))


@dataclass(frozen=True, slots=True)
class _Gap:
    """The places where numbers are missing for one reason, as mapping keys in order of appearance."""

    methods: dict[str, None]
    seeds: dict[str, None]
    conditions: dict[str, None]


def _why_undefined(run: RunFolder, metric: str, row: ResultRow) -> str:
    if run.declared(metric).undefined:
        return run.declared(metric).undefined
    if metric.endswith(":parsed_only"):
        return "no parsed answers, or only one class among them"
    if row.n_positive in (0, row.n_cases):
        return "only one class among the cases"
    return "the metric is undefined on these cases"
