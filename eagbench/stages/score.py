"""Stages `score` and `references`: predictions meet labels, by case id, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.metrics.recalibrated import PRIOR_CORRECTED, qualified_name
from eagbench.metrics.unparsed import unparsed_variants
from eagbench.registry import load_registry
from eagbench.stage import StageRun
from eagbench.stages.salience import read_constant_list
from eagbench.stats.bootstrap import percentile_interval, weight_blocks
from eagbench.types import FloatArray, HeldOutLabels, ScoredCases


def score(run: StageRun) -> None:
    """Scores one method, seed and condition over all folds.

    Writes `scored.parquet` (the predictions with labels, unparsed answers filled in with their fold's training
    prevalence, `prior_corrected` for all cases or for none), `values.json` (each metric's value and interval) and
    `resamples.parquet` (each metric on each resample, from which intervals of means and differences are made).

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


def corrected_metric_functions(metrics: Sequence[Mapping[str, Any]], corrected: ScoredCases) -> dict[str, Any]:
    """As `metric_functions`, for the metrics of the probabilities, under the names of their corrected numbers."""
    registry = load_registry()
    read = [use for use in metrics if registry.create("metric", use["name"], use["params"]).reads_probability]
    functions = metric_functions(read, corrected)
    return {qualified_name(name, PRIOR_CORRECTED): function for name, function in functions.items()}


def evaluate(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]], intervals: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Every metric on all cases, and on every resample of the patients; of corrected probabilities too, if there are.

    Returns:
        Point value per metric, and shape (resamples,) per metric.
    """
    scored = scored_cases(rows)
    functions = metric_functions(metrics, scored)
    if all(row["prior_corrected"] is not None for row in rows):
        corrected = np.array([row["prior_corrected"] for row in rows], dtype=np.float64)
        functions |= corrected_metric_functions(metrics, replace(scored, probability=corrected))
    ones = np.ones((1, len(rows)))
    points = {name: float(function(ones)[0]) for name, function in functions.items()}
    blocks: dict[str, list[FloatArray]] = {name: [] for name in functions}
    patients = [str(row["patient_id"]) for row in rows]
    for weights in weight_blocks(patients, intervals["resamples"], intervals["seed"]):
        for name, function in functions.items():
            blocks[name].append(function(weights))
    return points, {name: np.concatenate(values) for name, values in blocks.items()}


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
        low, high = percentile_interval(resamples[name], run.params["intervals"]["level"])
        values["metrics"][name] = {"value": point, "ci_low": low, "ci_high": high}
    (folder / "values.json").write_text(json.dumps(values, indent=1))
    pq.write_table(pa.table({name: resamples[name] for name in resamples}), folder / "resamples.parquet")
