"""Metrics on scored answers: point values, resamples, subgroups.

An unparsed answer is scored with the training prevalence. That alone would let a policy that never answers look well
calibrated. So every metric of the probabilities comes with two more numbers: one over the parsed cases only, and one
that counts each unparsed answer as confidently wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_table import Answered, answered, answered_in_order, asked_columns, columns_of
from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.read_only import read_only
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.contracts.rules import ContractError, check_metric
from eagbench.errors import UserError
from eagbench.metrics.number_names import (
    UNCORRECTED,
    metric_and_calibration,
    qualified_name,
    without_unparsed_variant,
)
from eagbench.registry.blame import ComponentError
from eagbench.registry.containment import contained
from eagbench.registry.plugins import answerable, load_registry
from eagbench.stats.bootstrap import can_resample, weight_blocks


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """The scored cases under another treatment of unparsed answers.

    Attributes:
        scored: M cases.
        columns: Their columns in the original weights: `weights[:, columns]` has shape (B, M).
    """

    scored: ScoredCases
    columns: IntArray | slice


def unparsed_variants(scored: ScoredCases) -> Mapping[str, Variant]:
    """Build the two other treatments of unparsed answers.

    Args:
        scored: N cases.

    Returns:
        By the suffix of the metric's name (`auroc:parsed_only`). `parsed_only`: the parsed cases. `worst_case`: all
        cases, an unparsed one with the probability 1 - label. Empty if every answer was parsed.
    """
    if scored.parsed.all():
        return {}
    kept = np.flatnonzero(scored.parsed)
    parsed_only = scored.select(kept)
    worst_case = replace(scored, probability=np.where(scored.parsed, scored.probability, 1.0 - scored.label))
    return {"parsed_only": Variant(parsed_only, kept), "worst_case": Variant(worst_case, slice(None))}


_OWN_METRICS = "eagbench.metrics."


@dataclass(frozen=True, slots=True)
class _Number:
    """How a number is computed.

    Attributes:
        function: From weights (b, N) to values (b,).
        is_resampled: Whether resamples tell how it scatters; see `can_resample`.
    """

    function: Callable[[FloatArray], FloatArray]
    is_resampled: bool

    def on_resamples(self, weights: FloatArray) -> FloatArray:
        """Compute the number on resamples (b, N), shape (b,); NaN if they do not tell how it scatters."""
        return self.function(weights) if self.is_resampled else np.full(len(weights), np.nan)


def _numbers(metrics: Sequence[MetricUse], scored: ScoredCases) -> dict[str, _Number]:
    """Return how to compute each number: each metric, and each variant of it for unparsed answers."""
    found: dict[str, _Number] = {}
    variants = unparsed_variants(scored)
    is_enough = can_resample(scored.label, patients_of(scored))
    are_enough = {suffix: can_resample(v.scored.label, patients_of(v.scored)) for suffix, v in variants.items()}
    for use in metrics:
        metric, of_probability = _Made(use), use.traits.reads_probability
        found[use.name] = _Number(partial(_checked, metric, scored), is_enough or not of_probability)
        if of_probability:
            for suffix, variant in variants.items():
                found[f"{use.name}:{suffix}"] = _Number(partial(_of_variant, metric, variant), are_enough[suffix])
    return found


class _Made:
    """A metric, made when it is first needed: one that can't be made fails like one that can't be computed."""

    def __init__(self, use: MetricUse) -> None:
        self.name, self._params = use.name, use.params
        self._metric: Any = None

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> Any:
        if self._metric is None:
            self._metric = load_registry().create("metric", self.name, self._params)
        return self._metric(scored, weights)

    def contained(self) -> AbstractContextManager[None]:
        """Put back what the metric changes for everybody; the core's own metrics change nothing."""
        component = load_registry().get("metric", self.name).component
        return nullcontext() if component.__module__.startswith(_OWN_METRICS) else contained()


def _checked(metric: _Made, scored: ScoredCases, weights: FloatArray) -> FloatArray:
    with answerable("metric", metric.name), metric.contained():
        values = metric(scored, read_only(weights))
        check_metric(values, len(weights))
        return np.array(values)  # its own: a metric may keep its array and write the next values into it


def _of_variant(metric: _Made, variant: Variant, weights: FloatArray) -> FloatArray:
    return _checked(metric, variant.scored, weights[:, variant.columns])


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """The numbers of metrics, by qualified name (`brier`, `brier:parsed_only`, `brier@recalibrated`).

    Attributes:
        points: The value of each number on all cases.
        draws: Each number on each resample of the patients, shape (resamples,). NaN for the numbers of probabilities
            where too few patients had the event, or too few did not; see `can_resample`.
        failed: Why a metric has no numbers, by its name; the fault is in its plugin.
        intervals: The interval of each number, where it is known already.
    """

    points: Mapping[str, float]
    draws: Mapping[str, FloatArray]
    failed: Mapping[str, str] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def evaluate(rows: Sequence[Mapping[str, Any]], metrics: Sequence[MetricUse], intervals: Mapping[str, Any]) -> Numbers:
    """Compute every metric on the rows of a scored table, as `evaluate_answers`, in the order of case ids."""
    return evaluate_answers(answered(rows, asked_columns(metrics)), metrics, intervals)


def evaluate_answers(answers: Answered, metrics: Sequence[MetricUse], intervals: Mapping[str, Any]) -> Numbers:
    """Compute every metric on all cases and on every resample of the patients, also for recalibrated probabilities.

    Without a single answer that can be read there are no numbers: they would be those of the training prevalence.

    Args:
        answers: A cell's answers, N of them.
        metrics: The metrics.
        intervals: `resamples` and `seed` of the bootstrap.
    """
    scored = answers.scored
    if len(scored.parsed) and not scored.parsed.any():
        return Numbers({}, {})
    evaluation = _Evaluation(answers, metrics)
    for weights in weight_blocks(patients_of(scored), intervals["resamples"], intervals["seed"]):
        evaluation.add(weights)
    return evaluation.numbers()


