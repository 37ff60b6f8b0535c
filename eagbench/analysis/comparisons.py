"""Paired differences between the method whose claim is tested and every other one: the rows of comparisons.csv.

There are two families of tests, each over all pairs of domains of a run:

- Primary: the benchmark's method against each other method, by the benchmark's metric, on unchanged records and on
  the probabilities as answered. Corrected by Holm.
- Grid: the same pairs of methods for every other metric, condition and calibration. Corrected by Benjamini and
  Hochberg.

A difference of AUROCs on independent cases also has DeLong's p-value, as a check of the bootstrap's. It is not
corrected and decides nothing. See docs/comparisons.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN, ConditionKey
from eagbench.analysis.evaluation import Numbers, patients_of
from eagbench.analysis.multiple_testing import BENJAMINI_HOCHBERG, HOLM, correct_family, test_key
from eagbench.analysis.scored_table import Answered
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.errors import UserError
from eagbench.metrics.discrimination import Auroc
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration, qualified_name
from eagbench.stats.bootstrap import can_resample
from eagbench.stats.delong import (
    DelongTest,
    StructuralComponents,
    delong_test,
    mean_components,
    structural_components,
)
from eagbench.stats.paired import paired_differences
from eagbench.stats.zero import ZERO

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
    """Build the error for a claim by a metric whose differences can't be tested.

    Such a metric has no better end, or is biased on a finite sample.
    """
    return UserError(
        f"a difference in '{metric}' can't carry a claim: it has no better end, or is biased by how answers scatter",
        where=where,
        hint=hint,
    )


def seed_means(seeds: Sequence[Numbers], answers: Sequence[Answered] = ()) -> SeedMeans:
    """Average every number that all seeds have.

    Variants for unparsed answers are left out: over parsed answers alone, two methods are not seen on the same cases.

    Args:
        seeds: The metrics' numbers for each seed.
        answers: Each seed's answers, where available.
    """
    names = [name for name in seeds[0].points if ":" not in name and all(name in seed.points for seed in seeds)]
    return SeedMeans(
        {name: float(np.mean([seed.points[name] for seed in seeds])) for name in names},
        {name: np.mean([seed.draws[name] for seed in seeds], axis=0) for name in names},
        tuple(answers),
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """The method whose claim is tested, and the metric that tests it.

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
        method: Label of the method under test; differences are its numbers minus the baseline's.
        baseline: Label of the other method.
        condition: The condition of both.
        mine: Numbers of the method.
        other: Numbers of the baseline, on the same resamples.
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
    """Compute every paired difference in one pair of domains, uncorrected.

    The primary family comes first, then the grid.

    Args:
        claim: Whose claim is tested.
        baselines: Labels of the other methods.
        conditions: The conditions, `clean` first.
        means: By method and condition. A failed or inapplicable cell is absent and gives no row.
        traits: What each metric declares.
        level: Nominal coverage of the intervals.

    Returns:
        A row per difference, the grid by condition, metric and baseline. Each has the columns of comparisons.csv that
        say what the difference is and how large. Numbers are floats, NaN where undefined. A number that is undefined,
        or that either method lacks, gives no row. `correct_families` adds the columns that depend on all rows of a
        run.
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
    """Compute the differences of two methods, one row per number that is defined for both, uncorrected.

    Args:
        contrast: The two methods.
        metric: The metric of the primary family.
        traits: What each metric declares.
        level: Nominal coverage of the intervals.
    """
    rows = []
    mine, other, condition = contrast.mine, contrast.other, contrast.condition
    both = {name: mine.points[name] - other.points[name] for name in mine.points if name in other.points}
    differences = {name: difference for name, difference in both.items() if not np.isnan(difference)}
    spreads = paired_differences([mine.draws[name] - other.draws[name] for name in differences], level)
    for (name, difference), found in zip(differences.items(), spreads, strict=True):
        plain, calibration = metric_and_calibration(name)
        is_primary = (plain, calibration, condition[0]) == (metric, UNCORRECTED, CLEAN)
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
                "relative_percent": 100 * difference / reference if abs(reference) > ZERO else float("nan"),
                "percent_of": reference,  # no column: for `verify`
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
    """Run DeLong's test of two means over seeds.

    Returns:
        The test; None if cases are not independent, answers are missing, or too few patients had the event, or too few
        did not: it then finds differences as readily as resamples do (see `can_resample`).
    """
    seeds = (*first.answers, *second.answers)
    if not first.answers or not second.answers or not all(seed.patients_are_cases for seed in seeds):
        return None
    scored = seeds[0].scored
    if not can_resample(scored.label, patients_of(scored)):
        return None
    return delong_test(_components(first, calibration), _components(second, calibration))


@lru_cache(maxsize=2)  # of the method under test, for each other one
def _components(side: SeedMeans, calibration: str) -> StructuralComponents:
    return mean_components(
        [structural_components(seed.probability[calibration], seed.scored.label) for seed in side.answers]
    )


def correct_families(rows: Sequence[dict[str, Any]]) -> None:
    """Add the corrected p-values, family by family, over all pairs of domains.

    A row of the grid may repeat a test of the primary family. It then takes the corrected p-value from there, and
    does not count in the grid.
    """
    primary, grid = ([row for row in rows if row["family"] == family] for family in (PRIMARY, GRID))
    correct_family(primary, HOLM)
    correct_family(grid, BENJAMINI_HOCHBERG, {test_key(row): row for row in primary if row["test"]})
