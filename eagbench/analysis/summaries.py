"""The numbers of robustness.csv, and how those made from single answers are computed on joint resamples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eagbench.analysis.cells import ConditionKey
from eagbench.analysis.comparisons import SeedMeans
from eagbench.analysis.evaluation import patients_of
from eagbench.contracts.records import FloatArray
from eagbench.metrics.number_names import UNCORRECTED
from eagbench.stats.bootstrap import can_resample, weight_blocks
from eagbench.stats.rank_agreement import spearman
from eagbench.stats.weighted import weighted_mean

DEGRADATION, PERCENT = "degradation", "degradation_percent"
AREA, AREA_DEGRADATION = "area", "area_degradation"
WORST_CASE, WORST_CASE_DEGRADATION = "worst_case", "worst_case_degradation"
RANK_AGREEMENT = "rank_agreement"
CITATION_OVERLAP, CITATION_OVERLAP_OVER_OTHERS = "citation_overlap", "citation_overlap_over_other_patient"
TEACHER_OVERLAP = "teacher_overlap"
ATTENTION_LIKENESS, ATTENTION_LIKENESS_OVER_OTHERS = "attention_likeness", "attention_likeness_over_other_patient"
ALIGNMENT_AND_CHANGE = "alignment_and_change"
ALL_CONDITIONS, ALL_METHODS = "all", "all"

Means = Mapping[tuple[str, ConditionKey], SeedMeans]


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """One number of robustness.csv with its resamples.

    Attributes:
        summary: The kind of number, one of the names above.
        metric: The metric; empty for a number that no metric gives.
        condition: The perturbation, or `all`.
        severity: Its severity; None for a number over several.
        method: The method's label, or `all`.
        value: The number.
        draws: The number on each resample, shape (B,).
        calibration: The calibration of the probabilities.
        baseline: If set, the number is the method's minus this other method's.
        n_conditions: Number of conditions behind it, `clean` included.
        n_methods: Number of methods behind it; None for a number of one method.
        percent_of: The value that a percentage is of; None for any other number.
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
    percent_of: float | None = None

    @property
    def key(self) -> tuple[str, str, str, float | None, str]:
        """Identifies the number across methods: two methods' summaries with the same key are comparable."""
        return self.summary, self.metric, self.condition, self.severity, self.calibration


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A summary that has yet to be resampled.

    Attributes:
        summary: The summary without its value and draws.
        columns: One array per seed; the number is the mean over seeds. An array of shape (N,) is averaged over cases,
            one of shape (2, N) is correlated over them.
    """

    summary: Summary
    columns: tuple[FloatArray, ...]

    def on(self, weights: FloatArray) -> FloatArray:
        """Compute the number for each row of weights (b, N), shape (b,)."""
        return np.mean([_statistic(column, weights) for column in self.columns], axis=0)


def _statistic(column: FloatArray, weights: FloatArray) -> FloatArray:
    return weighted_mean(column, weights) if column.ndim == 1 else spearman(column[0], column[1], weights)


def per_case(
    summary: str, columns: Sequence[FloatArray], condition: ConditionKey, method: str, metric: str = "", **more: Any
) -> Job:
    """Describe a number that has yet to be resampled: a mean over cases, or a correlation averaged over seeds."""
    empty = np.empty(0)
    return Job(Summary(summary, metric, *condition, method, float("nan"), empty, **more), tuple(columns))


def resampled(jobs: Sequence[Job], means: Means, intervals: Mapping[str, Any]) -> list[Summary]:
    """Compute the values and draws of summaries, on the same resamples as all other numbers of the run.

    The draws of a metric's numbers are NaN where too few patients had the event, or too few did not: `can_resample`.
    """
    if not jobs:
        return []
    answers = next(cell.answers for cell in means.values() if cell.answers)
    label, patients = answers[0].scored.label, patients_of(answers[0].scored)
    ones = np.ones((1, len(label)))
    is_enough = can_resample(label, patients)
    unknown = np.full(int(intervals["resamples"]), np.nan)
    draws: list[list[FloatArray]] = [[] for _ in jobs]
    for weights in weight_blocks(patients, int(intervals["resamples"]), int(intervals["seed"])):
        for job, collected in zip(jobs, draws, strict=True):
            collected.append(job.on(weights))
    return [
        replace(
            job.summary,
            value=float(job.on(ones)[0]),
            draws=np.concatenate(collected) if is_enough or not job.summary.metric else unknown,
        )
        for job, collected in zip(jobs, draws, strict=True)
    ]
