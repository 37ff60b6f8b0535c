"""Stages `score` and `references`: join predictions with held-out labels by case id. Nothing else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.analysis.evaluation import asked_columns, evaluate, evaluate_subgroups
from eagbench.analysis.metric_uses import MetricUse
from eagbench.contracts.answers import HeldOutLabels
from eagbench.contracts.stages import StageRun
from eagbench.stages.parquet_files import read_parquet
from eagbench.stages.recalibration import read_recalibration
from eagbench.stages.salience import REFERENCE_FILE, read_frequency_baseline
from eagbench.stages.scored_files import write_numbers, write_subgroups
from eagbench.stages.subgroups import SUBGROUPS, read_subgroups
from eagbench.stats.recalibration import Recalibration


def score(run: StageRun) -> None:
    """Score one method, seed and condition over all folds.

    Three files are written, and the same ones within subgroups if there are any:

    - `scored.parquet`: the predictions with labels. Unparsed answers are filled in with their fold's training
      prevalence. `prior_corrected` and `recalibrated` are there for all cases or for none.
    - `values.json`: each metric's value and interval.
    - `resamples.parquet`: each metric on each resample, to make intervals of means and differences.

    Raises:
        ValueError: The predictions do not cover the held-out cases exactly.
    """
    labels: HeldOutLabels = run.inputs["labels"]
    rows = _rows(run.inputs["predict"], "predictions.parquet")
    reference = {row["case_id"]: row for row in _rows(run.inputs.get("reference_salience", ()), REFERENCE_FILE)}
    baselines = [read_frequency_baseline(folder) for folder in run.inputs.get("frequency_baseline", ())]
    if sorted(row["case_id"] for row in rows) != sorted(labels.label):
        raise ValueError("the predictions do not cover the held-out cases exactly once")
    is_corrected = _is_corrected(rows)
    curves = [read_recalibration(folder) for folder in run.inputs.get("recalibration", ())]
    # All folds or none: a column that is recalibrated in part would be neither.
    is_recalibrated = bool(curves) and all(curve.slope is not None for curve in curves)
    metrics = [MetricUse.registered(use["name"], use["params"]) for use in run.params["metrics"]]
    columns = asked_columns(metrics)
    is_measured = any(row["attention"] is not None for row in rows)
    scored_rows = []
    for row in sorted(rows, key=lambda r: str(r["case_id"])):
        case_id = row["case_id"]
        parsed = row["probability"] is not None
        fold = labels.fold[case_id]
        prevalence = labels.training_prevalence[fold]
        extras = dict(row["extras"] or ())
        scored_rows.append(
            {
                "case_id": case_id,
                "patient_id": labels.patient[case_id],
                "fold": fold,
                "probability": row["probability"] if parsed else prevalence,
                "prior_corrected": _corrected(row, prevalence) if is_corrected else None,
                "recalibrated": _recalibrated_answer(row, curves[fold], prevalence) if is_recalibrated else None,
                "parsed": parsed,
                "answer_mode": row["answer_mode"],
                "label": labels.label[case_id],
                "cited_features": row["cited_features"],
                "teacher_features": reference[case_id]["features"] if reference else None,
                "constant_features": baselines[fold] if baselines else None,
                "attention": row["attention"],
                "teacher_salience": reference[case_id]["salience"] if reference and is_measured else None,
                **{name: extras.get(name) for name in columns},
            }
        )
    _write(scored_rows, metrics, run, run.out)


def _rows(folders: Sequence[Path], file: str) -> list[dict[str, Any]]:
    """Read the rows of a table from every fold, in the order of the folds."""
    return [row for folder in folders for row in read_parquet(folder / file).to_pylist()]


def _is_corrected(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether every parsed answer has a prior-corrected one, and there is at least one."""
    parsed = [row for row in rows if row["probability"] is not None]
    return bool(parsed) and all(row["prior_corrected"] is not None for row in parsed)


def _corrected(row: Mapping[str, Any], training_prevalence: float) -> float:
    return training_prevalence if row["probability"] is None else float(row["prior_corrected"])


def _recalibrated_answer(row: Mapping[str, Any], curve: Recalibration, training_prevalence: float) -> float:
    if row["probability"] is None:
        return training_prevalence
    return float(curve.apply(np.array(row["probability"], dtype=np.float64)))


def references(run: StageRun) -> None:
    """Score the probabilities that came with the data (the generator's own, a clinical score), one folder each."""
    labels: HeldOutLabels = run.inputs["labels"]
    metrics = [MetricUse.registered(use["name"], use["params"]) for use in run.params["metrics"]]
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
        _write(rows, metrics, run, folder)


def _write(rows: list[dict[str, Any]], metrics: Sequence[MetricUse], run: StageRun, folder: Path) -> None:
    intervals = run.params["intervals"]
    write_numbers(folder, rows, metrics, evaluate(rows, metrics, intervals), intervals)
    if "subgroups" in run.inputs:
        members = read_subgroups(run.inputs["subgroups"] / SUBGROUPS)
        found = evaluate_subgroups(rows, members, metrics, intervals, run.params["subgroups"])
        write_subgroups(folder, found, intervals)
