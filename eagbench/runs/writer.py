"""Write the run folder: the tables of a run, and copies of what a reader needs from the store."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.analysis.cells import CLEAN, CellKey
from eagbench.analysis.run_tables import MEAN_SEED, RunTables, run_tables
from eagbench.analysis.scored_run import ScoredCell, ScoredRun
from eagbench.config.secrets import masked, masked_texts
from eagbench.execution.json_text import lines_of
from eagbench.execution.private_words import PrivateWords
from eagbench.execution.runner import RunResult
from eagbench.execution.store import Store
from eagbench.execution.whole_files import write_table, write_text
from eagbench.planning.plan import Plan
from eagbench.runs.copies import copy_subgroups, copy_training, copy_trajectories, copy_tuning, patients
from eagbench.runs.folder import begin_writing
from eagbench.runs.manifest import make_manifest
from eagbench.runs.predictions import keyed_table
from eagbench.runs.schema import (
    ASKED_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    COUNTED_COLUMNS,
    DOMAIN_COLUMNS,
    DOMAINS,
    GAP_COLUMNS,
    GAPS,
    OWN_HASH,
    RESULT_COLUMNS,
    ROBUSTNESS_COLUMNS,
    own_hash,
)
from eagbench.runs.stored_run import Reference, StoredRun


def write_run_folder(plan: Plan, result: RunResult, store: Store, folder: Path) -> dict[str, Any]:
    """Write everything but the report: each file appears whole, and the manifest is written last.

    Whoever calls this writes the report and then calls `finish`.

    Returns:
        The manifest.
    """
    begin_writing(folder, plan.loaded.benchmark.name)
    stored = StoredRun.of(plan, result, store)
    references = stored.references()
    run: ScoredRun = stored.scored(references, lambda method: _read_and_copy(stored, method, run, folder))
    tables = run_tables(run)
    _write_references(references, run, folder)
    _write_tables(tables, folder, crossed=plan.transfer.is_crossed)
    costs = _costs(plan, result)
    counted = [name for name in COUNTED_COLUMNS if any(row[name] for row in costs)]
    write_text(folder / "costs.csv", csv_text((*COST_COLUMNS, *ASKED_COLUMNS, *counted), costs))
    for method in run.methods:
        copy_trajectories(stored, method, folder)
    copy_subgroups(stored, folder)
    copy_tuning(stored, folder)
    copy_training(stored, folder)
    write_table(patients(stored), folder / "patients.parquet")
    lines = masked_texts([json.dumps(entry) for entry in result.log])
    write_text(folder / "log.jsonl", "".join(f"{line}\n" for line in lines))
    manifest: dict[str, Any] = masked(make_manifest(stored, references, folder))
    words = PrivateWords.of(plan, folder)
    if words is not None:
        manifest |= {"failed": [words.failed(failure) for failure in manifest["failed"]]}
    manifest[OWN_HASH] = own_hash(manifest)  # of what is written, after any other change
    write_text(folder / "manifest.json", lines_of(manifest))
    return manifest


def _read_and_copy(stored: StoredRun, method: str, run: ScoredRun, folder: Path) -> dict[CellKey, ScoredCell]:
    """Read a method's cells, and write their answers to the run folder while they are in memory."""
    cells = stored.cells(method)
    tables = [
        keyed_table(table, _keys(run, key), run.metrics) for key, (_, table) in cells.items() if table is not None
    ]
    if tables:
        write_table(pa.concat_tables(tables), folder / "predictions" / f"{method}.parquet")
    return {key: cell for key, (cell, _) in cells.items()}


def _keys(run: ScoredRun, key: CellKey) -> dict[str, Any]:
    """Return the key columns of a cell."""
    return {
        "benchmark": run.benchmark,
        "task": run.domains[key.pair[1]].task,
        "domain_train": key.pair[0],
        "domain_eval": key.pair[1],
        "split": run.split,
        "method": key.method,
        "seed": key.seed,
        "condition": key.condition[0],
        "severity": key.condition[1],
    }


def _write_references(references: Sequence[Reference], run: ScoredRun, folder: Path) -> None:
    """Write the predictions of each reference that came with the data."""
    tables: dict[str, list[pa.Table]] = {}
    for reference in references:
        pair = (reference.domain, reference.domain)
        keys = {**_keys(run, CellKey(reference.name, 0, (CLEAN, None), pair)), "seed": MEAN_SEED}
        tables.setdefault(reference.name, []).append(keyed_table(reference.table, keys, run.metrics))
    for name, found in tables.items():
        write_table(pa.concat_tables(found), folder / "predictions" / f"{name}.parquet")


def _write_tables(tables: RunTables, folder: Path, *, crossed: bool) -> None:
    write_text(folder / "results.csv", csv_text(RESULT_COLUMNS, tables.results))
    write_text(folder / "comparisons.csv", csv_text(COMPARISON_COLUMNS, tables.comparisons))
    write_text(folder / "robustness.csv", csv_text(ROBUSTNESS_COLUMNS, tables.robustness))
    # An earlier run into this folder may have had several domains: remove its files.
    for name in (DOMAINS, GAPS):
        (folder / name).unlink(missing_ok=True)
    if crossed:
        write_text(folder / DOMAINS, csv_text(DOMAIN_COLUMNS, tables.domains))
        write_text(folder / GAPS, csv_text(GAP_COLUMNS, tables.gaps))


def _costs(plan: Plan, result: RunResult) -> list[dict[str, Any]]:
    """Return one row per stage of the plan: its cost when it was computed, now or in an earlier run."""
    rows = []
    for node in plan.nodes:
        outcome = result.outcome(node)
        named = {"stage": node.fingerprint, "kind": node.kind, "label": node.label, "seed": node.seed}
        amounts = cost_amounts(outcome.facts, outcome.seconds)
        rows.append({**named, "status": outcome.status, **amounts})
    return rows


def cost_amounts(facts: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return what a stage cost.

    Args:
        facts: Its manifest in the store; empty if it was not finished.
        seconds: What it took in this run, if it was not finished.
    """
    costs = facts.get("costs", {})
    return {
        "seconds": round(float(facts.get("seconds", seconds)), 3),
        "peak_memory_mb": round(float(facts["peak_memory_mb"]), 1) if facts else None,
        "generated_tokens": int(costs.get("generated_tokens", 0)),
        **{name: int(costs.get(name, 0)) for name in (*ASKED_COLUMNS, *COUNTED_COLUMNS)},
    }


def field_text(value: Any) -> Any:
    """Format a value as a CSV field: numbers to the last bit, undefined or absent ones as nothing."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return "" if value is None else value


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows as CSV, ignoring entries that are not columns."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(
        [value if type(value := row[column]) is str else field_text(value) for column in columns] for row in rows
    )
    return stream.getvalue()
