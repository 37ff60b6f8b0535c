"""Stages `score` and `references`: predictions meet labels, by case id, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.metrics.unparsed import unparsed_variants
from eagbench.registry import load_registry
from eagbench.stage import StageRun
from eagbench.stats.bootstrap import percentile_interval, weight_blocks
from eagbench.types import FloatArray, HeldOutLabels, ScoredCases


def score(run: StageRun) -> None:
    """Scores one method, seed and condition over all folds.

    Writes `scored.parquet` (the predictions with labels, unparsed answers filled in with their fold's training
    prevalence), `values.json` (each metric's value and interval) and `resamples.parquet` (each metric on each
    resample, from which intervals of means and differences are made).

    Raises:
        ValueError: The predictions do not cover the held-out cases exactly.
    """
    labels: HeldOutLabels = run.inputs["labels"]
    rows = _predictions(run.inputs, "predict")
    teacher = {row["case_id"]: row["teacher_features"] for row in _tables(run.inputs, "teacher", "teacher.parquet")}
    if sorted(row["case_id"] for row in rows) != sorted(labels.label):
        raise ValueError("the predictions do not cover the held-out cases exactly once")
    scored_rows = []
    for row in sorted(rows, key=lambda r: str(r["case_id"])):
        case_id = row["case_id"]
        parsed = row["probability"] is not None
        scored_rows.append(
            {
                "case_id": case_id,
                "patient_id": labels.patient[case_id],
                "fold": labels.fold[case_id],
                "probability": row["probability"] if parsed else labels.training_prevalence[labels.fold[case_id]],
                "parsed": parsed,
                "answer_mode": row["answer_mode"],
                "label": labels.label[case_id],
                "cited_features": row["cited_features"],
                "teacher_features": teacher.get(case_id),
            }
        )
    _write(scored_rows, run)


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
                "parsed": True,
                "answer_mode": "reference",
                "label": labels.label[case_id],
                "cited_features": None,
                "teacher_features": None,
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
        ("parsed", pa.bool_()),
        ("answer_mode", pa.string()),
        ("label", pa.int64()),
        ("cited_features", pa.list_(pa.string())),
        ("teacher_features", pa.list_(pa.string())),
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
    cites = any(row["cited_features"] is not None for row in rows)
    taught = any(row["teacher_features"] is not None for row in rows)
    return ScoredCases(
        probability=np.array([row["probability"] for row in rows], dtype=np.float64),
        label=np.array([row["label"] for row in rows], dtype=np.int64),
        parsed=np.array([row["parsed"] for row in rows], dtype=bool),
        cited=tuple(frozenset(row["cited_features"] or ()) for row in rows) if cites else None,
        teacher=tuple(frozenset(row["teacher_features"] or ()) for row in rows) if taught else None,
    )


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


def evaluate(
    rows: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]], intervals: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Every metric on all cases, and on every resample of the patients.

    Returns:
        Point value per metric, and shape (resamples,) per metric.
    """
    scored = scored_cases(rows)
    functions = metric_functions(metrics, scored)
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
