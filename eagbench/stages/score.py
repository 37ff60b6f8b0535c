"""Stages `score` and `references`: join predictions with held-out labels by case id. Nothing else does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from eagbench.analysis.evaluation import evaluate_answers, evaluate_subgroups
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_table import SCORED_SCHEMA, asked_columns, scored_schema
from eagbench.contracts.answers import HeldOutLabels
from eagbench.contracts.citation_controls import CONTROL_COLUMNS
from eagbench.contracts.records import BoolArray, FloatArray
from eagbench.contracts.rereading import REREAD_COLUMNS
from eagbench.contracts.stages import StageRun
from eagbench.stages.parquet_files import array_of, floats, nulls, read_parquet, texts
from eagbench.stages.recalibration import read_recalibration
from eagbench.stages.reread import REREAD_FILE
from eagbench.stages.salience import REFERENCE_FILE, GlobalImportance, read_frequency_baseline
from eagbench.stages.scored_files import answers_of, write_numbers, write_subgroups
from eagbench.stages.subgroups import SUBGROUPS, read_subgroups
from eagbench.stats.list_controls import CitedCases, control_overlaps


def score(run: StageRun) -> None:
    """Score one method, seed and condition over all folds.

    Three files are written, and the same ones within subgroups if there are any:

    - `scored.arrow`: the predictions with labels. Unparsed answers are filled in with their fold's training
      prevalence. `prior_corrected` and `recalibrated` are there for all cases or for none.
    - `values.json`: each metric's value and interval.
    - `resamples.arrow`: each metric on each resample, to make intervals of means and differences.

    Raises:
        ValueError: The predictions do not cover the held-out cases exactly.
    """
    held_out = _held_out(run.inputs["labels"])
    table = _in_order(_table(run.inputs["predict"], "predictions.parquet"), held_out.columns["case_id"])
    metrics = [MetricUse.registered(use["name"], use["params"]) for use in run.params["metrics"]]
    fold, prevalence = held_out.fold, held_out.prevalence
    parsed = ~nulls(table["probability"])
    asked = asked_columns(metrics)
    columns = {
        **held_out.columns,
        "probability": _filled(table["probability"], prevalence),
        "prior_corrected": _prior_corrected(table, parsed, prevalence),
        "recalibrated": _recalibrated(table["probability"], fold, prevalence, run.inputs.get("recalibration", ())),
        "parsed": parsed,
        "answer_mode": table["answer_mode"],
        "cited_features": table["cited_features"],
        "attention": table["attention"],
        **_reference_lists(held_out.case_ids, fold, table["attention"], run),
        **_extras(table["extras"], [name for name in asked if name not in (*REREAD_COLUMNS, *CONTROL_COLUMNS)]),
        **_readings(
            held_out.columns["case_id"],
            [name for name in asked if name in REREAD_COLUMNS],
            run.inputs.get("reread", ()),
        ),
    }
    if set(asked) & set(CONTROL_COLUMNS):
        columns |= _controls(columns, run)
    schema = scored_schema(metrics)
    _write(pa.table([_typed(columns[field.name], field) for field in schema], schema=schema), metrics, run, run.out)


def _table(folders: Sequence[Path], file: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a table, or some of its columns, of every fold, in the order of the folds."""
    return pa.concat_tables([read_parquet(folder / file, columns) for folder in folders])


@dataclass(frozen=True, slots=True, eq=False)
class _HeldOut:
    """What is the same for all cells of a domain, in the order of case ids.

    Attributes:
        case_ids: The held-out cases, N of them.
        fold: Their folds.
        prevalence: The training prevalence of each one's fold, shape (N,).
        columns: The columns of the scored table that say whose answers these are.
    """

    case_ids: list[str]
    fold: list[int]
    prevalence: FloatArray
    columns: dict[str, pa.Array]


