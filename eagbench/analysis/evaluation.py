"""Metrics on scored answers: point values, resamples, subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from eagbench.contracts.answers import ScoredCases
from eagbench.contracts.records import FloatArray, IntArray
from eagbench.metrics.number_names import RECALIBRATIONS, UNCORRECTED, qualified_name
from eagbench.metrics.unparsed import unparsed_variants
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


def scored_cases(rows: Sequence[Mapping[str, Any]]) -> ScoredCases:
    """Rows of a scored table as arrays. A method cites if any answer has a list; one without counts as empty."""

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
        teacher=lists("teacher_features"),
        constant=lists("constant_features"),
        patient=tuple(str(row["patient_id"]) for row in rows),
        attention=tuple(_weights(row["attention"]) for row in rows) if measured else None,
        salience=tuple(_weights(row["teacher_salience"]) or {} for row in rows) if taught else None,
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


def answered(rows: Sequence[Mapping[str, Any]]) -> Answered:
    """Rows of a scored table as arrays, sorted by case id, with every calibration that all of them have."""
    ordered = sorted(rows, key=lambda row: str(row["case_id"]))
    scored = scored_cases(ordered)
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


def metric_functions(metrics: Sequence[Mapping[str, Any]], scored: ScoredCases) -> dict[str, Any]:
    """For each row of results a function from weights (b, N) to values (b,): each metric, and each variant of it."""
    registry = load_registry()
    functions: dict[str, Any] = {}
    variants = unparsed_variants(scored)
    for use in metrics:
        metric = registry.create("metric", use["name"], use["params"])
        functions[use["name"]] = lambda w, m=metric: m(scored, w)
        if metric.reads_probability:
            for suffix, variant in variants.items():
                functions[f"{use['name']}:{suffix}"] = lambda w, m=metric, v=variant: m(v.scored, w[:, v.columns])
    return functions


def recalibrated_metric_functions(
    metrics: Sequence[Mapping[str, Any]], recalibrated: ScoredCases, calibration: str
) -> dict[str, Any]:
    """As `metric_functions`, for the metrics of the probabilities, under the names of their recalibrated numbers."""
    registry = load_registry()
    read = [use for use in metrics if registry.create("metric", use["name"], use["params"]).reads_probability]
    functions = metric_functions(read, recalibrated)
    return {qualified_name(name, calibration): function for name, function in functions.items()}


def evaluate(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]], intervals: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Every metric on all cases, and on every resample of the patients; of recalibrated probabilities too, if there
    are any.

    Returns:
        Point value per metric, and shape (resamples,) per metric.
    """
    functions = _all_functions(rows, metrics)
    ones = np.ones((1, len(rows)))
    points = {name: float(function(ones)[0]) for name, function in functions.items()}
    blocks: dict[str, list[FloatArray]] = {name: [] for name in functions}
    patients = [str(row["patient_id"]) for row in rows]
    for weights in weight_blocks(patients, intervals["resamples"], intervals["seed"]):
        for name, function in functions.items():
            blocks[name].append(function(weights))
    return points, {name: np.concatenate(values) for name, values in blocks.items()}


def _all_functions(rows: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """For each number under each calibration a function from weights (b, N) to values (b,)."""
    scored = scored_cases(rows)
    functions = metric_functions(metrics, scored)
    for calibration, probability in _recalibrated(rows).items():
        functions |= recalibrated_metric_functions(metrics, replace(scored, probability=probability), calibration)
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
    metrics: Sequence[Mapping[str, Any]],
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
    functions: dict[str, dict[str, Any]] = {}
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
