"""The figures of a run with matplotlib: ROC, precision-recall, decision, reliability, in the report's colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eagbench.config.suggestions import choices
from eagbench.contracts.records import FloatArray
from eagbench.errors import UserError
from eagbench.report.figures.estimates import REFERENCE_LOOK, Look, looks
from eagbench.report.figures.threshold_curves import rounded_up
from eagbench.report.method_curves import STEPS, SeedAnswers, by_seed, seeds_lacking
from eagbench.report.sections.calibration import reliability_panel
from eagbench.report.tables import entry, stamp
from eagbench.report.wording import condition_label
from eagbench.runs.pooled_answers import Answers
from eagbench.runs.reader import Group, ResultRow, RunFolder
from eagbench.stats.curves import Curve, decision, mean_curve, precision_recall, roc, treat_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle": "^", "down": "v", "cross": "P"}
_WIDTH, _HEIGHT = 5.6, 5.2  # inches


@dataclass(frozen=True, slots=True)
class Selection:
    """What to draw; see `Run.plot`."""

    kind: str
    methods: Sequence[str] | None
    condition: str
    severity: float | None
    domains: tuple[str, str] | None


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """One method in a figure.

    Attributes:
        method: Its label.
        look: Its colour and marker.
        rows: Its answers, of all seeds.
        number: Returns its result by the name of a metric; None if the run has none.
    """

    method: str
    look: Look
    rows: pd.DataFrame
    number: Callable[[str], ResultRow | None]


def draw(run: RunFolder, cases: pd.DataFrame, wanted: Selection, ax: Axes | None) -> Axes:
    """Draw a figure.

    Args:
        run: The run.
        cases: Its answers.
        wanted: What to draw.
        ax: Where; None for a new figure.

    Raises:
        UserError: The run has no such method, condition, severity or domains, or there is no such figure.
    """
    if wanted.kind not in _KINDS:
        raise UserError(f"there is no figure '{wanted.kind}'", hint=choices(wanted.kind, _KINDS))
    group = _group(run, wanted.domains)
    severity = _severity(run, wanted.condition, wanted.severity)
    lines = [_line(run, cases, group, method, (wanted.condition, severity)) for method in _methods(run, wanted.methods)]
    if ax is None:
        from matplotlib import pyplot as plt

        ax = plt.subplots(figsize=(_WIDTH, _HEIGHT), layout="constrained")[1]
    _KINDS[wanted.kind](run, lines, ax)
    about = "" if wanted.condition == "clean" else condition_label(wanted.condition, severity)
    where = "" if wanted.domains is None else f"{group.domain_train} → {group.domain_eval}"
    title = " · ".join(part for part in (stamp(run), about, where) if part)
    ax.set_title(title, loc="left", fontsize="small", wrap=True)
    if wanted.kind != "decision":  # whose axis of net benefit ends at the event rate
        ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.grid(visible=True, linewidth=0.5, alpha=0.4)
    ax.legend(fontsize="small", framealpha=0.8)
    return ax


def _group(run: RunFolder, domains: tuple[str, str] | None) -> Group:
    pairs = {(group.domain_train, group.domain_eval): group for group in run.groups}
    if domains is None and len(pairs) == 1:
        return next(iter(pairs.values()))
    if domains is None or tuple(domains) not in pairs:
        asked = "this run has several pairs of domains" if domains is None else f"this run has no domains {domains}"
        listed = ", ".join(map(repr, pairs)) or "none"
        raise UserError(asked, where="domains", hint=f"give (trained on, evaluated on); choices: {listed}")
    return pairs[domains[0], domains[1]]


def _severity(run: RunFolder, condition: str, severity: float | None) -> float | None:
    known = {"clean": (None,), **run.perturbations}
    if condition not in known:
        raise UserError(f"this run has no condition '{condition}'", where="condition", hint=choices(condition, known))
    levels = known[condition]
    if severity is None and len(levels) == 1:
        return levels[0]
    if severity not in levels:
        listed = ", ".join("None" if level is None else f"{level:g}" for level in levels)
        what = f"'{condition}' has several" if severity is None else f"'{condition}' has no severity {severity:g}"
        raise UserError(what, where="severity", hint=f"choices: {listed}")
    return severity


def _methods(run: RunFolder, methods: Sequence[str] | None) -> Sequence[str]:
    known = (*run.methods, *run.references)
    if methods is None:
        return known
    for method in [methods] if isinstance(methods, str) else methods:
        if method not in known:
            raise UserError(f"this run has no method '{method}'", where="methods", hint=choices(method, known))
    return [methods] if isinstance(methods, str) else methods


def _line(run: RunFolder, cases: pd.DataFrame, group: Group, method: str, condition: tuple[str, float | None]) -> _Line:
    name, severity = condition
    is_here = (cases["method"] == method) & (cases["condition"] == name)
    is_here &= cases["severity"].isna() if severity is None else cases["severity"] == severity
    for key in ("task", "domain_train", "domain_eval", "split"):
        is_here &= cases[key] == getattr(group, key)
    results = run.headline(group)
    look = looks(run.methods).get(method, REFERENCE_LOOK)
    return _Line(method, look, cases[is_here], lambda metric: results.get((method, name, severity, metric)))


def _roc(run: RunFolder, lines: Sequence[_Line], ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
    for line in lines:
        _draw_curve(run, line, ax, roc, ("auroc", "AUROC"))
    ax.set(xlabel="False positive rate (1 - specificity)", ylabel="True positive rate (sensitivity)")


def _precision_recall(run: RunFolder, lines: Sequence[_Line], ax: Axes) -> None:
    for line in lines:
        _draw_curve(run, line, ax, precision_recall, ("auprc", "AUPRC"))
    rates = {float(line.rows["label"].mean()) for line in lines if len(line.rows)}
    if len(rates) == 1:
        ax.axhline(rates.pop(), color="0.6", linewidth=1, linestyle=":")
    ax.set(xlabel="Recall (sensitivity)", ylabel="Precision (positive predictive value)")


def _decision(run: RunFolder, lines: Sequence[_Line], ax: Axes) -> None:
    at = np.arange(1, STEPS) / STEPS
    rates = [float(line.rows["label"].mean()) for line in lines if len(line.rows)]
    for line in lines:
        if not _is_drawn(line, ax):
            continue
        seeds = by_seed(_answers(line.rows))
        benefit = np.mean([decision(seed.probability, seed.label, at) for seed in seeds], axis=0)
        ax.plot(at, benefit, color=line.look.colour, linewidth=1.6, label=line.method + _lacking(run, line, seeds))
    ax.axhline(0, color="0.6", linewidth=1, linestyle=":")
    if rates:
        ax.plot(at, treat_all(rates[0], at), color="0.6", linewidth=1, linestyle=":")
        ax.set(xlim=(0, rounded_up(max(0.2, 3 * rates[0]))), ylim=(-0.3 * rates[0], 1.2 * rates[0]))
    ax.set(xlabel="Threshold probability", ylabel="Net benefit (dotted: act on all, on none)")


def _draw_curve(
    run: RunFolder, line: _Line, ax: Axes, curve: Callable[[FloatArray, Any], Curve], metric: tuple[str, str]
) -> None:
    """Draw the mean curve of a method's seeds; one without a readable answer has only its place in the legend."""
    name, title = metric
    if not _is_drawn(line, ax):
        return
    seeds = by_seed(_answers(line.rows))
    mean = mean_curve([curve(seed.probability, seed.label) for seed in seeds])
    said = entry(run, row) if (row := line.number(name)) is not None else None
    value = f"{title} {mean.area:.3f}" if said is None or not said.note else f"{title} {said.text} ({said.note})"
    label = f"{line.method}, {value}{_lacking(run, line, seeds)}"
    ax.plot(mean.x, mean.y, color=line.look.colour, linewidth=1.6, label=label)