@lru_cache(maxsize=8)  # the labels of every cell of a domain are the same object
def _held_out(labels: HeldOutLabels) -> _HeldOut:
    case_ids = sorted(labels.label)
    fold = [labels.fold[case_id] for case_id in case_ids]
    columns = {**_identities(case_ids, labels), "fold": fold}
    return _HeldOut(
        case_ids,
        fold,
        np.array([labels.training_prevalence[k] for k in fold]),
        {name: array_of(values, SCORED_SCHEMA.field(name).type) for name, values in columns.items()},
    )


def _in_order(table: pa.Table, case_ids: pa.Array) -> pa.Table:
    """Sort the predictions by case id.

    Args:
        table: The predictions.
        case_ids: The held-out cases, sorted as Python does.

    Raises:
        ValueError: The predictions do not cover them exactly.
    """
    expected = pa.chunked_array([case_ids])
    if table["case_id"].equals(expected):
        return table
    found = texts(table["case_id"])
    ordered = table.take(sorted(range(len(found)), key=found.__getitem__))
    if not ordered["case_id"].equals(expected):
        raise ValueError("the predictions do not cover the held-out cases exactly once")
    return ordered


def _typed(values: Any, field: pa.Field) -> pa.ChunkedArray | pa.Array:
    """Turn the values of a column into an array of its type."""
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return values if values.type == field.type else values.cast(field.type)
    return array_of(values, field.type)


def _identities(case_ids: Sequence[str], labels: HeldOutLabels) -> dict[str, Any]:
    """Return the columns that say whose answers these are."""
    return {
        "case_id": case_ids,
        "patient_id": [labels.patient[case_id] for case_id in case_ids],
        "label": [labels.label[case_id] for case_id in case_ids],
    }


def _filled(column: pa.ChunkedArray, prevalence: FloatArray) -> FloatArray:
    """Return a column of probabilities, with its fold's training prevalence for an unparsed answer; shape (N,)."""
    if column.null_count == 0:
        return floats(column)
    found: FloatArray = np.where(nulls(column), prevalence, floats(column.fill_null(0.0)))
    return found


def _prior_corrected(table: pa.Table, parsed: BoolArray, prevalence: FloatArray) -> Any:
    """Return the corrected probabilities, shape (N,), if every parsed answer has one and there is at least one."""
    if not parsed.any() or nulls(table["prior_corrected"])[parsed].any():
        return [None] * table.num_rows
    return np.where(parsed, floats(table["prior_corrected"].fill_null(0.0)), prevalence)


def _recalibrated(
    probability: pa.ChunkedArray, fold: Sequence[int], prevalence: FloatArray, folders: Sequence[Path]
) -> Any:
    """Recalibrate the parsed answers of all folds or of none: a column that is one in part would be neither."""
    curves = [read_recalibration(folder) for folder in folders]
    if not curves or any(curve.slope is None for curve in curves):
        return [None] * len(probability)
    answers, found = floats(probability.fill_null(0.5)), prevalence.copy()
    for k, curve in enumerate(curves):
        at = (np.asarray(fold) == k) & ~nulls(probability)
        found[at] = curve.apply(answers[at])
    return found


def _reference_lists(
    case_ids: Sequence[str], fold: Sequence[int], attention: pa.ChunkedArray, run: StageRun
) -> dict[str, Any]:
    """Return what the reference expert attends to in each case, and most often in training; None without an expert."""
    nothing = [None] * len(case_ids)
    found: dict[str, Any] = dict.fromkeys(("teacher_features", "teacher_salience", "constant_features"), nothing)
    if folders := run.inputs.get("reference_salience", ()):
        is_measured = attention.null_count < len(attention)
        # Salience has a number for each feature of each case: only attention is compared with it.
        columns = ["case_id", "features", *(["salience"] if is_measured else [])]
        rows = {row["case_id"]: row for row in _table(folders, REFERENCE_FILE, columns).to_pylist()}
        found["teacher_features"] = [rows[case_id]["features"] for case_id in case_ids]
        if is_measured:
            found["teacher_salience"] = [rows[case_id]["salience"] for case_id in case_ids]
    if folders := run.inputs.get("frequency_baseline", ()):
        baselines = [read_frequency_baseline(folder) for folder in folders]
        found["constant_features"] = [baselines[k] for k in fold]
    return found


