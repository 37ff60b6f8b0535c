"""What perturbations cost each method, and whether methods keep their order: the rows of robustness.csv.

Everything is formed within each joint resample of the patients and only then summarised, so that clean and perturbed
records, methods and seeds are compared on the same patients. Definitions of every summary: docs/robustness.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN, CLEAN_KEY, ConditionKey
from eagbench.analysis.comparisons import SeedMeans
from eagbench.analysis.evaluation import Answered
from eagbench.analysis.multiple_testing import BENJAMINI_HOCHBERG, correct_family
from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray
from eagbench.contracts.traits import MetricTraits
from eagbench.metrics.attention import overlap_of_others, overlaps, patient_codes
from eagbench.metrics.attention_mass import excess_over_others, likeness
from eagbench.metrics.calibration import Brier
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration
from eagbench.stats.bootstrap import weight_blocks
from eagbench.stats.paired import paired_difference
from eagbench.stats.rank_agreement import kendall_tau, spearman
from eagbench.stats.weighted import ratio, weighted_mean

DEGRADATION, PERCENT = "degradation", "degradation_percent"
AREA, AREA_DEGRADATION = "area", "area_degradation"
WORST_CASE, WORST_CASE_DEGRADATION = "worst_case", "worst_case_degradation"
RANK_AGREEMENT = "rank_agreement"
CITATION_OVERLAP, CITATION_OVERLAP_OVER_OTHERS = "citation_overlap", "citation_overlap_over_other_patient"
TEACHER_OVERLAP = "teacher_overlap"
ATTENTION_LIKENESS, ATTENTION_LIKENESS_OVER_OTHERS = "attention_likeness", "attention_likeness_over_other_patient"
ALIGNMENT_AND_CHANGE = "alignment_and_change"
ALL_CONDITIONS, ALL_METHODS = "all", "all"

# With two methods there are two orders, and an agreement of 1 or -1 says next to nothing.
FEWEST_RANKED = 3
Means = Mapping[tuple[str, ConditionKey], SeedMeans]


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One number of robustness.csv with its resamples.

    Attributes:
        summary: What it is, one of the names above.
        metric: Of which metric; empty for what is not a metric's.
        condition: The perturbation, or `all`.
        severity: Its severity, None for a number over several.
        method: The method's label, or `all`.
        value: The number.
        draws: The number on each resample, shape (B,).
        calibration: Of which probabilities.
        baseline: If set, the number is the method's less that of this one.
        n_conditions: Conditions that it is made of, `clean` among them.
        n_methods: Methods that it is made of, for what is not one method's.
    """

    summary: str
    metric: str
    condition: str
    severity: float | None
    method: str
    value: float
    draws: FloatArray
    calibration: str = UNCORRECTED
    baseline: str = ""
    n_conditions: int = 2
    n_methods: int | None = None

    @property
    def key(self) -> tuple[str, str, str, float | None, str]:
        """What the same number of another method has in common with it."""
        return self.summary, self.metric, self.condition, self.severity, self.calibration


def robustness(
    traits: Mapping[str, MetricTraits],
    methods: Sequence[str],
    conditions: Sequence[ConditionKey],
    means: Means,
    intervals: Mapping[str, Any],
    tested: str | None = None,
) -> list[dict[str, Any]]:
    """Every summary in one pair of domains, by kind, condition and method, uncorrected.

    Args:
        traits: What each metric declares; one that has no better end does not degrade.
        methods: Labels in the benchmark's order.
        conditions: `clean` first.
        means: By method and condition, with answers; a failed or inapplicable cell is absent and leaves no row.
        intervals: `resamples`, `level` and `seed` of the bootstrap, as for the resamples in `means`.
        tested: Label of the method whose claim is tested, None if none is: its own degradations, and each of them
            less every other method's.

    Returns:
        The columns of robustness.csv from `summary` to `undefined_resamples`; numbers are floats, NaN where undefined.
        An undefined number leaves no row. `correct_degradations` adds what depends on all rows of a run.
    """
    perturbed = [condition for condition in conditions if condition[0] != CLEAN]
    if not perturbed:
        return []
    found = [*_of_metrics(traits, methods, perturbed, means), *_areas(traits, methods, perturbed, means)]
    differences = list(_differences(found, tested)) if tested is not None else []
    if Brier.name in traits:
        jobs, pairs = _worst_cases(methods, perturbed, means, tested)
        found += _resampled(jobs, means, intervals)
        differences += _resampled(pairs, means, intervals)
    found += _rank_agreements(traits, methods, perturbed, means)
    found += _resampled(_under_stress(methods, perturbed, means), means, intervals)
    rows = [_row(summary, traits, float(intervals["level"]), tested) for summary in (*found, *differences)]
    return [row for row in rows if not np.isnan(row["value"])]


