"""What perturbations cost each method, and whether methods keep their order: the rows of robustness.csv.

Every number is computed within each joint resample of the patients and only then summarised. So clean and perturbed
records, methods and seeds are compared on the same patients. docs/robustness.md defines every summary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN, CLEAN_KEY, ConditionKey
from eagbench.analysis.multiple_testing import BENJAMINI_HOCHBERG, correct_family
from eagbench.analysis.stress import under_stress
from eagbench.analysis.summaries import (
    ALL_CONDITIONS,
    ALL_METHODS,
    AREA,
    AREA_DEGRADATION,
    DEGRADATION,
    PERCENT,
    RANK_AGREEMENT,
    WORST_CASE,
    WORST_CASE_DEGRADATION,
    Job,
    Means,
    Summary,
    per_case,
    resampled,
)
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.calibration import Brier
from eagbench.metrics.number_names import metric_and_calibration
from eagbench.stats.paired import PairedDifference, paired_differences
from eagbench.stats.rank_agreement import kendall_tau
from eagbench.stats.zero import percent_of

# With two methods there are two orders, and an agreement of 1 or -1 says next to nothing.
FEWEST_RANKED = 3
_AT_ONCE = 256  # intervals computed together: 2 MB of 1,000 draws each


def robustness(
    traits: Mapping[str, MetricTraits],
    methods: Sequence[str],
    conditions: Sequence[ConditionKey],
    means: Means,
    intervals: Mapping[str, Any],
    tested: str | None = None,
) -> list[dict[str, Any]]:
    """Compute every summary in one pair of domains, by kind, condition and method, uncorrected.

    Args:
        traits: What each metric declares. A metric without a better end does not degrade.
        methods: Labels in the benchmark's order.
        conditions: `clean` first.
        means: By method and condition, with answers. A failed or inapplicable cell is absent and gives no row.
        intervals: `resamples`, `level` and `seed` of the bootstrap, as for the resamples in `means`.
        tested: Label of the method whose claim is tested; None if there is no claim. Tests cover its own
            degradations, and each of them minus every other method's.

    Returns:
        The columns of robustness.csv from `summary` to `undefined_resamples`. Numbers are floats, NaN where undefined.
        A row is left out if its value is undefined. `correct_degradations` adds the columns that depend on all rows
        of a run.
    """
    perturbed = [condition for condition in conditions if condition[0] != CLEAN]
    if not perturbed:
        return []
    found = [*_of_metrics(traits, methods, perturbed, means), *_areas(traits, methods, perturbed, means)]
    differences = list(_differences(found, tested)) if tested is not None else []
    if Brier.name in traits:
        jobs, pairs = _worst_cases(methods, perturbed, means, tested)
        found += resampled(jobs, means, intervals)
        differences += resampled(pairs, means, intervals)
    found += _rank_agreements(traits, methods, perturbed, means)
    found += resampled(under_stress(methods, perturbed, means), means, intervals)
    summaries = [summary for summary in (*found, *differences) if not np.isnan(summary.value)]
    rows: list[dict[str, Any]] = []
    for start in range(0, len(summaries), _AT_ONCE):
        several = summaries[start : start + _AT_ONCE]
        spreads = paired_differences([summary.draws for summary in several], float(intervals["level"]))
        rows += [_row(summary, spread, traits, tested) for summary, spread in zip(several, spreads, strict=True)]
    return rows


def _row(
    summary: Summary, spread: PairedDifference, traits: Mapping[str, MetricTraits], tested: str | None
) -> dict[str, Any]:
    nan = float("nan")
    # Against 0: the tested method's own loss, and the difference between its loss and another one's. A worst case is a
    # loss by construction.
    is_own = summary.method == tested and summary.summary in {DEGRADATION, AREA_DEGRADATION}
    is_test = bool(summary.baseline or is_own) and traits[summary.metric].is_tested
    return {
        "summary": summary.summary,
        "metric": summary.metric,
        "condition": summary.condition,
        "severity": summary.severity,
        "calibration": summary.calibration,
        "method": summary.method,
        "baseline": summary.baseline,
        "value": summary.value,
        "ci_low": spread.ci_low,
        "ci_high": spread.ci_high,
        "standard_error": spread.standard_error,
        "smallest_detectable": spread.smallest_detectable if is_test else nan,
        "p_value": spread.p_value if is_test else nan,
        "test": spread.test if is_test else "",
        "percent_of": summary.percent_of,  # no column: for `verify`
        "n_conditions": summary.n_conditions,
        "n_methods": summary.n_methods,
        "undefined_resamples": spread.undefined,
    }


def correct_degradations(rows: Sequence[dict[str, Any]]) -> None:
    """Add p-values corrected by Benjamini and Hochberg over all tests of the table, across pairs of domains."""
    correct_family(rows, BENJAMINI_HOCHBERG)


# From each metric's own resamples


def _of_metrics(
    traits: Mapping[str, MetricTraits], methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means
) -> Iterator[Summary]:
    """Compute the degradation of each metric, absolute and in per cent of the clean value."""
    for condition in perturbed:
        for method in methods:
            clean, changed = means.get((method, CLEAN_KEY)), means.get((method, condition))
            if clean is None or changed is None:
                continue
            for name in clean.points:
                metric, calibration = metric_and_calibration(name)
                sign = traits[metric].sign
                if not sign or name not in changed.points:
                    continue
                lost = Summary(
                    DEGRADATION,
                    metric,
                    *condition,
                    method,
                    sign * (clean.points[name] - changed.points[name]),
                    sign * (clean.draws[name] - changed.draws[name]),
                    calibration,
                )
                yield lost
                yield replace(
                    lost,
                    summary=PERCENT,
                    percent_of=clean.points[name],
                    value=float(percent_of(np.array(lost.value), np.array(clean.points[name]))),
                    draws=percent_of(lost.draws, clean.draws[name]),
                )


def _areas(
    traits: Mapping[str, MetricTraits], methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means
) -> Iterator[Summary]:
    """Compute the mean of each metric over the severity axis, and how far it falls short of the clean value."""
    for perturbation in dict.fromkeys(name for name, _ in perturbed):
        severities = sorted(s for name, s in perturbed if name == perturbation and s is not None and s > 0)
        if not severities:
            continue
        axis = np.array([0.0, *severities])
        for method in methods:
            cells = [means.get((method, CLEAN_KEY)), *(means.get((method, (perturbation, s))) for s in severities)]
            curve = [cell for cell in cells if cell is not None]
            if len(curve) < len(cells):
                continue  # a curve with a hole has no area
            for name in curve[0].points:
                metric, calibration = metric_and_calibration(name)
                sign = traits[metric].sign
                if not sign or any(name not in cell.points for cell in curve):
                    continue
                value = float(area(np.array([cell.points[name] for cell in curve]), axis))
                draws = area(np.stack([cell.draws[name] for cell in curve], axis=-1), axis)
                whole = Summary(
                    AREA, metric, perturbation, None, method, value, draws, calibration, n_conditions=len(curve)
                )
                yield whole
                yield replace(
                    whole,
                    summary=AREA_DEGRADATION,
                    value=sign * (curve[0].points[name] - value),
                    draws=sign * (curve[0].draws[name] - draws),
                )


def area(values: FloatArray, severities: FloatArray) -> FloatArray:
    """Compute the area under a curve over severity by the trapezoid rule, divided by the length of the axis.

    Args:
        values: The metric at each severity, shape (..., S).
        severities: Rising from 0, shape (S,).

    Returns:
        Shape (...), on the metric's own scale: its mean over a severity drawn uniformly from the axis.
    """
    whole: FloatArray = np.trapezoid(values, severities, axis=-1) / (severities[-1] - severities[0])
    return whole


def _differences(found: Sequence[Summary], tested: str) -> Iterator[Summary]:
    """Compute the tested method's degradation minus each other method's."""
    compared = [summary for summary in found if summary.summary in {DEGRADATION, AREA_DEGRADATION}]
    mine = {summary.key: summary for summary in compared if summary.method == tested}
    for other in compared:
        own = mine.get(other.key)
        if other.method != tested and own is not None:
            yield replace(own, baseline=other.method, value=own.value - other.value, draws=own.draws - other.draws)


def _rank_agreements(
    traits: Mapping[str, MetricTraits], methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means
) -> Iterator[Summary]:
    """Compute Kendall's tau between the order of the methods on clean and on perturbed records."""
    for condition in perturbed:
        for metric, declared in traits.items():
            ranked = []
            for method in methods:
                pair = [means.get((method, key)) for key in (CLEAN_KEY, condition)]
                cells = [cell for cell in pair if cell is not None and not np.isnan(cell.points.get(metric, np.nan))]
                if len(cells) == 2:
                    ranked.append(cells)
            if not declared.sign or len(ranked) < FEWEST_RANKED:
                continue
            points = [np.array([[cells[i].points[metric] for cells in ranked]]) for i in (0, 1)]
            draws = [np.stack([cells[i].draws[metric] for cells in ranked], axis=1) for i in (0, 1)]
            yield Summary(
                RANK_AGREEMENT,
                metric,
                *condition,
                ALL_METHODS,
                float(kendall_tau(*points)[0]),
                kendall_tau(*draws),
                n_methods=len(ranked),
            )


