"""How names, numbers and intervals are written, the same in every format."""

from __future__ import annotations

import math

from eagbench.metrics.plugin import register_metrics
from eagbench.runs.reader import ResultRow

EN_DASH = "\u2013"
MINUS = "\u2212"

_METRIC_LABELS = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "ECE",
    "calibration_slope": "Slope",
    "calibration_intercept": "Intercept",
    "brier_reliability": "Reliability",
    "brier_resolution": "Resolution",
    "brier_uncertainty": "Uncertainty",
    "unparsed_rate": "Unparsed",
    "attention_jaccard": "Citation overlap",
    "cited_features": "Features cited",
    "alignment_over_constant": "Beyond a constant list",
    "alignment_over_other_patient": "Beyond other patients",
    "attention_mass": "Attention likeness",
    "attention_mass_over_other_patient": "Attention beyond other patients",
}
_TREATMENTS = {"parsed_only": "parsed only", "worst_case": "worst case"}
_SHARES = frozenset({"unparsed_rate"})
_ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


def _directions() -> dict[str, str]:
    metrics: list[type] = []
    register_metrics(metrics.append)
    return {metric.name: metric.better for metric in metrics}  # type: ignore[attr-defined]


_DIRECTIONS = _directions()


def metric_label(metric: str) -> str:
    """What a reader calls a metric; `auroc:parsed_only` is "AUROC, parsed only"."""
    name, _, treatment = metric.partition(":")
    label = _METRIC_LABELS.get(name, words(name))
    return f"{label}, {_TREATMENTS.get(treatment, words(treatment))}" if treatment else label


def metric_heading(metric: str) -> str:
    """The label with an arrow towards the better end, where the metric is one of the core's."""
    return metric_label(metric) + _ARROWS[_DIRECTIONS.get(metric.partition(":")[0], "neither")]


def loss(metric: str, before: float, after: float) -> float:
    """By how much a metric of the core got worse; NaN for one whose better end is unknown."""
    sign = {"higher": 1.0, "lower": -1.0}.get(_DIRECTIONS.get(metric, ""), math.nan)
    return sign * (before - after)


def words(name: str) -> str:
    """A snake_case name as words."""
    return name.replace("_", " ")


def number(value: float, metric: str = "") -> str:
    """A metric's value: three decimals, or a percentage for a rate."""
    if math.isnan(value):
        return "undefined"
    if metric.partition(":")[0] in _SHARES:
        return percent(value)
    return f"{round(value, 3) + 0.0:.3f}".replace("-", MINUS)  # never minus zero


def interval(row: ResultRow) -> str:
    """The interval as low, en dash, high ("to" beside a minus sign, instead of the dash); empty if undefined."""
    if math.isnan(row.ci_low) or math.isnan(row.ci_high):
        return ""
    low = number(row.ci_low, row.metric).removesuffix(" %")
    return f"{low}{' to ' if row.ci_low < 0 else EN_DASH}{number(row.ci_high, row.metric)}"


def percent(share: float) -> str:
    """A share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def count(value: int) -> str:
    """A count with separated thousands."""
    return f"{value:,}"


def amount(severity: float | None) -> str:
    """A severity as short as it can be written."""
    return "" if severity is None else f"{severity:g}"


def condition_label(name: str, severity: float | None) -> str:
    """A condition with its severity."""
    return name if severity is None else f"{name} {amount(severity)}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if math.isnan(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def in_words(n: int, singular: str) -> str:
    """A count with its noun in running text: "one seed", "six methods", "12 methods"."""
    return f"{_SMALL[n] if n < len(_SMALL) else count(n)} {singular if n == 1 else singular + 's'}"


def several(n: int, singular: str) -> str:
    """A count with its noun: "1 seed", "3 seeds"."""
    return f"{count(n)} {singular if n == 1 else singular + 's'}"


def enumeration(items: list[str]) -> str:
    """The items as in a sentence: "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
