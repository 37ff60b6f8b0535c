"""How the domains of a run differ, and what a change of domain costs: the rows of domains.csv and gaps.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from eagbench.analysis.comparisons import SeedMeans
from eagbench.analysis.multiple_testing import BENJAMINI_HOCHBERG, correct_family
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration
from eagbench.stats.paired import paired_difference

SAME_CASES, OTHER_CASES = "same", "other"
_SEPARATOR = " "
_PAIRING_SEED = 20121  # any number; the order in which unpaired resamples are put side by side


class SharedNames(Protocol):
    """What the records of all domains have in common."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of features."""

    @property
    def static_names(self) -> tuple[str, ...]:
        """Names of static facts."""


@dataclass(frozen=True, slots=True)
class HeldOutCounts:
    """Numbers of held-out cases and events in a domain, over all folds."""

    n_cases: int
    n_positive: int


def held_out_counts(parts: Sequence[Mapping[str, Any]]) -> HeldOutCounts:
    """Count the held-out cases of a split, given its parts (`stages.split.read_parts`)."""
    held_out = [part for part in parts if part["part"] == "held_out"]
    return HeldOutCounts(sum(part["n_cases"] for part in held_out), sum(part["n_positive"] for part in held_out))


def domain_row(
    train: Mapping[str, Any],
    target: Mapping[str, Any],
    shared: SharedNames,
    training_parts: Sequence[Mapping[str, Any]],
    evaluated: HeldOutCounts,
    shift: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Describe what two domains share and how they differ.

    Args:
        train: Facts of the training domain's cohort (`cohort_files.read_facts`).
        target: The same for the evaluated domain.
        shared: What all domains of the transfer share.
        training_parts: The parts of the training domain; its first fold counts.
        evaluated: The held-out cases of the evaluated domain.
        shift: Result of the stage `covariate_shift`; None if one domain holds the other's cases.

    Returns:
        The columns of domains.csv from `task_train` on. A concept that a third domain lacks is not shared, even if
        these two have it: it appears under both `only_train` and `only_eval`.
    """
    kept = frozenset(shared.features)
    only = [[f["name"] for f in facts["features"] if f["name"] not in kept] for facts in (train, target)]
    [part] = [part for part in training_parts if (part["fold"], part["part"]) == (0, "train")]
    return {
        "task_train": train["task"]["name"],
        "n_shared": len(shared.features),
        "n_only_train": len(only[0]),
        "n_only_eval": len(only[1]),
        "shared": _SEPARATOR.join(shared.features),
        "only_train": _SEPARATOR.join(only[0]),
        "only_eval": _SEPARATOR.join(only[1]),
        "shared_static": _SEPARATOR.join(shared.static_names),
        "n_train": part["n_cases"],
        "prevalence_train": part["n_positive"] / part["n_cases"],
        "n_eval": evaluated.n_cases,
        "prevalence_eval": evaluated.n_positive / evaluated.n_cases,
        "shift_auroc": float("nan") if shift is None else float(shift["auroc"]),
        "shift_auroc_values": float("nan") if shift is None else float(shift["auroc_values"]),
    }


def gaps(
    methods: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    holds: Mapping[str, frozenset[str]],
    means: Mapping[tuple[str, str, str], SeedMeans],
    traits: Mapping[str, MetricTraits],
    level: float,
) -> list[dict[str, Any]]:
    """Compute the in-domain minus the out-of-domain value of every metric, on unchanged records.

    The in-domain value is that of the method trained in the evaluated domain. Both values are then on the same
    held-out cases (`cases` is `same`), and their difference on joint resamples of the patients. Without such a model,
    it is the value of the same trained method on the held-out cases of its own domain. These are other cases,
    resampled separately (`other`).

    Args:
        methods: Labels of the methods.
        pairs: (trained in, evaluated in).
        holds: For each domain, the domains whose cases it holds.
        means: Means over seeds by method, training domain and evaluated domain; a failed cell is absent, and one
            without an answer that could be read has no points.
        traits: What each metric declares.
        level: Nominal coverage of the intervals.

    Returns:
        A row per method, metric and pair of different domains. P-values are corrected over all rows by Benjamini and
        Hochberg; gaps that could not be formed because a method answered nothing count with p = 1, without a row.
    """
    rows: list[dict[str, Any]] = []
    n_lost = 0
    for train, target in pairs:
        if target in holds[train]:
            continue
        for method in methods:
            found = means.get((method, train, target))
            reference = _in_domain(train, target, holds, [t for m, t, e in means if (m, e) == (method, target)])
            other = means.get((method, reference, target) if reference is not None else (method, train, train))
            if found is not None and other is not None:
                n_lost += _lost_tests(found, other, traits)
                shared = {"domain_train": train, "domain_eval": target, "method": method}
                of_method = _gaps_of_method(found, other, reference, traits, level)
                rows.extend({**shared, **row, "in_domain": reference or train} for row in of_method)
    correct_family(rows, BENJAMINI_HOCHBERG, n_lost=n_lost)
    return rows


def _lost_tests(found: SeedMeans, other: SeedMeans, traits: Mapping[str, MetricTraits]) -> int:
    """Count the gaps that would be tested if both models had answered."""
    if found.points and other.points:
        return 0
    points = found.points or other.points or dict.fromkeys(traits, 0.0)
    return sum(name in traits and traits[name].is_tested and not np.isnan(value) for name, value in points.items())


def _gaps_of_method(
    found: SeedMeans, other: SeedMeans, reference: str | None, traits: Mapping[str, MetricTraits], level: float
) -> Iterator[dict[str, Any]]:
    """Compute the gap of every metric between the in-domain value and a model's."""
    same = reference is not None
    for name, value in found.points.items():
        if metric_and_calibration(name)[1] != UNCORRECTED or name not in other.points:
            continue
        gap = other.points[name] - value
        if np.isnan(gap):
            continue
        draws = other.draws[name] if same else _apart(other.draws[name])
        resampled = paired_difference(draws - found.draws[name], level)
        is_tested = traits[name].is_tested
        yield {
            "metric": name,
            "cases": SAME_CASES if same else OTHER_CASES,
            "in_domain_value": other.points[name],
            "value": value,
            "gap": gap,
            "ci_low": resampled.ci_low,
            "ci_high": resampled.ci_high,
            "standard_error": resampled.standard_error,
            "smallest_detectable": resampled.smallest_detectable,
            "p_value": resampled.p_value if is_tested else float("nan"),
            "test": resampled.test if is_tested else "",
            "undefined_resamples": resampled.undefined,
        }


def _in_domain(train: str, target: str, holds: Mapping[str, frozenset[str]], trained: Sequence[str]) -> str | None:
    """Find the training domain of an in-domain model for the target.

    A model of as many domains (one or several) as the other is preferred.

    Returns:
        The training domain; None if no such model exists.
    """
    at_home = [domain for domain in trained if target in holds[domain]]
    is_pooled = len(holds[train]) > 1
    return min(at_home, key=lambda domain: (len(holds[domain]) > 1) != is_pooled, default=None)


def _apart(draws: FloatArray) -> FloatArray:
    """Shuffle resamples, so that two sets of patients drawn with the same seed are independent."""
    return draws[np.random.default_rng(_PAIRING_SEED).permutation(len(draws))]