def _row(summary: Summary, traits: Mapping[str, MetricTraits], level: float, tested: str | None) -> dict[str, Any]:
    spread = paired_difference(summary.draws, level)
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
        "n_conditions": summary.n_conditions,
        "n_methods": summary.n_methods,
        "undefined_resamples": spread.undefined,
    }


def correct_degradations(rows: Sequence[dict[str, Any]]) -> None:
    """Adds p-values corrected by Benjamini and Hochberg over all tests of the table, whatever their pair of domains."""
    correct_family(rows, BENJAMINI_HOCHBERG)


# From each metric's own resamples


def _of_metrics(
    traits: Mapping[str, MetricTraits], methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means
) -> Iterator[Summary]:
    """Degradation, absolute and in per cent of the clean value."""
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
                    value=float(_percent(np.array(lost.value), np.array(clean.points[name]))),
                    draws=_percent(lost.draws, clean.draws[name]),
                )


def _percent(part: FloatArray, whole: FloatArray) -> FloatArray:
    return ratio(100 * part, np.abs(whole))


def _areas(
    traits: Mapping[str, MetricTraits], methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means
) -> Iterator[Summary]:
    """The mean of a metric over the severity axis, and how much of the clean value that is short."""
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
    """Area under a curve over severity by the trapezoid rule, divided by the length of the axis.

    Args:
        values: The metric at each severity, shape (..., S).
        severities: Rising from 0, shape (S,).

    Returns:
        Shape (...), on the metric's own scale: its mean over a severity drawn evenly from the axis.
    """
    whole: FloatArray = np.trapezoid(values, severities, axis=-1) / (severities[-1] - severities[0])
    return whole


def _differences(found: Sequence[Summary], tested: str) -> Iterator[Summary]:
    """The tested method's degradation less each other method's."""
    compared = [summary for summary in found if summary.summary in {DEGRADATION, AREA_DEGRADATION}]
    mine = {summary.key: summary for summary in compared if summary.method == tested}
    for other in compared:
        own = mine.get(other.key)
        if other.method != tested and own is not None:
            yield replace(own, baseline=other.method, value=own.value - other.value, draws=own.draws - other.draws)


