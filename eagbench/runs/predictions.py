"""The answers in a run folder, by cell, with the numbers its metrics need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.analysis.cells import ConditionKey
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_table import scored_schema
from eagbench.runs.schema import KEY_COLUMNS
from eagbench.stages.parquet_files import constant_number, constant_text, read_parquet

# A setting is a task with the domains of training and evaluation; a place adds the condition.
SETTING = ("task", "domain_train", "domain_eval")
Setting = tuple[str, ...]
Place = tuple[Setting, ConditionKey]
Rows = list[dict[str, Any]]
Seeds = Mapping[str, Rows]


def keyed_schema(metrics: Sequence[MetricUse]) -> pa.Schema:
    """Build the schema of a method's answers in the run folder: the keys of a cell, and its scored table."""
    keys = [pa.field(key, pa.float64() if key == "severity" else pa.string()) for key in KEY_COLUMNS]
    return pa.schema([*keys, *scored_schema(metrics)])


def keyed_table(table: pa.Table, keys: Mapping[str, Any], metrics: Sequence[MetricUse]) -> pa.Table:
    """Add the keys of a cell to its scored table."""
    columns: dict[str, Any] = {}
    for key in KEY_COLUMNS:
        if key == "severity":
            columns[key] = constant_number(keys[key], table.num_rows)
        else:
            columns[key] = constant_text(str(keys[key]), table.num_rows)
    for field in scored_schema(metrics):
        columns[field.name] = table[field.name]
    return pa.table(columns)


def has_predictions(folder: Path, method: str) -> bool:
    """Say whether a method left predictions."""
    return predictions_path(folder, method).is_file()


def read_predictions(folder: Path, method: str) -> dict[Place, dict[str, Rows]]:
    """Read a method's (or a reference's) scored rows by place and seed, in the order of case ids."""
    return by_place(read_parquet(predictions_path(folder, method)))


def by_place(table: pa.Table) -> dict[Place, dict[str, Rows]]:
    """Divide the rows of a method's answers by place and seed, in the order of case ids."""
    found: dict[Place, dict[str, Rows]] = {}
    for row in table.to_pylist():
        place = tuple(row[key] for key in SETTING), (row["condition"], row["severity"])
        found.setdefault(place, {}).setdefault(row["seed"], []).append(row)
    for seeds in found.values():
        for rows in seeds.values():
            rows.sort(key=lambda row: str(row["case_id"]))
    return found


def predictions_path(folder: Path, method: str) -> Path:
    """Return the path of a method's answers."""
    return folder / "predictions" / f"{method}.parquet"


def read_members(folder: Path, file: str, domain: str) -> Sequence[Mapping[str, Any]]:
    """Read the subgroups of an evaluated domain's cases."""
    rows: Sequence[Mapping[str, Any]] = pq.read_table(
        folder / file, filters=[("domain_eval", "==", domain)]
    ).to_pylist()
    return rows
