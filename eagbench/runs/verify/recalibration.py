"""Refit recalibrations on the tuning answers in a run folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.runs.copies import TUNING_SCHEMA
from eagbench.runs.predictions import Rows
from eagbench.runs.schema import TUNING_PREDICTIONS
from eagbench.runs.verify.findings import TOLERANCE, DamagedError, Findings
from eagbench.runs.verify.patients import Parts
from eagbench.runs.verify.stage_records import FINISHED, stages_by_fingerprint
from eagbench.runs.verify.table_files import read_table
from eagbench.stats.recalibration import Recalibration, fit_recalibration

_KEYS = ("method", "seed", "domain_train", "fold")
CurveKey = tuple[str, int, str, int]


def read_tuning(folder: Path, manifest: Mapping[str, Any]) -> Rows:
    """Read the answers on which recalibrations were fitted; none if the benchmark recalibrates nothing.

    Raises:
        DamagedError: The file is no such table, or a probability or label is out of range.
    """
    if not manifest["recalibration"]:
        return []
    rows: Rows = read_table(folder / TUNING_PREDICTIONS, TUNING_SCHEMA).to_pylist()
    for i, row in enumerate(rows):
        if not 0 <= row["probability"] <= 1 or row["label"] not in (0, 1):
            raise DamagedError(f"{TUNING_PREDICTIONS}, row {i} has a probability or label out of range")
    return rows


def check_recalibration(
    tuning: Rows, parts: Parts, manifest: Mapping[str, Any], findings: Findings
) -> Mapping[CurveKey, Recalibration]:
    """Check that every curve follows from its tuning answers.

    Returns:
        The curves, fitted again.
    """
    fitted = manifest["recalibration"]
    keys = [tuple(curve[key] for key in _KEYS) for curve in fitted]
    expected = _expected(manifest)
    if keys != expected:
        findings.problems.append(f"manifest.json: {len(keys)} recalibrations, by the stages {len(expected)}, or others")
        return {}
    of_curve: dict[tuple[Any, ...], Rows] = {key: [] for key in keys}
    order = [tuple(row[key] for key in _KEYS) for row in tuning]
    if not set(order) <= set(keys):
        findings.problems.append(f"{TUNING_PREDICTIONS} holds answers of no recalibration of this run")
        return {}
    if order != sorted(order, key=keys.index):
        findings.problems.append(f"{TUNING_PREDICTIONS} is not in the order of the recalibrations")
    for key, row in zip(order, tuning, strict=True):
        of_curve[key].append(row)
    in_parts = {(row["domain"], row["fold"], row["part"], row["case_id"]) for row in parts.rows}
    curves = {}
    for key, curve in zip(keys, fitted, strict=True):
        method, seed, domain, fold = key
        where = f"recalibration of {method}, seed {seed}, fold {fold}"
        mine = of_curve[key]
        if any((domain, fold, "tuning", row["case_id"]) not in in_parts for row in mine):
            findings.problems.append(f"{where}: fitted on other cases than those of the tuning part")
        cases = [row["case_id"] for row in mine]
        if cases != sorted(set(cases)):
            findings.problems.append(f"{where}: its tuning cases are not there once each, in order")
        again = fit_recalibration(
            np.array([row["probability"] for row in mine], dtype=np.float64),
            np.array([row["label"] for row in mine], dtype=np.int64),
        )
        for name, value in asdict(again).items():
            if not _is_same(curve[name], value):
                findings.problems.append(f"{where}: {name} is {curve[name]!r}, recomputed {value!r}")
        curves[key] = again
        findings.count("recalibrations fitted again")
    return curves


def _expected(manifest: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """List the keys of the recalibrations that the run's stages fitted, once each, in the order of the cells."""
    stages = stages_by_fingerprint(manifest)
    found: dict[tuple[Any, ...], None] = {}
    for cell in manifest["cells"]:
        declared = {} if cell["score"] is None else stages[cell["score"]]["inputs"].get("recalibration", {})
        for fold, fingerprint in enumerate(declared.get("stages") or ()):
            if stages[fingerprint]["status"] in FINISHED:
                found[cell["method"], cell["seed"], cell["domain_train"], fold] = None
    return list(found)


def _is_same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return bool(np.isclose(found, expected, rtol=0, atol=TOLERANCE))
    return bool(found == expected)


def check_recalibrated(
    name: str, rows: Sequence[Mapping[str, Any]], curves: Mapping[CurveKey, Recalibration], findings: Findings
) -> None:
    """Check that the recalibrated answers of a cell are those of its curves: all of them, or none without a curve.

    Args:
        name: The file.
        rows: The answers of one method, seed and pair of domains under one condition.
        curves: The curves.
        findings: What was found.
    """
    if not rows:
        return
    method, domain = rows[0]["method"], rows[0]["domain_train"]
    seed = int(rows[0]["seed"]) if rows[0]["seed"].isdigit() else -1
    folds = sorted({row["fold"] for row in rows})
    fitted = {fold: curves[method, seed, domain, fold] for fold in folds if (method, seed, domain, fold) in curves}
    is_fitted = len(fitted) == len(folds) and all(curve.slope is not None for curve in fitted.values())
    if any((row["recalibrated"] is not None) != is_fitted for row in rows):
        findings.problems.append(f"{name}: answers are recalibrated without a curve, or not with one")
        return
    for fold, curve in fitted.items() if is_fitted else ():
        mine = [row for row in rows if row["fold"] == fold and row["parsed"]]
        again = curve.apply(np.array([row["probability"] for row in mine], dtype=np.float64))
        stored = np.array([row["recalibrated"] for row in mine], dtype=np.float64)
        if not np.allclose(again, stored, rtol=0, atol=TOLERANCE):
            where = f"recalibration of {method}, seed {seed}, fold {fold}"
            findings.problems.append(f"{where}: the recalibrated answers are not those of its curve")
