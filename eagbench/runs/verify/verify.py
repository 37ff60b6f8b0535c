"""Recompute a run's tables and its leakage proof from the contents of its run folder, and follow it into the store.

Point values of the core's metrics are recomputed with scikit-learn and NumPy alone, not with eagbench's own metrics;
intervals with eagbench's bootstrap from the stored predictions. What the store holds of the run's stages proves what
the predictions themselves can't: that they are those of the stages. docs/design.md says what is proved without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.analysis.cells import CellKey
from eagbench.analysis.run_tables import RunTables, run_tables
from eagbench.errors import UserError
from eagbench.runs.recomputed_run import RecomputedRun
from eagbench.runs.schema import (
    COMPARISON_COLUMNS,
    DOMAIN_COLUMNS,
    DOMAINS,
    FORMAT,
    GAP_COLUMNS,
    GAPS,
    OWN_HASH,
    RESULT_COLUMNS,
    ROBUSTNESS_COLUMNS,
    SUBGROUPS,
    own_hash,
    read_manifest,
)
from eagbench.runs.verify.answers import CheckedAnswers, check_counts
from eagbench.runs.verify.asked import check_asked
from eagbench.runs.verify.files import check_files
from eagbench.runs.verify.findings import DamagedError, Findings
from eagbench.runs.verify.manifest_shape import shape_problems
from eagbench.runs.verify.patients import Parts, check_patients
from eagbench.runs.verify.recalibration import check_recalibration, read_tuning
from eagbench.runs.verify.second_opinion import reference_value
from eagbench.runs.verify.stage_records import CELL, check_grid, check_log, check_stages, stages_by_fingerprint
from eagbench.runs.verify.stored_content import StoredContent, stored_shifts
from eagbench.runs.verify.stored_requests import StoredRequests
from eagbench.runs.verify.stored_stages import StoreComparison, read_stages
from eagbench.runs.verify.table_files import read_table, read_text
from eagbench.runs.verify.tables import check_results, check_rows

# A proof of nothing is no proof: of each of these kinds there is at least one in every run that has results.
_REQUIRED = (
    "files unchanged", "stages in order", "cells of the grid with their stages", "lines of the log", "costs of stages",
    "answers about the held-out cases", "folds with disjoint patients", "patient sets of stages checked",
    "predictions with unseen patients",
)  # fmt: skip
_SUBGROUPS_SCHEMA = pa.schema([("domain_eval", pa.string()), ("case_id", pa.string()), ("subgroup", pa.string())])


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
    if manifest.get(OWN_HASH) != own_hash(manifest):
        findings.problems.append("manifest.json was changed after the run")
    known = len(findings.problems)
    findings.problems += shape_problems(read_text(folder / "manifest.json"))
    for check in (check_grid, check_stages, check_asked):
        if len(findings.problems) == known:  # each step relies on those before it
            check(manifest, findings)
    if len(findings.problems) == known:
        check_files(folder, manifest, findings)
    if len(findings.problems) == known:
        _check_contents(folder, manifest, findings)
        for what in _REQUIRED:
            findings.require(what)
    return findings


@contextmanager
def _damage_of(findings: Findings) -> Iterator[None]:
    """Make a problem of a file that can't be read, and go on with what does not need it."""
    try:
        yield
    except DamagedError as error:
        findings.problems.append(str(error))


