"""Metrics on scored answers: point values, resamples, subgroups.

An unparsed answer is scored with the training prevalence. That alone would let a policy that never answers look well
calibrated. So every metric of the probabilities comes with two more numbers: one over the parsed cases only, and one
that counts each unparsed answer as confidently wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.read_only import read_only
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.contracts.rules import ContractError, check_metric
from eagbench.errors import UserError
from eagbench.metrics.number_names import (
    RECALIBRATIONS,
    UNCORRECTED,
    metric_and_calibration,
    qualified_name,
    without_unparsed_variant,
)
from eagbench.registry.blame import ComponentError
from eagbench.registry.containment import contained
from eagbench.registry.plugins import answerable, load_registry
from eagbench.stats.bootstrap import weight_blocks

SCORED_SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("patient_id", pa.string()),
        ("fold", pa.int64()),
        ("probability", pa.float64()),
        ("prior_corrected", pa.float64()),
        ("recalibrated", pa.float64()),
        ("parsed", pa.bool_()),
        ("answer_mode", pa.string()),
        ("label", pa.int64()),
        ("cited_features", pa.list_(pa.string())),
        ("teacher_features", pa.list_(pa.string())),
        ("constant_features", pa.list_(pa.string())),
        ("attention", pa.map_(pa.string(), pa.float64())),
        ("teacher_salience", pa.map_(pa.string(), pa.float64())),
    ]
)


# What stands in the table beside the columns of every run, because a metric asks for it (`MetricTraits.columns`).
_EXTRAS = pa.float64()


def scored_schema(metrics: Sequence[MetricUse]) -> pa.Schema:
    """Build the schema of a run's scored table with these metrics."""
    return pa.schema([*SCORED_SCHEMA, *(pa.field(name, _EXTRAS) for name in asked_columns(metrics))])


def asked_columns(metrics: Sequence[MetricUse]) -> tuple[str, ...]:
    """List the extra columns that metrics ask for, once each.

    Raises:
        ValueError: A metric asks for a column that every run has with another meaning.
    """
    for use in metrics:
        taken = sorted({*use.traits.columns} & {*SCORED_SCHEMA.names})
        if taken:
            raise ValueError(f"the metric '{use.name}' asks for columns that every run has: {', '.join(taken)}")
    return tuple(dict.fromkeys(name for use in metrics for name in use.traits.columns))