def _lacking(run: RunFolder, line: _Line, seeds: Sequence[SeedAnswers]) -> str:
    lacking = seeds_lacking(run, line.method, len(seeds))
    return f", {lacking}" if lacking else ""


def _is_drawn(line: _Line, ax: Axes) -> bool:
    """Tell whether a method has readable answers of both classes; if not, say so in the legend."""
    if not len(line.rows):
        why = "no answers"
    elif not line.rows["parsed"].any():
        why = "no readable answer"
    elif line.rows["label"].nunique() < 2:
        why = "cases of one class only"
    else:
        return True
    ax.plot([], [], color=line.look.colour, linewidth=1.6, label=f"{line.method}: {why}")
    return False


def _calibration(run: RunFolder, lines: Sequence[_Line], ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle=":")
    for line in lines:
        if not _is_drawn(line, ax):
            continue
        panel = reliability_panel(run, line.method, _answers(line.rows))
        means = np.array([mean for mean, _ in panel.answered.points])
        rates = np.array([(rate.value, rate.low, rate.high) for _, rate in panel.answered.points])  # (M, 3)
        marker, colour = _MARKERS[line.look.marker], line.look.colour
        firm = ~np.isnan(rates[:, 1])
        value, low, high = rates[firm].T
        below_above = np.clip([value - low, high - value], 0, None)
        ax.errorbar(
            means[firm], value, below_above, color=colour, marker=marker, markersize=5, linewidth=1.4,
            elinewidth=1, label=f"{line.method}, {panel.note}",
        )  # fmt: skip
        ax.plot(
            means[~firm], rates[~firm, 0], color=colour, marker=marker, markersize=5, linestyle="", fillstyle="none"
        )
    ax.set(xlabel="Mean predicted probability", ylabel="Event rate")


def _answers(rows: pd.DataFrame) -> Answers:
    return Answers(
        seed=tuple(rows["seed"].astype(str)),
        fold=rows["fold"].to_numpy(dtype=np.int64),
        patient_id=tuple(rows["patient_id"].astype(str)),
        probability=rows["probability"].to_numpy(dtype=np.float64),
        recalibrated=None,
        label=rows["label"].to_numpy(dtype=np.int64),
        parsed=rows["parsed"].to_numpy(dtype=bool),
        cited=None,
        reference=None,
    )


_KINDS: Mapping[str, Callable[[RunFolder, Sequence[_Line], Any], None]] = {
    "roc": _roc,
    "precision_recall": _precision_recall,
    "decision": _decision,
    "calibration": _calibration,
}
