"""Paired differences between the method whose claim is tested and every other one: the rows of comparisons.csv.

Two families of tests. Primary: the benchmark's method against each other method, by the benchmark's metric, on
unchanged records and on the probabilities as answered; corrected by Holm. Grid: the same pairs for every other metric,
condition and calibration; corrected by Benjamini and Hochberg. Each is one family over all pairs of domains of a run.
Beside a difference of AUROCs on independent cases stands DeLong's p-value, as a check of the bootstrap's: it is not
corrected and decides nothing. See docs/comparisons.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN, ConditionKey
from eagbench.analysis.evaluation import Answered, Numbers
from eagbench.analysis.multiple_testing import BENJAMINI_HOCHBERG, HOLM, correct_family, test_key
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.errors import UserError
from eagbench.metrics.discrimination import Auroc
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration, qualified_name
from eagbench.stats.delong import DelongTest, delong_test, mean_components, structural_components
from eagbench.stats.paired import paired_difference

PRIMARY, GRID = "primary", "grid"


@dataclass(frozen=True, slots=True, eq=False)
class SeedMeans:
    """One method's numbers under one condition, as means over its training seeds, by qualified name.

    Attributes:
        points: The mean of the seeds' values.
        draws: The mean of the seeds' values on each resample, shape (B,); the same resamples for every method.
        answers: Each seed's answers, the same cases in the same order for every method and condition.
    """

    points: Mapping[str, float]
    draws: Mapping[str, FloatArray]
    answers: tuple[Answered, ...] = ()


def untested(metric: str, where: str, hint: str) -> UserError:
    """Says that the difference of a metric is no test: it has no better end, or is biased on a finite sample."""
    return UserError(
        f"a difference in '{metric}' can't carry a claim: it has no better end, or is biased by how answers scatter",
        where=where,
        hint=hint,
    )


def seed_means(seeds: Sequence[Numbers], answers: Sequence[Answered] = ()) -> SeedMeans:
    """Averages every number that all seeds have.

    Variants for unparsed answers are left out: over parsed answers alone, two methods are not seen on the same cases.

    Args:
        seeds: What metrics give for each seed.
        answers: Each seed's answers, as far as they are at hand.
    """
    names = [name for name in seeds[0].points if ":" not in name and all(name in seed.points for seed in seeds)]
    return SeedMeans(
        {name: float(np.mean([seed.points[name] for seed in seeds])) for name in names},
        {name: np.mean([seed.draws[name] for seed in seeds], axis=0) for name in names},
        tuple(answers),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose claim is tested, and by which metric.

    Attributes:
        method: The method's label.
        metric: The metric of the primary family.
    """

    method: str
    metric: str


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """Two methods under one condition.

    Attributes:
        method: Label of the method that differences are of.
        baseline: Label of the one that they are taken from.
        condition: The condition of both.
        mine: Numbers of the first.
        other: Numbers of the second, on the same resamples.
    """

    method: str
    baseline: str
    condition: ConditionKey
    mine: SeedMeans
    other: SeedMeans


def compare(
    claim: Claim,
    baselines: Sequence[str],
    conditions: Sequence[ConditionKey],
    means: Mapping[tuple[str, ConditionKey], SeedMeans],
    traits: Mapping[str, MetricTraits],
    level: float,
) -> list[dict[str, Any]]:
    """Forms every paired difference in one pair of domains, the primary family first, then the grid, uncorrected.

    Args:
        claim: Whose claim is tested.
        baselines: Labels of the other methods.
        conditions: The conditions, `clean` first.
        means: By method and condition; a failed or inapplicable cell is absent and leaves no row.
        traits: What each metric declares.
        level: Nominal coverage of the intervals.

    Returns:
        A row per difference, the grid by condition, metric and baseline, with the columns of comparisons.csv that say
        what it is and how large. Numbers are floats, NaN where undefined. A number that either of the two lacks, or
        that is undefined, leaves no row. `correct_families` adds what depends on all rows of a run.
    """
    rows: list[dict[str, Any]] = []
    for condition in conditions:
        mine = means.get((claim.method, condition))
        others = [(name, means.get((name, condition))) for name in baselines]
        by_baseline = [
            paired_rows(Contrast(claim.method, name, condition, mine, other), claim.metric, traits, level)
            for name, other in others
            if mine is not None and other is not None
        ]
        # By metric first, then by baseline, so that a reader finds one metric's rows together.
        names = list(mine.points) if mine is not None else []
        found = [row for of_baseline in by_baseline for row in of_baseline]
        rows.extend(row for name in names for row in found if qualified_name(row["metric"], row["calibration"]) == name)
    rows.sort(key=lambda row: row["family"] != PRIMARY)
    return rows


def paired_rows(
    contrast: Contrast, metric: str, traits: Mapping[str, MetricTraits], level: float
) -> list[dict[str, Any]]:
    """Forms the differences of two methods, one row per number that is defined for both, uncorrected.

    Args:
        contrast: The two methods.
        metric: The metric of the primary family.
        traits: What each metric declares.
        level: Nominal coverage of the intervals.
    """
    rows = []
    mine, other, condition = contrast.mine, contrast.other, contrast.condition
    for name in mine.points:
        if name not in other.points:
            continue
        difference = mine.points[name] - other.points[name]
        if np.isnan(difference):
            continue
        plain, calibration = metric_and_calibration(name)
        is_primary = (plain, calibration, condition[0]) == (metric, UNCORRECTED, CLEAN)
        found = paired_difference(mine.draws[name] - other.draws[name], level)
        analytic = _delong(mine, other, calibration) if plain == Auroc.name else None
        reference = other.points[name]
        rows.append(
            {
                "family": PRIMARY if is_primary else GRID,
                "metric": plain,
                "condition": condition[0],
                "severity": condition[1],
                "calibration": calibration,
                "method": contrast.method,
                "baseline": contrast.baseline,
                "difference": difference,
                "ci_low": found.ci_low,
                "ci_high": found.ci_high,
                "relative_percent": 100 * difference / reference if reference else float("nan"),
                "standard_error": found.standard_error,
                "smallest_detectable": found.smallest_detectable,
                "p_value": found.p_value if traits[plain].is_tested else float("nan"),
                "test": found.test if traits[plain].is_tested else "",
                "undefined_resamples": found.undefined,
                "delong_standard_error": float("nan") if analytic is None else analytic.standard_error,
                "delong_p_value": float("nan") if analytic is None else analytic.p_value,
            }
        )
    return rows


def _delong(first: SeedMeans, second: SeedMeans, calibration: str) -> DelongTest | None:
    """DeLong's test of two means over seeds, None where cases are not independent or no answers are at hand."""
    seeds = (*first.answers, *second.answers)
    if not first.answers or not second.answers or not all(seed.patients_are_cases for seed in seeds):
        return None
    means = [
        mean_components(
            [structural_components(seed.probability[calibration], seed.scored.label) for seed in side.answers]
        )
        for side in (first, second)
    ]
    return delong_test(*means)


def correct_families(rows: Sequence[dict[str, Any]]) -> None:
    """Adds the corrected p-values, family by family, over all pairs of domains.

    A row of the grid that is a test of the primary family once more has its corrected p-value and counts there alone.
    """
    primary, grid = ([row for row in rows if row["family"] == family] for family in (PRIMARY, GRID))
    correct_family(primary, HOLM)
    correct_family(grid, BENJAMINI_HOCHBERG, {test_key(row): row for row in primary if row["test"]})