def _check_contents(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check what the files hold: by themselves, against each other, and against the store."""
    stored = read_stages(manifest, findings)
    with _damage_of(findings):
        check_log(folder, manifest, findings)
    with _damage_of(findings):
        parts = Parts.read(folder, manifest)
        check_patients(parts, manifest, findings)
        _check_subgroups(folder, manifest, parts)
        tuning = read_tuning(folder, manifest)
        answers = CheckedAnswers(manifest, parts, findings)
        answers.learn(tuning)
        checked = replace(answers, curves=check_recalibration(tuning, parts, manifest, findings))
        shifts = stored_shifts(manifest, stored)
        run = RecomputedRun(folder, manifest, reference_value, read=checked, shifts=shifts or {})
        _check_tables(folder, manifest, run_tables(run.scored()), shifts is not None, findings)
        _check_failed_metrics(manifest, run.failed_metrics, findings)
        check_counts(checked, stored.folders, findings)
    with _damage_of(findings):
        against = StoreComparison(stored, findings)
        StoredRequests(manifest, against).check()
        StoredContent(folder, manifest, against).check()


def _check_subgroups(folder: Path, manifest: Mapping[str, Any], parts: Parts) -> None:
    """Check that subgroups are given for each held-out case, once by each fact.

    Raises:
        DamagedError: They are not.
    """
    if manifest["subgroups"] is None:
        return
    rows = read_table(folder / SUBGROUPS, _SUBGROUPS_SCHEMA).to_pylist()
    found = sorted((row["domain_eval"], row["case_id"], row["subgroup"].partition("=")[0]) for row in rows)
    evaluated = dict.fromkeys(target for _, target in manifest["transfer"]["pairs"])
    expected = sorted(
        (domain, case, fact)
        for domain in evaluated
        for case, _, _ in parts.held_out.get(domain, [])
        for fact in manifest["subgroups"]["by"]
    )
    if found != expected:
        raise DamagedError(f"{SUBGROUPS} does not name each held-out case once by each fact")


def _check_tables(
    folder: Path, manifest: Mapping[str, Any], tables: RunTables, shifts_known: bool, findings: Findings
) -> None:
    checks: list[tuple[str, Callable[[], None]]] = []

    def rows(name: str, columns: Sequence[str], expected: Any, what: str, without: Sequence[str] = ()) -> None:
        checks.append((name, lambda: check_rows(folder / name, columns, expected, what, findings, without)))

    checks.append(
        ("results.csv", lambda: check_results(folder / "results.csv", RESULT_COLUMNS, tables.results, findings))
    )
    rows("comparisons.csv", COMPARISON_COLUMNS, tables.comparisons, "paired differences recomputed")
    rows("robustness.csv", ROBUSTNESS_COLUMNS, tables.robustness, "robustness summaries recomputed")
    if manifest["transfer"]["shared"] is not None:
        # The classifier behind a shift is not trained again.
        shift = [column for column in DOMAIN_COLUMNS if column.startswith("shift")]
        what = "pairs of domains recomputed" + ("" if shifts_known else ", without shift")
        if not shifts_known:
            findings.leave_open(
                "shifts between domains: the store holds no classifier's or not all", len(tables.domains)
            )
        rows(DOMAINS, DOMAIN_COLUMNS, tables.domains, what, () if shifts_known else shift)
        rows(GAPS, GAP_COLUMNS, tables.gaps, "gaps between domains recomputed")
    for _, check in checks:
        with _damage_of(findings):
            check()


def _check_failed_metrics(
    manifest: Mapping[str, Any], recomputed: Mapping[CellKey, Mapping[str, str]], findings: Findings
) -> None:
    """Check the list of metrics that failed in a cell: they fail again."""
    stages = stages_by_fingerprint(manifest)
    expected = [
        (*(cell[key] for key in CELL), name, f"score {stages[cell['score']]['label']}")
        for cell in manifest["cells"]
        for name in recomputed.get(_key(cell), ())
    ]
    found = [
        (*(failure[key] for key in CELL), failure["metric"], failure["stage"])
        for failure in manifest["failed"]
        if failure["metric"] is not None
    ]
    if found != expected:
        findings.problems.append(
            f"manifest.json: {len(found)} metrics are listed as failed, recomputed {len(expected)}, or others"
        )
    findings.count("failed metrics that fail again", len(expected))


def _key(cell: Mapping[str, Any]) -> CellKey:
    pair = cell["domain_train"], cell["domain_eval"]
    return CellKey(cell["method"], cell["seed"], (cell["condition"], cell["severity"]), pair)
