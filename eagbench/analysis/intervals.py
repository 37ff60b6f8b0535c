"""The interval of a metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eagbench.contracts.records import FloatArray
from eagbench.stats.bootstrap import logit_interval, percentile_intervals


def metric_interval(
    metric: str, value: float, draws: FloatArray, intervals: Mapping[str, Any], n_cases: int, n_positive: int
) -> tuple[float, float]:
    """Compute the interval of a metric as the benchmark asks for it.

    Args:
        metric: Its name, with or without a treatment of unparsed answers and a calibration.
        value: The point value.
        draws: Its resamples, shape (B,).
        intervals: The benchmark's `intervals`: `level`, and `auroc`, which is `percentile` or `logit`.
        n_cases: Cases behind the number.
        n_positive: Events among them.
    """
    return metric_intervals([(metric, value, draws)], intervals, n_cases, n_positive)[0]


def metric_intervals(
    numbers: Sequence[tuple[str, float, FloatArray]], intervals: Mapping[str, Any], n_cases: int, n_positive: int
) -> list[tuple[float, float]]:
    """Compute the intervals of several metrics on the same cases, as `metric_interval` does.

    Args:
        numbers: Each metric's name, point value and resamples.
        intervals: The benchmark's `intervals`.
        n_cases: Cases behind the numbers.
        n_positive: Events among them.
    """
    level, pairs = intervals["level"], n_positive * (n_cases - n_positive)
    in_log_odds = intervals.get("auroc") == "logit" and bool(pairs)
    found: dict[int, tuple[float, float]] = {}
    others: list[int] = []
    for i, (metric, value, draws) in enumerate(numbers):
        plain = metric.partition("@")[0].partition(":")[0]
        if plain == "auroc" and in_log_odds:
            found[i] = logit_interval(value, draws, level, 0.5 / pairs)
        else:
            others.append(i)
    found |= zip(others, percentile_intervals([numbers[i][2] for i in others], level), strict=True)
    return [found[i] for i in range(len(numbers))]