# From single answers


def _worst_cases(
    methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means, tested: str | None
) -> tuple[list[Job], list[Job]]:
    """Describe the Brier score of each method if every case met the condition that is worst for it.

    Returns:
        The jobs of each method, and those of the tested method's difference to each other one. A difference is taken
        over the conditions that both methods have.
    """
    jobs, pairs = [], []
    whole: ConditionKey = (ALL_CONDITIONS, None)
    for method in methods:
        keys = [CLEAN_KEY, *(key for key in perturbed if (method, key) in means)]
        for calibration in _calibrations(method, keys, means) if len(keys) > 1 else ():
            more: dict[str, Any] = {"metric": Brier.name, "calibration": calibration, "n_conditions": len(keys)}
            worst, lost = _worst_losses(method, keys, calibration, means)
            jobs.append(per_case(WORST_CASE, worst, whole, method, **more))
            jobs.append(per_case(WORST_CASE_DEGRADATION, lost, whole, method, **more))
        if tested is None or method == tested:
            continue
        shared = [key for key in keys if (tested, key) in means]
        both = [_calibrations(label, shared, means) for label in (tested, method)] if len(shared) > 1 else [[], []]
        for calibration in (name for name in both[0] if name in both[1]):
            (_, mine), (_, theirs) = (_worst_losses(m, shared, calibration, means) for m in (tested, method))
            difference = [np.mean(mine, axis=0) - np.mean(theirs, axis=0)]
            more = {"metric": Brier.name, "calibration": calibration, "n_conditions": len(shared), "baseline": method}
            pairs.append(per_case(WORST_CASE_DEGRADATION, difference, whole, tested, **more))
    return jobs, pairs


def _calibrations(method: str, keys: Sequence[ConditionKey], means: Means) -> list[str]:
    """List the calibrations that a method's answers have for every seed and condition."""
    cells = [means.get((method, key)) for key in keys]
    seeds = [seed for cell in cells if cell is not None for seed in cell.answers]
    if any(cell is None for cell in cells) or not seeds:
        return []
    return [name for name in seeds[0].probability if all(name in seed.probability for seed in seeds)]


def _worst_losses(
    method: str, keys: Sequence[ConditionKey], calibration: str, means: Means
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Compute the largest squared error of each case over conditions, and its excess over the clean one.

    Returns:
        Both per seed, each of shape (N,).
    """
    worst, lost = [], []
    for seeds in zip(*(means[(method, key)].answers for key in keys), strict=True):
        losses = np.stack([(seed.probability[calibration] - seed.scored.label) ** 2 for seed in seeds])  # (C, N)
        worst.append(losses.max(axis=0))
        lost.append(losses.max(axis=0) - losses[0])
    return worst, lost
