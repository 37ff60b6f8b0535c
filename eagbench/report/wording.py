"""Write names, numbers and intervals the same way in every format."""

from __future__ import annotations

import math
import re

from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration
from eagbench.runs.reader import ResultRow

EN_DASH = "\u2013"
MINUS = "\u2212"

_TREATMENTS = {"parsed_only": "parsed only", "worst_case": "worst case"}
_ARROWS = {"higher": " ↑", "lower": " ↓", "neither": ""}


def metric_label(metric: str, traits: MetricTraits) -> str:
    """Return the label that readers see for a number; `auroc:parsed_only` is "AUROC, parsed only"."""
    variant, calibration = metric_and_calibration(metric)
    name, _, treatment = variant.partition(":")
    named = [traits.label or words(name)]
    if treatment:
        named.append(_TREATMENTS.get(treatment, words(treatment)))
    if calibration != UNCORRECTED:
        named.append(words(calibration))
    return ", ".join(named)


def metric_heading(metric: str, traits: MetricTraits) -> str:
    """Return the label with an arrow towards the better end, if the metric has one."""
    return metric_label(metric, traits) + _ARROWS[traits.better]


def loss(traits: MetricTraits, before: float, after: float) -> float:
    """Return by how much a metric got worse; NaN for one without a better end."""
    return traits.sign * (before - after) if traits.sign else math.nan


def words(name: str) -> str:
    """Turn a snake_case name into words."""
    return name.replace("_", " ")


def number(value: float, traits: MetricTraits | None = None) -> str:
    """Write a value with three decimals, or as its metric prefers (more or fewer, or as a percentage)."""
    if math.isnan(value):
        return "undefined"
    if traits is not None and traits.is_share:
        return percent(value)
    decimals = 3 if traits is None else traits.decimals
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", MINUS)  # never minus zero


def interval(row: ResultRow, traits: MetricTraits) -> str:
    """Write an interval as low, en dash, high ("to" instead of the dash beside a minus sign); empty if undefined."""
    if math.isnan(row.ci_low) or math.isnan(row.ci_high):
        return ""
    low = number(row.ci_low, traits).removesuffix(" %")
    return f"{low}{' to ' if row.ci_low < 0 else EN_DASH}{number(row.ci_high, traits)}"


def percent(share: float) -> str:
    """Write a share as a percentage with one decimal."""
    return f"{100 * share:.1f} %"


def count(value: int) -> str:
    """Write a count with thousands separators."""
    return f"{value:,}"


def amount(severity: float | None) -> str:
    """Write a severity as briefly as possible."""
    return "" if severity is None else f"{severity:g}"


def condition_label(name: str, severity: float | None) -> str:
    """Write a condition with its severity."""
    return name if severity is None else f"{name} {amount(severity)}"


def duration(seconds: float) -> str:
    """Write a duration in seconds, minutes or hours."""
    if math.isnan(seconds):
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"


_WRITTEN = re.compile(r"<?([+\u2212-]?\d[\d,]*(?:\.\d+)?)(?: %| / [\d,/ ]+)?")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def written_number(text: str) -> float | None:
    """Read a number, percentage, duration or count that this module wrote; of "80 / 12" the first.

    Returns:
        The number, a duration in seconds; None for any other text.
    """
    found = _WRITTEN.fullmatch(text)
    if found is not None:
        return float(found[1].replace(",", "").replace(MINUS, "-"))
    parts = text.split()
    if len(parts) in (2, 4) and all(unit in _SECONDS for unit in parts[1::2]):
        numbers = [written_number(number) for number in parts[::2]]
        seconds = [n * _SECONDS[unit] for n, unit in zip(numbers, parts[1::2], strict=True) if n is not None]
        return sum(seconds) if len(seconds) == len(numbers) else None
    return None


_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def in_words(n: int, singular: str) -> str:
    """Write a count with its noun for running text: "one seed", "six methods", "12 methods"."""
    return f"{_SMALL[n] if n < len(_SMALL) else count(n)} {singular if n == 1 else singular + 's'}"


def several(n: int, singular: str) -> str:
    """Write a count with its noun: "1 seed", "3 seeds"."""
    return f"{count(n)} {singular if n == 1 else singular + 's'}"


def enumeration(items: list[str]) -> str:
    """List the items as in a sentence: "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""