def scored_cases(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> ScoredCases:
    """Turn rows of a scored table into arrays.

    A method cites if any of its answers has a list; an answer without one then counts as an empty list.

    Args:
        rows: N rows.
        columns: Names of the extra columns that metrics ask for; NaN for an answer without such a number.
    """

    def numbers(column: str) -> FloatArray:
        values = (row.get(column) for row in rows)
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)

    def lists(column: str) -> tuple[frozenset[str], ...] | None:
        if all(row[column] is None for row in rows):
            return None
        return tuple(frozenset(row[column] or ()) for row in rows)

    measured = any(row["attention"] is not None for row in rows)
    taught = any(row["teacher_salience"] is not None for row in rows)
    return ScoredCases(
        probability=np.array([row["probability"] for row in rows], dtype=np.float64),
        label=np.array([row["label"] for row in rows], dtype=np.int64),
        parsed=np.array([row["parsed"] for row in rows], dtype=bool),
        cited=lists("cited_features"),
        reference=lists("teacher_features"),
        baseline=lists("constant_features"),
        patient=tuple(str(row["patient_id"]) for row in rows),
        attention=tuple(_weights(row["attention"]) for row in rows) if measured else None,
        salience=tuple(_weights(row["teacher_salience"]) or {} for row in rows) if taught else None,
        columns={name: numbers(name) for name in columns},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """One cell's answers with their labels, in the order of case ids.

    Attributes:
        scored: The cases, with the probabilities as answered.
        probability: The scored probability of each case by calibration, `none` among them, each of shape (N,).
    """

    scored: ScoredCases
    probability: Mapping[str, FloatArray]

    @property
    def patients_are_cases(self) -> bool:
        """Whether every case has a different patient, so that cases are independent."""
        patients = self.scored.patient
        return patients is None or len(set(patients)) == len(patients)


def answered(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> Answered:
    """Turn rows of a scored table into arrays, sorted by case id, with every calibration that all rows have."""
    ordered = sorted(rows, key=lambda row: str(row["case_id"]))
    scored = scored_cases(ordered, columns)
    return Answered(scored, {UNCORRECTED: scored.probability, **_recalibrated(ordered)})


def _recalibrated(rows: Sequence[Mapping[str, Any]]) -> dict[str, FloatArray]:
    """Collect the probabilities of each calibration that all rows have, by its name."""
    return {
        name: np.array([row[name] for row in rows], dtype=np.float64)
        for name in RECALIBRATIONS
        if all(row.get(name) is not None for row in rows)
    }


def _weights(column: Any) -> dict[str, float] | None:
    """Turn a value of a Parquet map column, which arrives as pairs, into a dict."""
    return None if column is None else dict(column)


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


Function = Callable[[FloatArray], FloatArray]  # from weights (b, N) to values (b,)


def metric_functions(metrics: Sequence[MetricUse], scored: ScoredCases) -> dict[str, Function]:
    """Return a function for each number: each metric, and each variant of it for unparsed answers."""
    functions: dict[str, Function] = {}
    variants = unparsed_variants(scored)
    for use in metrics:
        metric = _Made(use)
        functions[use.name] = partial(_checked, metric, scored)
        if use.traits.reads_probability:
            for suffix, variant in variants.items():
                functions[f"{use.name}:{suffix}"] = partial(_of_variant, metric, variant)
    return functions


class _Made:
    """A metric, made when it is first needed: one that can't be made fails like one that can't be computed."""

    def __init__(self, use: MetricUse) -> None:
        self.name, self._params = use.name, use.params
        self._metric: Any = None

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> Any:
        if self._metric is None:
            self._metric = load_registry().create("metric", self.name, self._params)
        return self._metric(scored, weights)


def _checked(metric: _Made, scored: ScoredCases, weights: FloatArray) -> FloatArray:
    with answerable("metric", metric.name), contained():
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
        draws: Each number on each resample of the patients, shape (resamples,).
        failed: Why a metric has no numbers, by its name; the fault is in its plugin.
    """

    points: Mapping[str, float]
    draws: Mapping[str, FloatArray]
    failed: Mapping[str, str] = field(default_factory=dict)


def evaluate(rows: Sequence[Mapping[str, Any]], metrics: Sequence[MetricUse], intervals: Mapping[str, Any]) -> Numbers:
    """Compute every metric on all cases and on every resample of the patients, also for recalibrated probabilities.

    Without a single answer that can be read there are no numbers: they would be those of the training prevalence.

    Args:
        rows: Rows of a scored table.
        metrics: The metrics.
        intervals: `resamples` and `seed` of the bootstrap.
    """
    if answered_nothing(rows):
        return Numbers({}, {})
    evaluation = _Evaluation(_all_functions(rows, metrics), len(rows))
    patients = [str(row["patient_id"]) for row in rows]
    for weights in weight_blocks(patients, intervals["resamples"], intervals["seed"]):
        evaluation.add(weights)
    return evaluation.numbers()


def answered_nothing(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether there are answers, none of which could be read."""
    return bool(rows) and not any(row["parsed"] for row in rows)


class _Evaluation:
    """Computes numbers block by block; a metric that fails does not stop the others.

    Args:
        functions: A function for each number.
        n_rows: The number of cases, N.
    """

    def __init__(self, functions: Mapping[str, Function], n_rows: int) -> None:
        self._functions = dict(functions)
        self._failed: dict[str, str] = {}
        self._points = {name: float(value[0]) for name, value in self._values(np.ones((1, n_rows))).items()}
        self._blocks: dict[str, list[FloatArray]] = {name: [] for name in self._points}

    def add(self, weights: FloatArray) -> None:
        """Compute every number on a block of resamples, shape (b, N)."""
        for name, values in self._values(weights).items():
            self._blocks[name].append(values)

    def _values(self, weights: FloatArray) -> dict[str, FloatArray]:
        found = {}
        for name, function in self._functions.items():
            try:
                found[name] = function(weights)
            except (ContractError, ComponentError, UserError) as error:
                self._failed[_plain(name)] = str(error)  # it is named, and fails alone
        # All numbers of a metric go, so that none stands without the others.
        self._functions = {name: f for name, f in self._functions.items() if _plain(name) not in self._failed}
        return {name: values for name, values in found.items() if name in self._functions}

    def numbers(self) -> Numbers:
        """Return the numbers of all blocks."""
        return Numbers(
            {name: self._points[name] for name in self._functions},
            {name: np.concatenate(self._blocks[name]) for name in self._functions},
            self._failed,
        )


def _plain(name: str) -> str:
    """Return the metric of a number, without variant and calibration."""
    return without_unparsed_variant(metric_and_calibration(name)[0])


def _all_functions(rows: Sequence[Mapping[str, Any]], metrics: Sequence[MetricUse]) -> dict[str, Function]:
    """Return a function for each number under each calibration."""
    scored = scored_cases(rows, asked_columns(metrics))
    functions = metric_functions(metrics, scored)
    of_probability = [use for use in metrics if use.traits.reads_probability]
    for calibration, probability in _recalibrated(rows).items():
        found = metric_functions(of_probability, replace(scored, probability=probability))
        functions |= {qualified_name(name, calibration): function for name, function in found.items()}
    return functions


@dataclass(frozen=True, slots=True, eq=False)
class SubgroupNumbers:
    """The numbers of a subgroup.

    Attributes:
        n_cases: Cases in it.
        n_positive: Events among them.
        n_unparsed: Unparsed answers among them.
        points: The value of each number; empty if the subgroup is too small, or none of its answers could be read.
        draws: Each number on each resample, shape (resamples,), as `points`.
    """

    n_cases: int
    n_positive: int
    n_unparsed: int
    points: Mapping[str, float]
    draws: Mapping[str, FloatArray]


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
            inside[name], evaluations[name] = at, _Evaluation(_all_functions(mine, metrics), len(at))
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
