"""Report curves over all thresholds: ROC, precision-recall and decision curves, and thresholds read off them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.run_tables import MEAN_SEED
from eagbench.metrics.discrimination import Auprc, Auroc
from eagbench.report import tables
from eagbench.report.figures.estimates import REFERENCE_LOOK, looks
from eagbench.report.figures.threshold_curves import DrawnCurves, Ground, rounded_up, threshold_curves
from eagbench.report.method_curves import (
    STEPS_OF_CREDENTIALED,
    MethodCurves,
    SeedCurves,
    method_curves,
    n_resamples,
    seeds_lacking,
)
from eagbench.report.page.blocks import Block, FigureBlock, FigureFile, Prose, Section, TableBlock
from eagbench.report.sections.thresholds import held_out_thresholds, tuned_thresholds
from eagbench.runs.pooled_answers import Answers
from eagbench.runs.reader import Group, RunFolder
from eagbench.stats.curves import treat_all


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """What the section is made from.

    Attributes:
        run: The run.
        group: Its task, domains and split.
        answers: By method.
        curves: By method.
    """

    run: RunFolder
    group: Group
    answers: Mapping[str, Answers]
    curves: Mapping[str, MethodCurves]

    @property
    def event_rate(self) -> float:
        """The share of events; the evaluated cases are the same for all methods."""
        return float(next(iter(self.answers.values())).label.mean())


def curves(run: RunFolder, group: Group) -> Section | None:
    """Draw every method's curves on unchanged records, and tabulate thresholds read off them."""
    answers, found = {}, {}
    for method in (*run.methods, *run.references):
        its = run.answers(group, method)
        of_method = None if its is None else method_curves(run, its)
        if its is not None and of_method is not None:
            answers[method], found[method] = its, of_method
    if not found:
        return None
    drawn = _Drawn(run, group, answers, found)
    blocks: list[Block] = [Prose(_how(drawn)), _roc(drawn), _precision_recall(drawn), _decision(drawn)]
    blocks.append(TableBlock(held_out_thresholds(run, found, _counts(drawn))))
    tuned = tuned_thresholds(run, group, answers)
    if tuned is not None:
        blocks.append(TableBlock(tuned))
    return Section("curves", "Curves and thresholds", tuple(blocks))


def _how(drawn: _Drawn) -> str:
    """Say whose answers each curve stands for."""
    run, folds = drawn.run, drawn.run.manifest.get("split", {}).get("folds")
    seeds = len(run.manifest["seeds"])
    said = "Every curve is of one model's answers to held-out cases."
    if folds:
        said = (
            f"Every curve is of one seed's answers: each case's from the one of its {folds} models that was not "
            "trained on it, put together as for AUROC in the tables."
        )
    if seeds > 1:
        said += (
            f" Thin: each of the {seeds} training seeds. Thick: their mean at the same x, whose area is the mean of "
            "their areas; the answers of several seeds are never put into one curve."
        )
    said += " An answer that could not be read counts with the training prevalence, as in the tables."
    if run.is_credentialed:
        said += (
            f" The records are credentialed: curves are given at {STEPS_OF_CREDENTIALED} equal steps, so that no step "
            "shows a single case, and their areas differ a little from the tables'."
        )
    return said


def _counts(drawn: _Drawn) -> str:
    cells = drawn.run.headline(drawn.group)
    first = drawn.run.metrics[0]
    rows = [row for method in drawn.curves if (row := cells.get((method, CLEAN, None, first))) is not None]
    return tables.counts_words(rows)


