"""The interval of a metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eagbench.contracts.records import FloatArray
from eagbench.stats.bootstrap import logit_interval, percentile_interval


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
    plain = metric.partition("@")[0].partition(":")[0]
    pairs = n_positive * (n_cases - n_positive)
    if plain == "auroc" and intervals.get("auroc") == "logit" and pairs:
        return logit_interval(value, draws, intervals["level"], 0.5 / pairs)
    return percentile_interval(draws, intervals["level"])
