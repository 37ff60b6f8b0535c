"""What breaks whom: each method's largest loss under a perturbation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eagbench.analysis import summaries as names
from eagbench.analysis.cells import CLEAN
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.report import tables, wording
from eagbench.report.sections.comparisons import p_value
from eagbench.runs.reader import Group, RobustnessRow, RunFolder

# More methods would make a list of what is a sentence; the section on losses has them all.
_NAMED = 4


@dataclass(frozen=True, slots=True)
class Loss:
    """The largest loss of one method, above 0 is worse than clean.

    Attributes:
        group: The pair of domains.
        method: Its label.
        value: By how much the metric got worse.
        condition: The perturbation with its severity, in words.
        row: The loss with its interval and test; None where robustness.csv has none.
    """

    group: Group
    method: str
    value: float
    condition: str
    row: RobustnessRow | None


def largest_losses(run: RunFolder, group: Group, metric: str) -> list[Loss]:
    """List each method's largest loss, the largest of all first; a method that loses nothing is left out."""
    cells, traits = run.headline(group), run.declared(metric)
    tested, worst = _tested(run, group, metric), dict[str, Loss]()
    for (method, condition, severity, name), row in cells.items():
        before = cells.get((method, CLEAN, None, metric))
        if name != metric or condition == CLEAN or method not in run.methods or before is None:
            continue
        lost = wording.loss(traits, before.value, row.value)
        if {row.status, before.status} == {"ok"} and lost > max(0.0, worst[method].value if method in worst else 0.0):
            where = wording.condition_label(condition, severity)
            worst[method] = Loss(group, method, lost, where, tested.get((method, condition, severity)))
    return sorted(worst.values(), key=lambda loss: -loss.value)


def _tested(run: RunFolder, group: Group, metric: str) -> dict[tuple[str, str, float | None], RobustnessRow]:
    """Return the rows of robustness.csv on single conditions by method, condition and severity."""
    place = (group.task, group.domain_train, group.domain_eval, names.DEGRADATION, metric, "", UNCORRECTED)
    return {
        (r.method, r.condition, r.severity): r
        for r in run.robustness
        if (r.task, r.domain_train, r.domain_eval, r.summary, r.metric, r.baseline, r.calibration) == place
    }


def losses_sentence(run: RunFolder, metric: str, losses: Sequence[Loss]) -> str:
    """Say what costs each method most, with intervals; return nothing for a run without perturbations."""
    if not run.perturbations:
        return ""
    label = tables.label(run, metric)
    if not losses:
        return f"No perturbation makes {label} of any method worse."
    said = [f"{loss.method} loses most under {loss.condition}, {_words(run, metric, loss)}" for loss in losses[:_NAMED]]
    text = f"In {label}, {'; '.join(said)}."
    n = sum(len(severities) for severities in run.perturbations.values())
    if n > 1:
        text += (
            f" Each is the largest of {wording.count(n)} conditions, chosen afterwards, and so tends to be too large."
        )
    if any(loss.row is not None and loss.row.ci_low <= 0 for loss in losses[:_NAMED]):
        text += " Where the interval includes 0, no loss is shown."
    return text


def _words(run: RunFolder, metric: str, loss: Loss) -> str:
    traits, row = run.declared(metric), loss.row
    value = wording.number(loss.value, traits)
    if row is None or math.isnan(row.ci_low):
        return value
    low, high = wording.number(row.ci_low, traits), wording.number(row.ci_high, traits)
    tested = "" if math.isnan(row.p_corrected) else f"; p corrected {p_value(row.p_corrected)}"
    return f"{value} ({low} to {high}{tested})"