def patients_of(scored: ScoredCases) -> tuple[str, ...]:
    """Return the patient of each case of a scored table, which always names them."""
    assert scored.patient is not None
    return scored.patient


def answered_nothing(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether there are answers, none of which could be read."""
    return bool(rows) and not any(row["parsed"] for row in rows)


class _Evaluation:
    """Computes numbers block by block; a metric that fails does not stop the others.

    Args:
        answers: The answers, N of them.
        metrics: The metrics.
    """

    def __init__(self, answers: Answered, metrics: Sequence[MetricUse]) -> None:
        self._numbers = _all_numbers(answers, metrics)
        self._failed: dict[str, str] = {}
        # The same view for all metrics, which share what they need of it.
        once = read_only(np.ones((1, len(answers.scored.label))))
        points = self._values(lambda number: number.function(once))
        self._points = {name: float(value[0]) for name, value in points.items()}
        self._blocks: dict[str, list[FloatArray]] = {name: [] for name in self._points}

    def add(self, weights: FloatArray) -> None:
        """Compute every number on a block of resamples, shape (b, N)."""
        for name, values in self._values(lambda number: number.on_resamples(weights)).items():
            self._blocks[name].append(values)

    def _values(self, compute: Callable[[_Number], FloatArray]) -> dict[str, FloatArray]:
        found = {}
        for name, number in self._numbers.items():
            try:
                found[name] = compute(number)
            except (ContractError, ComponentError, UserError) as error:
                self._failed[_plain(name)] = str(error)  # it is named, and fails alone
        # All numbers of a metric go, so that none stands without the others.
        self._numbers = {name: n for name, n in self._numbers.items() if _plain(name) not in self._failed}
        return {name: values for name, values in found.items() if name in self._numbers}

    def numbers(self) -> Numbers:
        """Return the numbers of all blocks."""
        return Numbers(
            {name: self._points[name] for name in self._numbers},
            {name: np.concatenate(self._blocks[name]) for name in self._numbers},
            self._failed,
        )


def _plain(name: str) -> str:
    """Return the metric of a number, without variant and calibration."""
    return without_unparsed_variant(metric_and_calibration(name)[0])


def _all_numbers(answers: Answered, metrics: Sequence[MetricUse]) -> dict[str, _Number]:
    """Return how to compute each number under each calibration."""
    numbers = _numbers(metrics, answers.scored)
    of_probability = [use for use in metrics if use.traits.reads_probability]
    for calibration, probability in answers.probability.items():
        if calibration != UNCORRECTED:
            found = _numbers(of_probability, replace(answers.scored, probability=probability))
            numbers |= {qualified_name(name, calibration): number for name, number in found.items()}
    return numbers


@dataclass(frozen=True, slots=True, eq=False)
class SubgroupNumbers:
    """The numbers of a subgroup.

    Attributes:
        n_cases: Cases in it.
        n_positive: Events among them.
        n_unparsed: Unparsed answers among them.
        points: The value of each number; empty if the subgroup is too small, or none of its answers could be read.
        draws: Each number on each resample, shape (resamples,), as `points`.
        intervals: The interval of each number, where it is known already.
    """

    n_cases: int
    n_positive: int
    n_unparsed: int
    points: Mapping[str, float]
    draws: Mapping[str, FloatArray]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def evaluate_subgroups(
    rows: Sequence[Mapping[str, Any]],
    members: Mapping[str, frozenset[str]],
    metrics: Sequence[MetricUse],
    intervals: Mapping[str, Any],
    minimum: Mapping[str, Any],
) -> dict[str, SubgroupNumbers]:
    """Compute every number within each subgroup.

    Patients are resampled over all cases; each subgroup uses its part of every resample.

    Args:
        rows: Scored rows of one cell.
        members: The case ids of each subgroup; they may include cases that are not in `rows`.
        metrics: The metrics.
        intervals: The bootstrap.
        minimum: `minimum_cases`, and `minimum_positive` for the rarer of the two classes. A smaller subgroup gets no
            numbers, and neither does one without an answer that could be read.

    Returns:
        The numbers of each subgroup that has at least one case.
    """
    found: dict[str, SubgroupNumbers] = {}
    evaluations: dict[str, _Evaluation] = {}
    inside: dict[str, IntArray] = {}
    extras = asked_columns(metrics)
    for name, cases in members.items():
        at = np.array([i for i, row in enumerate(rows) if row["case_id"] in cases], dtype=np.int64)
        if not len(at):
            continue
        mine = [rows[i] for i in at]
        n_positive = sum(row["label"] for row in mine)
        n_unparsed = sum(not row["parsed"] for row in mine)
        rarer = min(n_positive, len(at) - n_positive)
        enough = len(at) >= minimum["minimum_cases"] and rarer >= minimum["minimum_positive"]
        if enough and not answered_nothing(mine):
            answers = answered_in_order(columns_of(mine, extras), extras)
            inside[name], evaluations[name] = at, _Evaluation(answers, metrics)
        found[name] = SubgroupNumbers(len(at), n_positive, n_unparsed, {}, {})
    if evaluations:
        patients = [str(row["patient_id"]) for row in rows]
        for weights in weight_blocks(patients, intervals["resamples"], intervals["seed"]):
            for name, evaluation in evaluations.items():
                evaluation.add(weights[:, inside[name]])
    for name, evaluation in evaluations.items():
        numbers = evaluation.numbers()
        found[name] = replace(found[name], points=numbers.points, draws=numbers.draws)
    return found