def _rank_agreements(
    traits: Mapping[str, MetricTraits], methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means
) -> Iterator[Summary]:
    """Kendall's tau between the order of the methods on clean and on perturbed records."""
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


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A summary that is still to be resampled.

    Attributes:
        summary: All but its value and draws.
        columns: One array per seed, the mean over which is the number: of shape (N,) to be averaged over cases, or of
            shape (2, N) to be correlated over them.
    """

    summary: Summary
    columns: tuple[FloatArray, ...]

    def on(self, weights: FloatArray) -> FloatArray:
        """The number for each row of weights (b, N), shape (b,)."""
        return np.mean([_statistic(column, weights) for column in self.columns], axis=0)


def _statistic(column: FloatArray, weights: FloatArray) -> FloatArray:
    return weighted_mean(column, weights) if column.ndim == 1 else spearman(column[0], column[1], weights)


def _job(
    summary: str, columns: Sequence[FloatArray], condition: ConditionKey, method: str, metric: str = "", **more: Any
) -> _Job:
    empty = np.empty(0)
    return _Job(Summary(summary, metric, *condition, method, float("nan"), empty, **more), tuple(columns))


def _resampled(jobs: Sequence[_Job], means: Means, intervals: Mapping[str, Any]) -> list[Summary]:
    """The summaries with their values and their draws, on the same resamples as all other numbers of the run."""
    if not jobs:
        return []
    answers = next(cell.answers for cell in means.values() if cell.answers)
    patients = answers[0].scored.patient
    ones = np.ones((1, len(answers[0].scored.label)))
    assert patients is not None
    draws: list[list[FloatArray]] = [[] for _ in jobs]
    for weights in weight_blocks(patients, int(intervals["resamples"]), int(intervals["seed"])):
        for job, collected in zip(jobs, draws, strict=True):
            collected.append(job.on(weights))
    return [
        replace(job.summary, value=float(job.on(ones)[0]), draws=np.concatenate(collected))
        for job, collected in zip(jobs, draws, strict=True)
    ]


def _worst_cases(
    methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means, tested: str | None
) -> tuple[list[_Job], list[_Job]]:
    """The Brier score if each case met the condition that is worst for it, per method, and the tested one's difference.

    A difference is taken over the conditions that both methods have.
    """
    jobs, pairs = [], []
    whole: ConditionKey = (ALL_CONDITIONS, None)
    for method in methods:
        keys = [CLEAN_KEY, *(key for key in perturbed if (method, key) in means)]
        for calibration in _calibrations(method, keys, means) if len(keys) > 1 else ():
            more: dict[str, Any] = {"metric": Brier.name, "calibration": calibration, "n_conditions": len(keys)}
            worst, lost = _worst_losses(method, keys, calibration, means)
            jobs.append(_job(WORST_CASE, worst, whole, method, **more))
            jobs.append(_job(WORST_CASE_DEGRADATION, lost, whole, method, **more))
        if tested is None or method == tested:
            continue
        shared = [key for key in keys if (tested, key) in means]
        both = [_calibrations(label, shared, means) for label in (tested, method)] if len(shared) > 1 else [[], []]
        for calibration in (name for name in both[0] if name in both[1]):
            (_, mine), (_, theirs) = (_worst_losses(m, shared, calibration, means) for m in (tested, method))
            difference = [np.mean(mine, axis=0) - np.mean(theirs, axis=0)]
            more = {"metric": Brier.name, "calibration": calibration, "n_conditions": len(shared), "baseline": method}
            pairs.append(_job(WORST_CASE_DEGRADATION, difference, whole, tested, **more))
    return jobs, pairs


def _calibrations(method: str, keys: Sequence[ConditionKey], means: Means) -> list[str]:
    """The calibrations that a method's answers have for every seed and condition."""
    cells = [means.get((method, key)) for key in keys]
    seeds = [seed for cell in cells if cell is not None for seed in cell.answers]
    if any(cell is None for cell in cells) or not seeds:
        return []
    return [name for name in seeds[0].probability if all(name in seed.probability for seed in seeds)]


