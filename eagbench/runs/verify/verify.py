"""Recompute a run's tables and its leakage proof from the contents of its run folder.

Point values of the core's metrics are recomputed with scikit-learn and NumPy alone, not with eagbench's own metrics;
intervals with eagbench's bootstrap from the stored predictions. Nothing is read from the store.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.analysis.run_tables import ALL_CASES, Row, run_tables
from eagbench.errors import UserError
from eagbench.execution.stage_files import file_hash
from eagbench.runs.recomputed_run import RecomputedRun
from eagbench.runs.schema import (
    COMPARISON_COLUMNS,
    DOMAIN_COLUMNS,
    DOMAINS,
    FORMAT,
    GAP_COLUMNS,
    GAPS,
    RESULT_COLUMNS,
    ROBUSTNESS_COLUMNS,
    read_manifest,
)
from eagbench.runs.verify.findings import TOLERANCE, Findings
from eagbench.runs.verify.patients import check_patients
from eagbench.runs.verify.recalibration import check_recalibration
from eagbench.runs.verify.second_opinion import reference_value
from eagbench.stats.zero import ZERO


def verify(folder: Path) -> Findings:
    """Check files, tables and the separation of patients.

    Raises:
        UserError: The folder is not a run folder, or an earlier eagbench wrote it.
    """
    manifest = read_manifest(folder)
    if manifest.get("format") != FORMAT:
        raise UserError(
            f"this run was made by eagbench {manifest.get('eagbench_version', 'of another version')}, which recorded "
            "other facts for the proof",
            where=str(folder),
            hint="verify it with that version, or run the benchmark again with this one",
        )
    findings = Findings()
    _check_files(folder, manifest, findings)
    if findings.passed:
        tables = run_tables(RecomputedRun(folder, manifest, reference_value).scored())
        _check_results(folder / "results.csv", tables.results, findings)
        differences = "paired differences recomputed"
        _check_rows(folder / "comparisons.csv", COMPARISON_COLUMNS, tables.comparisons, differences, findings)
        summaries = "robustness summaries recomputed"
        _check_rows(folder / "robustness.csv", ROBUSTNESS_COLUMNS, tables.robustness, summaries, findings)
        if manifest["transfer"]["shared"] is not None:
            # The classifier behind a shift is not trained again.
            columns = [column for column in DOMAIN_COLUMNS if not column.startswith("shift")]
            pairs = "pairs of domains recomputed, without shift"
            _check_rows(folder / DOMAINS, columns, tables.domains, pairs, findings)
            _check_rows(folder / GAPS, GAP_COLUMNS, tables.gaps, "gaps between domains recomputed", findings)
        check_recalibration(folder, manifest, findings)
        check_patients(folder, manifest, findings)
    return findings


def _check_files(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            findings.problems.append(f"{name} is missing")
        elif file_hash(path) != expected:
            findings.problems.append(f"{name} was changed after the run")
        findings.count("files unchanged")


def _check_results(path: Path, expected: Sequence[Row], findings: Findings) -> None:
    """Compare results.csv with its recomputed rows, and count the numbers compared."""
    before = len(findings.problems)
    _check_rows(path, RESULT_COLUMNS, expected, "", findings)
    if len(findings.problems) > before:
        return
    n_numbers = sum(row["status"] in {"ok", "undefined"} for row in expected)
    findings.count("point values recomputed", n_numbers)
    findings.count("interval ends recomputed", 2 * n_numbers)
    findings.count("cells without a number", len(expected) - n_numbers)


def _check_rows(path: Path, columns: Sequence[str], expected: Sequence[Row], what: str, findings: Findings) -> None:
    """Compare a table with its recomputed rows, in the same order."""
    with path.open(newline="", encoding="utf-8") as stream:
        stored = list(csv.DictReader(stream))
    if len(stored) != len(expected):
        findings.problems.append(f"{path.name} has {len(stored)} rows, recomputed {len(expected)}")
        return
    for row, again in zip(stored, expected, strict=True):
        for column in columns:
            if not _is_same(row[column], again[column], _percent_of(column, again)):
                place = _place(path.name, again)
                findings.problems.append(f"{place}: {column} is {row[column]!r}, recomputed {again[column]!r}")
        if what:
            findings.count(what)


def _percent_of(column: str, row: Row) -> float | None:
    """Return the value that a column's number is a percentage of; None if it is no percentage."""
    whole = row.get("percent_of")
    is_percentage = column == "relative_percent" or "relative_percent" not in row
    return float(whole) if whole is not None and is_percentage else None


def _is_same(text: str, value: Any, percent_of: float | None = None) -> bool:
    """Compare a stored entry with its recomputed value.

    A percentage may also differ by what `ZERO` makes of it in the value that it is a percentage of: near 0, the last
    digit of that value decides many of the percentage's.
    """
    if not isinstance(value, float):
        return text == ("" if value is None else str(value))
    try:
        stored = float(text or "nan")
    except ValueError:
        return False
    allowed = TOLERANCE
    if percent_of and not np.isnan(value):
        allowed += (100 + abs(value)) * ZERO / abs(percent_of)
    return bool(np.isclose(stored, value, rtol=0, atol=allowed, equal_nan=True))


def _place(file: str, row: Mapping[str, Any]) -> str:
    """Name a row in words, as far as words identify it."""
    against = f" against {row['baseline']}" if row.get("baseline") else ""
    seed = f", seed {row['seed']}" if row.get("seed") is not None else ""
    said = [str(row[c]) for c in ("condition", "severity", "metric", "calibration") if row.get(c) not in (None, "none")]
    pair = f"{row['domain_train']} to {row['domain_eval']}"
    method = f"{row.get('method', '')}{against}{seed}"
    subgroup = "" if row.get("subgroup", ALL_CASES) == ALL_CASES else str(row["subgroup"])
    return ", ".join(filter(None, (file, method, pair, subgroup, " ".join(said))))