def _extras(column: pa.ChunkedArray, asked: Sequence[str]) -> dict[str, list[float | None]]:
    """Return the further numbers that metrics ask for, None for an answer without one."""
    if not asked:
        return {}
    given = [dict(extras or ()) for extras in column.to_pylist()]
    return {name: [extras.get(name) for extras in given] for name in asked}


def _readings(case_ids: pa.Array, asked: Sequence[str], folders: Sequence[Path]) -> dict[str, Any]:
    """Return the answers about changed records that metrics ask for; None where the method was not asked again."""
    if not asked or not folders:
        return dict.fromkeys(asked, [None] * len(case_ids))
    table = _in_order(_table(folders, REREAD_FILE, ["case_id", *asked]), case_ids)
    return {name: table[name] for name in asked}


def _controls(columns: Mapping[str, Any], run: StageRun) -> dict[str, Any]:
    """Return how far lists that were not made for a case overlap with the expert's; None if nothing is cited.

    Each fold is compared with itself: its experts, and so its ranking of the features, are its own.
    """
    case_ids, patients, cited = (columns[name].to_pylist() for name in ("case_id", "patient_id", "cited_features"))
    found = np.full((len(case_ids), len(CONTROL_COLUMNS)), np.nan)
    folders = run.inputs.get("reference_salience", ())
    if not folders or all(names is None for names in cited):
        return dict.fromkeys(CONTROL_COLUMNS, [None] * len(case_ids))
    rows = _table(folders, REFERENCE_FILE, ["case_id", "salience"]).to_pylist()
    measured = {row["case_id"]: [name for name, _ in row["salience"]] for row in rows}
    for k, baseline in enumerate(run.inputs["frequency_baseline"]):
        at = np.flatnonzero(np.asarray(columns["fold"]) == k)
        asked = CitedCases(
            lists=[cited[i] or () for i in at],
            references=[columns["teacher_features"][i] for i in at],
            measured=[measured[case_ids[i]] for i in at],
            risk=columns["probability"][at],
            patient=[patients[i] for i in at],
        )
        ranking = GlobalImportance.read(baseline).ranking
        found[at] = control_overlaps(asked, ranking, len(read_frequency_baseline(baseline)))
    return dict(zip(CONTROL_COLUMNS, found.T, strict=True))


def references(run: StageRun) -> None:
    """Score the probabilities that came with the data (the generator's own, a clinical score), one folder each."""
    labels: HeldOutLabels = run.inputs["labels"]
    held_out = _held_out(labels)
    metrics = [MetricUse.registered(use["name"], use["params"]) for use in run.params["metrics"]]
    case_ids, schema = held_out.case_ids, scored_schema(metrics)
    for name, probabilities in sorted(labels.reference_probabilities.items()):
        columns = {
            **dict.fromkeys(schema.names, [None] * len(case_ids)),
            **held_out.columns,
            "probability": [probabilities[case_id] for case_id in case_ids],
            "parsed": [True] * len(case_ids),
            "answer_mode": ["reference"] * len(case_ids),
        }
        folder = run.out / name
        folder.mkdir(exist_ok=True)
        table = pa.table([_typed(columns[field.name], field) for field in schema], schema=schema)
        _write(table, metrics, run, folder)


def _write(table: pa.Table, metrics: Sequence[MetricUse], run: StageRun, folder: Path) -> None:
    intervals, answers = run.params["intervals"], answers_of(table, metrics)
    write_numbers(folder, table, answers, evaluate_answers(answers, metrics, intervals), intervals)
    if "subgroups" in run.inputs:
        members = read_subgroups(run.inputs["subgroups"] / SUBGROUPS)
        found = evaluate_subgroups(table.to_pylist(), members, metrics, intervals, run.params["subgroups"])
        write_subgroups(folder, found, intervals)
