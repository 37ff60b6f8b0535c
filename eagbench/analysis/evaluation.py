"""Metrics on scored answers: point values, resamples, subgroups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.metrics.number_names import RECALIBRATIONS, UNCORRECTED, qualified_name
from eagbench.metrics.unparsed import Variant, unparsed_variants
from eagbench.registry.plugins import load_registry
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
    """Describes the scored table of a run with these metrics."""
    return pa.schema([*SCORED_SCHEMA, *(pa.field(name, _EXTRAS) for name in asked_columns(metrics))])


def asked_columns(metrics: Sequence[MetricUse]) -> tuple[str, ...]:
    """Names the further columns that metrics ask for, once each.

    Raises:
        ValueError: A metric asks for one that every run has under another meaning.
    """
    for use in metrics:
        taken = sorted({*use.traits.columns} & {*SCORED_SCHEMA.names})
        if taken:
            raise ValueError(f"the metric '{use.name}' asks for columns that every run has: {', '.join(taken)}")
    return tuple(dict.fromkeys(name for use in metrics for name in use.traits.columns))


def scored_cases(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> ScoredCases:
    """Turns rows of a scored table into arrays. A method cites if any answer has a list; one without counts as empty.

    Args:
        rows: N rows.
        columns: Names of the further columns that metrics ask for; NaN for an answer without such a number.
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
        """Whether every case is another patient, so that cases are independent."""
        patients = self.scored.patient
        return patients is None or len(set(patients)) == len(patients)


def answered(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> Answered:
    """Turns rows of a scored table into arrays, sorted by case id, with every calibration that all of them have."""
    ordered = sorted(rows, key=lambda row: str(row["case_id"]))
    scored = scored_cases(ordered, columns)
    return Answered(scored, {UNCORRECTED: scored.probability, **_recalibrated(ordered)})


def _recalibrated(rows: Sequence[Mapping[str, Any]]) -> dict[str, FloatArray]:
    """The probabilities of each calibration that all rows have, by its name."""
    return {
        name: np.array([row[name] for row in rows], dtype=np.float64)
        for name in RECALIBRATIONS
        if all(row.get(name) is not None for row in rows)
    }


def _weights(column: Any) -> dict[str, float] | None:
    """A value of a column of Parquet's type map, which arrives as pairs."""
    return None if column is None else dict(column)


Function = Callable[[FloatArray], FloatArray]  # from weights (b, N) to values (b,)


def metric_functions(metrics: Sequence[MetricUse], scored: ScoredCases) -> dict[str, Function]:
    """Returns a function for each number: each metric, and each variant of it for unparsed answers."""
    registry = load_registry()
    functions: dict[str, Function] = {}
    variants = unparsed_variants(scored)
    for use in metrics:
        metric = registry.create("metric", use.name, use.params)
        functions[use.name] = partial(metric, scored)
        if use.traits.reads_probability:
            for suffix, variant in variants.items():
                functions[f"{use.name}:{suffix}"] = partial(_of_variant, metric, variant)
    return functions


def _of_variant(metric: Any, variant: Variant, weights: FloatArray) -> FloatArray:
    values: FloatArray = metric(variant.scored, weights[:, variant.columns])
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """What metrics give, by qualified name (`brier`, `brier:parsed_only`, `brier@recalibrated`).

    Attributes:
        points: The value of each number on all cases.
        draws: Each number on each resample of the patients, shape (resamples,).
    """

    points: Mapping[str, float]
    draws: Mapping[str, FloatArray]


def evaluate(rows: Sequence[Mapping[str, Any]], metrics: Sequence[MetricUse], intervals: Mapping[str, Any]) -> Numbers:
    """Computes every metric on all cases and on every resample of the patients; of recalibrated probabilities too.

    Args:
        rows: Rows of a scored table.
        metrics: The metrics.
        intervals: `resamples` and `seed` of the bootstrap.
    """
    functions = _all_functions(rows, metrics)
    ones = np.ones((1, len(rows)))
    points = {name: float(function(ones)[0]) for name, function in functions.items()}
    blocks: dict[str, list[FloatArray]] = {name: [] for name in functions}
    patients = [str(row["patient_id"]) for row in rows]
    for weights in weight_blocks(patients, intervals["resamples"], intervals["seed"]):
        for name, function in functions.items():
            blocks[name].append(function(weights))
    return Numbers(points, {name: np.concatenate(values) for name, values in blocks.items()})


def _all_functions(rows: Sequence[Mapping[str, Any]], metrics: Sequence[MetricUse]) -> dict[str, Function]:
    """Returns a function for each number under each calibration."""
    scored = scored_cases(rows, asked_columns(metrics))
    functions = metric_functions(metrics, scored)
    of_probability = [use for use in metrics if use.traits.reads_probability]
    for calibration, probability in _recalibrated(rows).items():
        found = metric_functions(of_probability, replace(scored, probability=probability))
        functions |= {qualified_name(name, calibration): function for name, function in found.items()}
    return functions


@dataclass(frozen=True, slots=True, eq=False)
class SubgroupNumbers:
    """What a subgroup's cases give.

    Attributes:
        n_cases: Cases in it.
        n_positive: Events among them.
        n_unparsed: Unparsed answers among them.
        points: The value of each number; empty for a subgroup that is too small.
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
    """Every number within each subgroup, on the resamples of all patients, of which it takes its part.

    Args:
        rows: Scored rows of one cell.
        members: The case ids of each subgroup, others than those of `rows` among them.
        metrics: The metrics.
        intervals: The bootstrap.
        minimum: `minimum_cases`, and `minimum_positive` for the rarer of the two classes; below, no number is formed.

    Returns:
        By subgroup with at least one case.
    """
    found: dict[str, SubgroupNumbers] = {}
    functions: dict[str, dict[str, Function]] = {}
    inside: dict[str, IntArray] = {}
    blocks: dict[str, dict[str, list[FloatArray]]] = {}
    for name, cases in members.items():
        at = np.array([i for i, row in enumerate(rows) if row["case_id"] in cases], dtype=np.int64)
        if not len(at):
            continue
        mine = [rows[i] for i in at]
        n_positive = sum(row["label"] for row in mine)
        n_unparsed = sum(not row["parsed"] for row in mine)
        points: dict[str, float] = {}
        if len(at) >= minimum["minimum_cases"] and min(n_positive, len(at) - n_positive) >= minimum["minimum_positive"]:
            inside[name], functions[name] = at, _all_functions(mine, metrics)
            ones = np.ones((1, len(at)))
            points = {metric: float(function(ones)[0]) for metric, function in functions[name].items()}
            blocks[name] = {metric: [] for metric in points}
        found[name] = SubgroupNumbers(len(at), n_positive, n_unparsed, points, {})
    if functions:
        patients = [str(row["patient_id"]) for row in rows]
        for weights in weight_blocks(patients, intervals["resamples"], intervals["seed"]):
            for name, of_subgroup in functions.items():
                part = weights[:, inside[name]]
                for metric, function in of_subgroup.items():
                    blocks[name][metric].append(function(part))
    return {
        name: replace(
            numbers,
            draws={metric: np.concatenate(values) for metric, values in blocks.get(name, {}).items()},
        )
        for name, numbers in found.items()
    }
