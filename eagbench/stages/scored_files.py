"""The files of a scored cell: its answers, its numbers, their resamples, and the same within subgroups.

scored.arrow                    one row per case, with the schema of `analysis.evaluation.scored_schema`
values.json                     counts, and each number's value and interval
resamples.arrow                 each number on each resample, one column per number
subgroups.json                  counts and numbers within each subgroup; only if the benchmark asks for subgroups
subgroup_resamples.arrow        their resamples, columns `subgroup|number`

Tables are in Arrow's own format: a Parquet file of a thousand rows takes three to four times as long to write and read,
and a run has one for each cell. Compressed with LZ4 it has one and a half times the size.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.analysis.evaluation import Numbers, SubgroupNumbers
from eagbench.analysis.intervals import metric_intervals
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_run import ScoredCell, answer_status
from eagbench.analysis.scored_table import READ_COLUMNS, Answered, answered_in_order, asked_columns
from eagbench.contracts.records import FloatArray
from eagbench.stages.parquet_files import array_of, floats, read_parquet, values_of

_SCORED, _VALUES, _RESAMPLES = "scored.arrow", "values.json", "resamples.arrow"
_EARLIER_SCORED = "scored.parquet"  # of stages that were made before `scored.arrow`: `eagbench verify` reads them
_WITHOUT_THREADS = pa.ipc.IpcReadOptions(use_threads=False)
_SUBGROUPS, _SUBGROUP_RESAMPLES = "subgroups.json", "subgroup_resamples.arrow"


def write_numbers(
    folder: Path, table: pa.Table, answers: Answered, numbers: Numbers, intervals: Mapping[str, Any]
) -> None:
    """Write `scored.arrow`, `values.json` and `resamples.arrow`.

    Args:
        folder: Where to write.
        table: The scored table.
        answers: What it holds.
        numbers: The metrics' values and resamples.
        intervals: Settings of the bootstrap.
    """
    _write_arrow(table.combine_chunks(), folder / _SCORED, compression="lz4")
    scored = answers.scored
    counts = {
        "n_cases": len(scored.label),
        "n_positive": int(scored.label.sum()),
        "n_unparsed": int((~scored.parsed).sum()),
    }
    described = _described(numbers, intervals, counts["n_cases"], counts["n_positive"])
    values = {**counts, "metrics": described, "failed": dict(numbers.failed)}
    (folder / _VALUES).write_text(json.dumps(values, indent=1))
    _write_draws(dict(numbers.draws), folder / _RESAMPLES)


def write_subgroups(folder: Path, subgroups: Mapping[str, SubgroupNumbers], intervals: Mapping[str, Any]) -> None:
    """Write `subgroups.json` and `subgroup_resamples.arrow`."""
    described = {
        name: {
            "n_cases": found.n_cases,
            "n_positive": found.n_positive,
            "n_unparsed": found.n_unparsed,
            "metrics": _described(Numbers(found.points, found.draws), intervals, found.n_cases, found.n_positive),
        }
        for name, found in subgroups.items()
    }
    (folder / _SUBGROUPS).write_text(json.dumps(described, indent=1))
    columns = {f"{name}|{metric}": draws for name, found in subgroups.items() for metric, draws in found.draws.items()}
    _write_draws(columns, folder / _SUBGROUP_RESAMPLES)


def _write_draws(columns: Mapping[str, FloatArray], path: Path) -> None:
    # Draws hardly repeat and don't compress.
    _write_arrow(pa.table({name: array_of(draws, pa.float64()) for name, draws in columns.items()}), path)


def _read_draws(path: Path) -> dict[str, FloatArray]:
    table = _read_arrow(path)
    return {name: floats(table[name]) for name in table.column_names}


def _write_arrow(table: pa.Table, path: Path, compression: str | None = None) -> None:
    options = pa.ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)


def _read_arrow(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_file(file, options=_WITHOUT_THREADS).read_all()


def _described(
    numbers: Numbers, intervals: Mapping[str, Any], n_cases: int, n_positive: int
) -> dict[str, dict[str, float]]:
    listed = [(name, value, numbers.draws[name]) for name, value in numbers.points.items()]
    found = metric_intervals(listed, intervals, n_cases, n_positive)
    return {
        name: {"value": value, "ci_low": low, "ci_high": high}
        for (name, value, _), (low, high) in zip(listed, found, strict=True)
    }


def answers_of(table: pa.Table, metrics: Sequence[MetricUse]) -> Answered:
    """Turn a scored table, whose cases are in the order of their ids, into arrays."""
    extras = asked_columns(metrics)
    return answered_in_order({name: values_of(table[name]) for name in (*READ_COLUMNS, *extras)}, extras)


def read_scored(folder: Path) -> pa.Table:
    """Read the scored table of a cell."""
    try:
        return _read_arrow(folder / _SCORED)
    except FileNotFoundError:
        if not (earlier := folder / _EARLIER_SCORED).is_file():
            raise
        return read_parquet(earlier)


def read_values(folder: Path) -> Mapping[str, Any]:
    """Read `values.json`."""
    values: Mapping[str, Any] = json.loads((folder / _VALUES).read_bytes())
    return values


def read_cell(folder: Path, metrics: Sequence[MetricUse]) -> tuple[ScoredCell, pa.Table]:
    """Read a scored cell, each of its files once.

    Returns:
        The cell, and its scored table.
    """
    values, table = read_values(folder), read_scored(folder)
    draws, metrics_of = _read_draws(folder / _RESAMPLES), values["metrics"]
    numbers = Numbers(_points(metrics_of), draws, values["failed"], _intervals(metrics_of))
    cell = ScoredCell(
        status=answer_status(values["n_cases"], values["n_unparsed"]),
        n_unparsed=values["n_unparsed"],
        numbers=numbers,
        answered=answers_of(table, metrics),
        subgroups=_read_subgroups(folder),
    )
    return cell, table


def _points(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {name: numbers["value"] for name, numbers in metrics.items()}


def _intervals(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, tuple[float, float]]:
    return {name: (numbers["ci_low"], numbers["ci_high"]) for name, numbers in metrics.items()}


def _read_subgroups(folder: Path) -> dict[str, SubgroupNumbers]:
    if not os.path.isfile(f"{folder}/{_SUBGROUPS}"):  # noqa: PTH113 - of every cell
        return {}
    draws = _read_draws(folder / _SUBGROUP_RESAMPLES)
    return {
        name: SubgroupNumbers(
            n_cases=found["n_cases"],
            n_positive=found["n_positive"],
            n_unparsed=found["n_unparsed"],
            points=_points(found["metrics"]),
            draws={metric: draws[f"{name}|{metric}"] for metric in found["metrics"]},
            intervals=_intervals(found["metrics"]),
        )
        for name, found in json.loads((folder / _SUBGROUPS).read_text()).items()
    }
