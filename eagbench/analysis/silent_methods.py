"""Tests of methods that answered nothing that can be read.

They have no numbers, so there is no difference to test. Left out of its family, such a test would make the others look
better: the family would be smaller just because a method failed. It stays there with p = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN, CLEAN_KEY, ConditionKey
from eagbench.analysis.comparisons import GRID, PRIMARY, Claim, SeedMeans
from eagbench.analysis.scored_run import UNANSWERED
from eagbench.analysis.summaries import AREA_DEGRADATION, DEGRADATION
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration

_UNDEFINED = (
    "difference",
    "ci_low",
    "ci_high",
    "relative_percent",
    "standard_error",
    "smallest_detectable",
    "delong_standard_error",
    "delong_p_value",
)

_UNDEFINED_DEGRADATION = ("value", "ci_low", "ci_high", "standard_error", "smallest_detectable")


def without_answers(
    claim: Claim,
    baselines: Sequence[str],
    conditions: Sequence[ConditionKey],
    means: Mapping[tuple[str, ConditionKey], SeedMeans],
    silent: AbstractSet[tuple[str, ConditionKey]],
    traits: Mapping[str, MetricTraits],
) -> list[dict[str, Any]]:
    """Make a row with p = 1 for each test that was lost because a method answered nothing, uncorrected.

    Args:
        claim: Whose claim is tested.
        baselines: Labels of the other methods.
        conditions: The conditions, `clean` first.
        means: By method and condition, of those that answered.
        silent: Methods and conditions without an answer that could be read, in one seed or more.
        traits: What each metric declares.

    Returns:
        Rows as those of `compare`, by condition, metric and baseline. The tests are those of the numbers that the
        other method has; of every metric if neither answered.
    """
    rows = []
    for condition in conditions:
        for name in _names(claim.method, baselines, condition, means, traits):
            metric, calibration = metric_and_calibration(name)
            is_primary = (metric, calibration, condition[0]) == (claim.metric, UNCORRECTED, CLEAN)
            for baseline in baselines:
                if not _is_lost([(label, condition) for label in (claim.method, baseline)], name, means, silent):
                    continue
                rows.append(
                    {
                        **dict.fromkeys(_UNDEFINED, float("nan")),
                        "family": PRIMARY if is_primary else GRID,
                        "metric": metric,
                        "condition": condition[0],
                        "severity": condition[1],
                        "calibration": calibration,
                        "method": claim.method,
                        "baseline": baseline,
                        "p_value": 1.0,
                        "test": f"{UNANSWERED}: {name}, {condition[0]} {condition[1]}",
                        "undefined_resamples": 0,
                    }
                )
    return rows


def degradations_without_answers(
    tested: str,
    methods: Sequence[str],
    conditions: Sequence[ConditionKey],
    means: Mapping[tuple[str, ConditionKey], SeedMeans],
    silent: AbstractSet[tuple[str, ConditionKey]],
    traits: Mapping[str, MetricTraits],
) -> list[dict[str, Any]]:
    """Make a row with p = 1 for each test of a degradation that was lost because a method answered nothing.

    Args:
        tested: The method whose claim is tested.
        methods: Labels of all methods.
        conditions: The conditions, `clean` first.
        means: By method and condition, of those that answered.
        silent: Methods and conditions without an answer that could be read, in one seed or more.
        traits: What each metric declares.

    Returns:
        Rows as those of `robustness`, uncorrected.
    """
    others = [label for label in methods if label != tested]
    rows = []
    for summary, condition, over in _degradations(conditions):
        for name in _names(tested, others, CLEAN_KEY, means, traits):
            metric, calibration = metric_and_calibration(name)
            for baseline in ("", *others):
                if not _is_lost([(m, c) for m in (tested, baseline) if m for c in over], name, means, silent):
                    continue
                rows.append(
                    {
                        **dict.fromkeys(_UNDEFINED_DEGRADATION, float("nan")),
                        "summary": summary,
                        "metric": metric,
                        "condition": condition[0],
                        "severity": condition[1],
                        "calibration": calibration,
                        "method": tested,
                        "baseline": baseline,
                        "p_value": 1.0,
                        "test": f"{UNANSWERED}: {summary}, {name}, {condition[0]} {condition[1]}",
                        "n_conditions": len(over),
                        "n_methods": None,
                        "undefined_resamples": 0,
                    }
                )
    return rows


def _degradations(conditions: Sequence[ConditionKey]) -> list[tuple[str, ConditionKey, list[ConditionKey]]]:
    """List what is tested: its kind, its condition, and the conditions that it needs."""
    perturbed = [condition for condition in conditions if condition[0] != CLEAN]
    found = [(DEGRADATION, condition, [CLEAN_KEY, condition]) for condition in perturbed]
    for name in dict.fromkeys(name for name, _ in perturbed):
        of_curve = [key for key in perturbed if key[0] == name and key[1]]
        if len(of_curve) > 1:  # over one severity it is the same test again
            found.append((AREA_DEGRADATION, (name, None), [CLEAN_KEY, *of_curve]))
    return found


def _is_lost(
    keys: Sequence[tuple[str, ConditionKey]],
    name: str,
    means: Mapping[tuple[str, ConditionKey], SeedMeans],
    silent: AbstractSet[tuple[str, ConditionKey]],
) -> bool:
    """Say whether a test of a number is lost because one of its cells is silent, and for no other reason."""
    if not any(key in silent for key in keys) or not all(key in silent or key in means for key in keys):
        return False
    return not any(key in means and np.isnan(means[key].points.get(name, np.nan)) for key in keys)


def _names(
    method: str,
    baselines: Sequence[str],
    condition: ConditionKey,
    means: Mapping[tuple[str, ConditionKey], SeedMeans],
    traits: Mapping[str, MetricTraits],
) -> list[str]:
    """List the numbers that are tested under a condition: those that any method has, and every metric."""
    found = dict.fromkeys(traits)
    for label in (method, *baselines):
        if (label, condition) in means:
            found |= dict.fromkeys(means[label, condition].points)
    return [name for name in found if traits[metric_and_calibration(name)[0]].is_tested]
