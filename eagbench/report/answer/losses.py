"""What breaks whom: each method's largest loss under a perturbation, and the largest between domains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def domain_sentence(run: RunFolder, metric: str) -> str:
    """Say how many losses between domains are shown, and which is the largest; return nothing for one domain."""
    rows = [row for row in run.gaps if row["metric"] == metric]
    if not rows:
        return ""
    traits, alpha = run.declared(metric), 1 - run.level
    lost = [row for row in rows if traits.sign * float(row["gap"] or "nan") > 0]
    shown = [row for row in lost if row["p_corrected"] and float(row["p_corrected"]) <= alpha]
    text = (
        f"Of {wording.several(len(rows), 'gap')} in {tables.label(run, metric)} between domains, "
        f"{wording.count(len(shown))} {'is a loss that is' if len(shown) == 1 else 'are losses that are'} "
        f"shown at {100 * alpha:g} % after correction, which is not to say that there are no others."
    )
    if lost:
        text += _largest_gap(run, metric, max(lost, key=lambda row: traits.sign * float(row["gap"])))
    return text


def _largest_gap(run: RunFolder, metric: str, row: Mapping[str, str]) -> str:
    traits = run.declared(metric)
    gap, low, high = (traits.sign * float(row[key] or "nan") for key in ("gap", "ci_low", "ci_high"))
    value, at_home = (wording.number(float(row[key]), traits) for key in ("value", "in_domain_value"))
    interval = ""
    if not math.isnan(low):
        low, high = sorted((low, high))
        p = p_value(float(row["p_corrected"] or "nan"))
        interval = f" ({wording.number(low, traits)} to {wording.number(high, traits)}; p corrected {p})"
    where = f"{row['domain_train']} to {row['domain_eval']}"
    return (
        f" The largest loss is that of {row['method']} from {where}: {value} instead of {at_home} "
        f"({row['in_domain']}), {wording.number(gap, traits)}{interval}, chosen afterwards."
    )
