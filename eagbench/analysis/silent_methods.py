"""Tests of methods that answered nothing that can be read.

They have no numbers, so there is no difference to test. Left out of its family, such a test would make the others look
better: the family would be smaller just because a method failed. It stays there with p = 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class LostTests:
    """The tests that were lost because a method answered nothing, as rows with p = 1, uncorrected.

    Attributes:
        conditions: The conditions, `clean` first.
        means: By method and condition, of those that answered.
        silent: Methods and conditions without an answer that could be read, in one seed or more.
        traits: What each metric declares.
    """

    conditions: Sequence[ConditionKey]
    means: Mapping[tuple[str, ConditionKey], SeedMeans]
    silent: AbstractSet[tuple[str, ConditionKey]]
    traits: Mapping[str, MetricTraits]

    def differences(self, claim: Claim, baselines: Sequence[str]) -> list[dict[str, Any]]:
        """Make a row for each lost test of a difference.

        Args:
            claim: Whose claim is tested.
            baselines: Labels of the other methods.

        Returns:
            Rows as those of `compare`, by condition, metric and baseline. The tests are those of the numbers that the
            other method has; of every metric if neither answered.
        """
        rows = []
        for condition in self.conditions:
            for name in self._names((claim.method, *baselines), condition):
                metric, calibration = metric_and_calibration(name)
                is_primary = (metric, calibration, condition[0]) == (claim.metric, UNCORRECTED, CLEAN)
                for baseline in baselines:
                    if not self._is_lost([(label, condition) for label in (claim.method, baseline)], name):
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

    def degradations(self, tested: str, others: Sequence[str]) -> list[dict[str, Any]]:
        """Make a row for each lost test of a degradation.

        Args:
            tested: The method whose claim is tested.
            others: Labels of the other methods.

        Returns:
            Rows as those of `robustness`.
        """
        rows = []
        for summary, condition, over in _degradations(self.conditions):
            for name in self._names((tested, *others), CLEAN_KEY):
                metric, calibration = metric_and_calibration(name)
                for baseline in ("", *others):
                    if not self._is_lost([(m, c) for m in (tested, baseline) if m for c in over], name):
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

    def _is_lost(self, keys: Sequence[tuple[str, ConditionKey]], name: str) -> bool:
        """Say whether a test of a number is lost because one of its cells is silent, and for no other reason."""
        silent, means = self.silent, self.means
        if not any(key in silent for key in keys) or not all(key in silent or key in means for key in keys):
            return False
        return not any(key in means and np.isnan(means[key].points.get(name, np.nan)) for key in keys)

    def _names(self, labels: Sequence[str], condition: ConditionKey) -> list[str]:
        """List the numbers that are tested under a condition: those that any method has, and every metric."""
        found = dict.fromkeys(self.traits)
        for label in labels:
            if (label, condition) in self.means:
                found |= dict.fromkeys(self.means[label, condition].points)
        return [name for name in found if self.traits[metric_and_calibration(name)[0]].is_tested]


def _degradations(conditions: Sequence[ConditionKey]) -> list[tuple[str, ConditionKey, list[ConditionKey]]]:
    """List what is tested: its kind, its condition, and the conditions that it needs."""
    perturbed = [condition for condition in conditions if condition[0] != CLEAN]
    found = [(DEGRADATION, condition, [CLEAN_KEY, condition]) for condition in perturbed]
    for name in dict.fromkeys(name for name, _ in perturbed):
        of_curve = [key for key in perturbed if key[0] == name and key[1]]
        if len(of_curve) > 1:  # over one severity it is the same test again
            found.append((AREA_DEGRADATION, (name, None), [CLEAN_KEY, *of_curve]))
    return found
