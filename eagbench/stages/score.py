"""Stages `score` and `references`: predictions meet labels, by case id, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.metrics.recalibrated import RECALIBRATIONS, UNCORRECTED, qualified_name
from eagbench.metrics.unparsed import unparsed_variants
from eagbench.registry import load_registry
from eagbench.stage import StageRun
from eagbench.stages.recalibration import read_recalibration
from eagbench.stages.salience import read_constant_list
from eagbench.stages.subgroups import SUBGROUPS, read_subgroups
from eagbench.stats.bootstrap import metric_interval, weight_blocks
from eagbench.stats.recalibration import Recalibration
from eagbench.types import FloatArray, HeldOutLabels, IntArray, ScoredCases


def score(run: StageRun) -> None:
    """Scores one method, seed and condition over all folds.

    Writes `scored.parquet` (the predictions with labels, unparsed answers filled in with their fold's training
    prevalence, `prior_corrected` and `recalibrated` for all cases or for none), `values.json` (each metric's value and
    interval) and `resamples.parquet` (each metric on each resample, from which intervals of means and differences are
    made); the same within subgroups, where it is given them.

    Raises:
        ValueError: The predictions do not cover the held-out cases exactly.
    """
    labels: HeldOutLabels = run.inputs["labels"]
    rows = _predictions(run.inputs, "predict")
    teacher = {row["case_id"]: row for row in _tables(run.inputs, "teacher", "teacher.parquet")}
    constant = {
        int(name.removeprefix("constant")): read_constant_list(folder)
        for name, folder in run.inputs.items()
        if name.startswith("constant")
    }
    if sorted(row["case_id"] for row in rows) != sorted(labels.label):
        raise ValueError("the predictions do not cover the held-out cases exactly once")
    is_corrected = _is_corrected(rows)
    curves = {
        int(name.removeprefix("recalibration")): read_recalibration(folder)
        for name, folder in run.inputs.items()
        if name.startswith("recalibration")
    }
    # All folds or none: a column that is recalibrated in part would be neither.
    is_recalibrated = bool(curves) and all(curve.slope is not None for curve in curves.values())
    is_measured = any(row["attention"] is not None for row in rows)
    scored_rows = []
    for row in sorted(rows, key=lambda r: str(r["case_id"])):
        case_id = row["case_id"]
        parsed = row["probability"] is not None
        fold = labels.fold[case_id]
        scored_rows.append(
            {
                "case_id": case_id,
                "patient_id": labels.patient[case_id],
                "fold": fold,
                "probability": row["probability"] if parsed else labels.training_prevalence[fold],
                "prior_corrected": _corrected(row, labels.training_prevalence[fold]) if is_corrected else None,
                "recalibrated": _recalibrated_answer(row, curves[fold], labels.training_prevalence[fold])
                if is_recalibrated
                else None,
                "parsed": parsed,
                "answer_mode": row["answer_mode"],
                "label": labels.label[case_id],
                "cited_features": row["cited_features"],
                "teacher_features": teacher[case_id]["teacher_features"] if teacher else None,
                "constant_features": constant.get(fold),
                "attention": row["attention"],
                "teacher_salience": teacher[case_id]["teacher_salience"] if teacher and is_measured else None,
            }
        )
    _write(scored_rows, run)


def _is_corrected(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the method knows every parsed answer corrected for the prior of training, and has at least one."""
    parsed = [row for row in rows if row["probability"] is not None]
    return bool(parsed) and all(row["prior_corrected"] is not None for row in parsed)


def _corrected(row: Mapping[str, Any], training_prevalence: float) -> float:
    return training_prevalence if row["probability"] is None else float(row["prior_corrected"])


def _recalibrated_answer(row: Mapping[str, Any], curve: Recalibration, training_prevalence: float) -> float:
    if row["probability"] is None:
        return training_prevalence
    return float(curve.apply(np.array(row["probability"], dtype=np.float64)))


def references(run: StageRun) -> None:
    """Scores the probabilities that came with the data (the generator's own, a clinical score), one folder each."""
    labels: HeldOutLabels = run.inputs["labels"]
    for name, probabilities in sorted(labels.reference_probabilities.items()):
        rows = [
            {
                "case_id": case_id,
                "patient_id": labels.patient[case_id],
                "fold": labels.fold[case_id],
                "probability": probabilities[case_id],
                "prior_corrected": None,
                "recalibrated": None,
                "parsed": True,
                "answer_mode": "reference",
                "label": labels.label[case_id],
                "cited_features": None,
                "teacher_features": None,
                "constant_features": None,
                "attention": None,
                "teacher_salience": None,
            }
            for case_id in sorted(labels.label)
        ]
        folder = run.out / name
        folder.mkdir(exist_ok=True)
        _write(rows, run, folder)


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


def _tables(inputs: Mapping[str, Any], prefix: str, file: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name in sorted(inputs):
        if name.startswith(prefix):
            rows.extend(pq.read_table(inputs[name] / file).to_pylist())
    return rows


def _predictions(inputs: Mapping[str, Any], prefix: str) -> list[dict[str, Any]]:
    return _tables(inputs, prefix, "predictions.parquet")


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


def _write_subgroups(rows: Sequence[Mapping[str, Any]], run: StageRun, folder: Path) -> None:
    """Writes `subgroups.json` and `subgroup_resamples.parquet`, whose columns are `subgroup|number`."""
    members = read_subgroups(run.inputs["subgroups"] / SUBGROUPS)
    intervals = run.params["intervals"]
    found = evaluate_subgroups(rows, members, run.params["metrics"], intervals, run.params["subgroups"])
    described, columns = {}, {}
    for name, numbers in found.items():
        metrics: dict[str, dict[str, float]] = {}
        for metric, value in numbers.points.items():
            low, high = metric_interval(
                metric, value, numbers.draws[metric], intervals, numbers.n_cases, numbers.n_positive
            )
            metrics[metric] = {"value": value, "ci_low": low, "ci_high": high}
            columns[f"{name}|{metric}"] = numbers.draws[metric]
        described[name] = {
            "n_cases": numbers.n_cases,
            "n_positive": numbers.n_positive,
            "n_unparsed": numbers.n_unparsed,
            "metrics": metrics,
        }
    (folder / "subgroups.json").write_text(json.dumps(described, indent=1))
    pq.write_table(pa.table(columns), folder / "subgroup_resamples.parquet")


def _write(rows: list[dict[str, Any]], run: StageRun, folder: Path | None = None) -> None:
    folder = folder or run.out
    pq.write_table(pa.Table.from_pylist(rows, schema=SCORED_SCHEMA), folder / "scored.parquet")
    points, resamples = evaluate(rows, run.params["metrics"], run.params["intervals"])
    values: dict[str, Any] = {
        "n_cases": len(rows),
        "n_positive": sum(row["label"] for row in rows),
        "n_unparsed": sum(not row["parsed"] for row in rows),
        "metrics": {},
    }
    for name, point in points.items():
        low, high = metric_interval(
            name, point, resamples[name], run.params["intervals"], values["n_cases"], values["n_positive"]
        )
        values["metrics"][name] = {"value": point, "ci_low": low, "ci_high": high}
    if "subgroups" in run.inputs:
        _write_subgroups(rows, run, folder)
    (folder / "values.json").write_text(json.dumps(values, indent=1))
    pq.write_table(pa.table({name: resamples[name] for name in resamples}), folder / "resamples.parquet")