def _worst_losses(
    method: str, keys: Sequence[ConditionKey], calibration: str, means: Means
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Per seed: the largest squared error of each case over conditions, and that less the clean one, each (N,)."""
    worst, lost = [], []
    for seeds in zip(*(means[(method, key)].answers for key in keys), strict=True):
        losses = np.stack([(seed.probability[calibration] - seed.scored.label) ** 2 for seed in seeds])  # (C, N)
        worst.append(losses.max(axis=0))
        lost.append(losses.max(axis=0) - losses[0])
    return worst, lost


def _under_stress(methods: Sequence[str], perturbed: Sequence[ConditionKey], means: Means) -> list[_Job]:
    """Whether citations and attention stay where they were, and whether aligned answers change less."""
    jobs = []
    for condition in perturbed:
        teacher_done = False
        for method in methods:
            clean, changed = means.get((method, CLEAN_KEY)), means.get((method, condition))
            if clean is None or changed is None:
                continue
            pairs = list(zip(clean.answers, changed.answers, strict=True))
            teachers = [_overlap(a.scored.reference, b.scored.reference) for a, b in pairs]
            if pairs and not teacher_done and all(column is not None for column in teachers):
                jobs.append(_job(TEACHER_OVERLAP, _known(teachers), condition, ALL_METHODS))
                teacher_done = True
            columns: dict[str, list[FloatArray | None]] = {
                CITATION_OVERLAP: [_overlap(a.scored.cited, b.scored.cited) for a, b in pairs],
                CITATION_OVERLAP_OVER_OTHERS: [_overlap_over_others(a.scored, b.scored) for a, b in pairs],
                ATTENTION_LIKENESS: [_attention_likeness(a.scored, b.scored) for a, b in pairs],
                ATTENTION_LIKENESS_OVER_OTHERS: [_attention_over_others(a.scored, b.scored) for a, b in pairs],
                ALIGNMENT_AND_CHANGE: [_alignment_and_change(a, b) for a, b in pairs],
            }
            for summary, values in columns.items():
                if pairs and all(value is not None for value in values):
                    jobs.append(_job(summary, _known(values), condition, method))
    return jobs


def _known(columns: Sequence[FloatArray | None]) -> list[FloatArray]:
    return [column for column in columns if column is not None]


Lists = tuple[frozenset[str], ...] | None


def _overlap(first: Lists, second: Lists) -> FloatArray | None:
    """Jaccard overlap per case, None if one side has no lists."""
    if first is None or second is None:
        return None
    return overlaps(first, second)


def _overlap_over_others(clean: ScoredCases, changed: ScoredCases) -> FloatArray | None:
    """The overlap with the case's own clean citations, less the mean overlap of other patients' with these."""
    own = _overlap(clean.cited, changed.cited)
    if own is None or clean.cited is None or changed.cited is None:
        return None
    rounded: FloatArray = np.round(own - overlap_of_others(changed.cited, clean.cited, clean), 12)
    return rounded


def _attention_likeness(clean: ScoredCases, changed: ScoredCases) -> FloatArray | None:
    """1 - Jensen-Shannon distance of the two attentions over all features, 0 for a case without one of them."""
    sides = _attentions(clean, changed)
    return None if sides is None else likeness(*sides)


def _attention_over_others(clean: ScoredCases, changed: ScoredCases) -> FloatArray | None:
    """That likeness, less that of other patients' attention on perturbed records to the case's own on clean ones."""
    sides = _attentions(clean, changed)
    if sides is None:
        return None
    before, after = sides
    shown, measured = (after > 0).astype(np.float64), after.sum(axis=1) > 0
    excess = excess_over_others(after, before, shown, measured, patient_codes(clean))
    return None if np.isnan(excess).any() else excess


def _attentions(clean: ScoredCases, changed: ScoredCases) -> tuple[FloatArray, FloatArray] | None:
    """Both attentions over all features that have any, each (N, F); None where one side has none."""
    if clean.attention is None or changed.attention is None:
        return None
    sides = [[weights or {} for weights in scored.attention or ()] for scored in (clean, changed)]
    names = sorted({name for side in sides for weights in side for name in weights})
    first, second = (np.array([[weights.get(n, 0.0) for n in names] for weights in side]) for side in sides)
    return first, second


def _alignment_and_change(clean: Answered, changed: Answered) -> FloatArray | None:
    """Per case the clean overlap with the expert's list, and how far the answer moved; shape (2, N)."""
    alignment = _overlap(clean.scored.cited, clean.scored.reference)
    if alignment is None:
        return None
    return np.stack([alignment, np.abs(changed.scored.probability - clean.scored.probability)])