def _band_words(drawn: _Drawn) -> str:
    return f"Bands: {tables.percentile_words(drawn.run, n_resamples(drawn.run))}, at each x by itself. {_counts(drawn)}"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of curve: the name of its files, its title, its columns, and the metric that is its area."""

    name: str
    title: str
    x: str
    y: str
    metric: str


_ROC = _Kind("roc", "ROC curves", "false_positive_rate", "true_positive_rate", Auroc.name)
_PRECISION_RECALL = _Kind("precision_recall", "Precision-recall curves", "recall", "precision", Auprc.name)
_DECISION = _Kind("decision", "Decision curves", "threshold", "net_benefit", "")


def _roc(drawn: _Drawn) -> FigureBlock:
    axes = ("false positive rate (1 \u2212 specificity)", "sensitivity")
    ground = Ground(_ROC.title, *axes, (0, 1), (0, 1), [[(0, 0), (1, 1)]])
    caption = f"{_ROC.title} on unchanged records. {_band_words(drawn)} Dotted: no skill."
    return _figure(drawn, _ROC, ground, caption)


def _precision_recall(drawn: _Drawn) -> FigureBlock:
    rate = drawn.event_rate
    axes = ("recall (sensitivity)", "precision (PPV)")
    ground = Ground(_PRECISION_RECALL.title, *axes, (0, 1), (0, 1), [[(0, rate), (1, rate)]])
    caption = (
        f"{_PRECISION_RECALL.title} on unchanged records: precision (positive predictive value) over recall, as steps. "
        f"{_band_words(drawn)} Dotted: the event rate, the precision without skill."
    )
    return _figure(drawn, _PRECISION_RECALL, ground, caption)


def _decision(drawn: _Drawn) -> FigureBlock:
    rate, found = drawn.event_rate, [its.decision for its in drawn.curves.values()]
    at = found[0].at
    everybody = list(zip(at.tolist(), treat_all(rate, at).tolist(), strict=True))
    end = rounded_up(max(0.2, 3 * rate))
    top = max(1.05 * rate, *(float(np.nanmax([its.high, its.value])) for its in found))
    axes = ("threshold probability", "net benefit")
    ground = Ground(_DECISION.title, *axes, (0, end), (-0.3 * rate, top), [everybody, [(0, 0), (end, 0)]])
    caption = (
        f"{_DECISION.title} on unchanged records: net benefit of acting on the cases at or above a threshold "
        "probability, in true positives per case, each false positive weighed by the odds of the threshold (Vickers "
        "and Elkin 2006). Dotted: acting on every case (falling) and on none (0). "
        f"{_band_words(drawn)} Drawn up to {end:g}; the CSV has every threshold. It takes probabilities at their word: "
        "a badly calibrated method may do worse than acting on none."
    )
    more = [
        {"method": name, "part": "reference", _DECISION.x: x, _DECISION.y: y}
        for name, points in (("treat all", everybody), ("treat none", [(x, 0.0) for x, _ in everybody]))
        for x, y in points
    ]
    return _figure(drawn, _DECISION, ground, caption, more)


def _figure(
    drawn: _Drawn, kind: _Kind, ground: Ground, caption: str, more: Sequence[Mapping[str, Any]] = ()
) -> FigureBlock:
    of_kind: dict[str, SeedCurves] = {method: getattr(its, kind.name) for method, its in drawn.curves.items()}
    methods = [
        DrawnCurves(
            method,
            _note(drawn, method, kind.metric),
            its.mean,
            [*its.of_seeds.values()] if len(its.of_seeds) > 1 else [],
            np.stack([its.at, its.low, its.high]),
        )
        for method, its in of_kind.items()
    ]
    look = looks(drawn.run.methods)
    rows = [row for method, its in of_kind.items() for row in _rows(method, its, kind)]
    columns = ("method", "seed", "part", kind.x, kind.y, "ci_low", "ci_high")
    return FigureBlock(
        threshold_curves(methods, ground, look),
        caption,
        tuple((look.get(method, REFERENCE_LOOK), method) for method in of_kind),
        FigureFile(kind.name, columns, [*rows, *more]),
    )


def _note(drawn: _Drawn, method: str, metric: str) -> str:
    """Write a curve's area as in the tables, and how many seeds it lacks."""
    said = [seeds_lacking(drawn.run, method, len(drawn.curves[method].roc.of_seeds))]
    row = drawn.run.headline(drawn.group).get((method, CLEAN, None, metric))
    if row is not None and row.status == "ok":
        entry = tables.entry(drawn.run, row)
        area = f"{tables.label(drawn.run, metric)} {entry.text}" + (f" ({entry.note})" if entry.note else "")
        said.insert(0, area)
    return ", ".join(filter(None, said))


def _rows(method: str, its: SeedCurves, kind: _Kind) -> Iterator[dict[str, Any]]:
    """Yield the points of every seed's curve and of the mean, and the mean's interval where there is one."""
    curves = {**its.of_seeds, **({MEAN_SEED: its.mean} if len(its.of_seeds) > 1 else {})}
    for seed, curve in curves.items():
        for x, y in zip(curve.x.tolist(), curve.y.tolist(), strict=True):
            yield {"method": method, "seed": seed, "part": "curve", kind.x: x, kind.y: y}
    seed = MEAN_SEED if len(curves) > 1 else next(iter(curves))
    columns = (values.tolist() for values in (its.at, its.value, its.low, its.high))
    for x, y, low, high in zip(*columns, strict=True):
        part = {kind.x: x, kind.y: y, "ci_low": low, "ci_high": high}
        yield {"method": method, "seed": seed, "part": "interval", **part}
