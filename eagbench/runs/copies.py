"""Copy stage outputs into the run folder: trajectories, subgroups, tuning answers, training, patients by part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from eagbench.execution.training_files import CURVES, SUMMARIES, Use, read_points, uses
from eagbench.execution.whole_files import write_table, write_text
from eagbench.runs.schema import SUBGROUPS, TRAINING, TRAINING_COLUMNS, TRAINING_SUMMARIES, TUNING_PREDICTIONS
from eagbench.runs.stored_run import StoredRun
from eagbench.stages.parquet_files import constant_text, read_parquet
from eagbench.stages.recalibration import TUNING
from eagbench.stages.split import read_assignment

TUNING_SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("domain_train", pa.string()),
        ("fold", pa.int64()),
        ("case_id", pa.string()),
        ("probability", pa.float64()),
        ("label", pa.int64()),
    ]
)


def patients(stored: StoredRun) -> pa.Table:
    """Return the patients in each part of each domain."""
    tables = []
    for domain in stored.plan.transfer.domains:
        table = read_assignment(stored.store.folder(domain.split))
        tables.append(table.add_column(0, "domain", constant_text(domain.name, table.num_rows)))
    return pa.concat_tables(tables)


def copy_trajectories(stored: StoredRun, method: str, folder: Path) -> None:
    """Copy what a method wrote, one JSON object a line."""
    lines: list[str] = []
    for cell in stored.plan.cells:
        if cell.method != method or stored.result.cell_status(cell) != "ok":
            continue
        keys = {
            "domain_train": cell.pair.train.name,
            "domain_eval": cell.pair.evaluate.name,
            "seed": cell.seed,
            "condition": cell.condition.name,
            "severity": cell.condition.severity,
        }
        for stages in cell.folds:
            lines += trajectory_lines(keys, stored.store.folder(stages.predict))
    if lines:
        write_text(folder / "trajectories" / f"{method}.jsonl", "\n".join(lines) + "\n")


def trajectory_lines(keys: Mapping[str, Any], stage: Path) -> list[str]:
    """Read what a method wrote in a stage `predict`, with the keys of the cell."""
    # Don't use splitlines, which also breaks at characters that JSON leaves unescaped.
    with (stage / "trajectories.jsonl").open(encoding="utf-8") as stream:
        return [json.dumps({**keys, **json.loads(line)}, ensure_ascii=False) for line in stream]


def copy_subgroups(stored: StoredRun, folder: Path) -> None:
    """Copy the subgroups of each evaluated domain's held-out cases."""
    (folder / SUBGROUPS).unlink(missing_ok=True)
    plan = stored.plan
    if not plan.subgroups:
        return
    tables = [
        held_out_subgroups(domain.name, stored.store.folder(domain.split), stored.store.folder(subgroups))
        for domain, subgroups in zip(plan.transfer.evaluated, plan.subgroups, strict=True)
    ]
    write_table(pa.concat_tables(tables), folder / SUBGROUPS)


def held_out_subgroups(domain: str, split: Path, subgroups: Path) -> pa.Table:
    """Read the subgroups of a domain's held-out cases from the folders of its stages."""
    parts = read_assignment(split)
    held_out = parts.filter(pc.equal(parts["part"], "held_out"))["case_id"]
    table = read_parquet(subgroups / SUBGROUPS)
    table = table.filter(pc.is_in(table["case_id"], value_set=held_out.combine_chunks()))
    return table.add_column(0, "domain_eval", constant_text(domain, table.num_rows))


def copy_tuning(stored: StoredRun, folder: Path) -> None:
    """Copy the answers to tuning cases on which recalibrations were fitted."""
    (folder / TUNING_PREDICTIONS).unlink(missing_ok=True)
    tables = [tuning_answers(keys, stage) for keys, stage in stored.recalibrations()]
    if tables:
        write_table(pa.concat_tables(tables), folder / TUNING_PREDICTIONS)


def tuning_answers(keys: Mapping[str, Any], stage: Path) -> pa.Table:
    """Read the tuning answers of a recalibration stage, with the keys that it was fitted for."""
    table = read_parquet(stage / TUNING)
    for i, (name, value) in enumerate(keys.items()):
        table = table.add_column(i, name, pa.array([value] * table.num_rows))
    # Where no answer could be read there are no rows, and Arrow does not know the types of their columns.
    return table.cast(TUNING_SCHEMA)


def copy_training(stored: StoredRun, folder: Path) -> None:
    """Copy the training curves and summaries left by the stages behind each method's predictions."""
    curves: list[dict[str, Any]] = []
    lines: list[str] = []
    for use in uses(stored.plan):
        if stored.result.outcome(use.node).is_finished:
            keys, stage = _training_keys(use), stored.store.folder(use.node)
            curves += curve_rows(keys, stage)
            lines += summary_lines(keys, stage)
    # An earlier run into this folder may have had methods that train: remove their files.
    (folder / TRAINING).unlink(missing_ok=True)
    (folder / TRAINING_SUMMARIES).unlink(missing_ok=True)
    if curves:
        write_table(pa.table({name: [row[name] for row in curves] for name in TRAINING_COLUMNS}), folder / TRAINING)
    if lines:
        write_text(folder / TRAINING_SUMMARIES, "\n".join(lines) + "\n")


def curve_rows(keys: Mapping[str, Any], stage: Path) -> list[dict[str, Any]]:
    """Read the numbers of the curves that a stage left, one row each, with the keys of its use."""
    return [
        {**keys, "step": point.step, "name": name, "value": value}
        for path in (stage / name for name in CURVES)
        for point in (read_points(path) if path.is_file() else ())
        for name, value in point.values.items()
    ]


def summary_lines(keys: Mapping[str, Any], stage: Path) -> list[str]:
    """Read the objects in which a stage summed up what it found, one JSON line each, with the keys of its use."""
    return [
        json.dumps(
            {**keys, "file": path.name, "content": json.loads(path.read_text(encoding="utf-8"))}, ensure_ascii=False
        )
        for path in (stage / name for name in SUMMARIES)
        if path.is_file()
    ]


def _training_keys(use: Use) -> dict[str, Any]:
    return {
        "method": use.method,
        "seed": use.seed,
        "fold": use.fold,
        "kind": use.node.kind,
        "label": use.node.label,
        "stage": use.node.fingerprint,
    }
