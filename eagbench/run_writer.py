"""Writes the run folder: what a reader needs, copied out of the store."""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

import eagbench
from eagbench.cohort_files import read_cases, read_facts, read_labels
from eagbench.comparisons import SeedMeans, compare, seed_means
from eagbench.errors import UserError
from eagbench.metrics.recalibrated import metric_and_calibration, without_unparsed_variant
from eagbench.plan import Cell, Plan, environment
from eagbench.registry import load_registry
from eagbench.run_contract import (
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    KEY_COLUMNS,
    MEAN_SEED,
    RESULT_COLUMNS,
    TRACKERS,
    TRAINING,
    TRAINING_COLUMNS,
    TRAINING_SUMMARIES,
    read_manifest,
)
from eagbench.runner import Outcome, RunResult
from eagbench.stage import Condition, StageNode, StageOutput
from eagbench.stages.score import SCORED_SCHEMA
from eagbench.stages.split import read_assignment, read_parts
from eagbench.stats.bootstrap import percentile_interval
from eagbench.store import Store, file_hash, write_text
from eagbench.training_files import CURVES, SUMMARIES, Use, read_points, uses


def check_out(folder: Path, benchmark: str) -> None:
    """Refuses an output folder before any work: one that can't be written, or that holds something else.

    Raises:
        UserError: The folder is a file, is not writable, holds another benchmark's run, or other files.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError("the output is a file, not a folder", where=str(folder), mend="choose another --out")
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not _can_write(existing):
        raise UserError(
            "the output folder can't be written", where=str(folder), mend="choose another --out, or change its rights"
        )
    # A run that was killed before its end has left at most what its trackers wrote.
    if not folder.exists() or all(path.name == TRACKERS for path in folder.iterdir()):
        return
    if not (folder / "manifest.json").is_file():
        raise UserError(
            "the output folder holds files and is not a run folder", where=str(folder), mend="choose another --out"
        )
    name = read_manifest(folder)["name"]
    if name != benchmark:
        raise UserError(
            f"the output folder holds a run of the benchmark '{name}', not of '{benchmark}'",
            where=str(folder),
            mend="choose another --out",
        )


def _can_write(folder: Path) -> bool:
    # Tried, not asked: os.access tells a superuser that a read-only file system can be written.
    probe = folder / f".eagbench-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def write_run_folder(plan: Plan, result: RunResult, store: Store, folder: Path) -> dict[str, Any]:
    """Writes everything but the report. Each file appears whole; the manifest is written last.

    Returns:
        The manifest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("predictions", "trajectories"):
        (folder / name).mkdir(exist_ok=True)
        for old in (folder / name).iterdir():
            old.unlink()
    writer = _Writer(plan, result, store)
    write_text(folder / "results.csv", _csv(RESULT_COLUMNS, writer.results()))
    write_text(folder / "comparisons.csv", _csv(COMPARISON_COLUMNS, writer.comparisons()))
    write_text(folder / "costs.csv", _csv(COST_COLUMNS, writer.costs()))
    for method in [m.label for m in plan.methods]:
        writer.copy_predictions(method, folder)
        writer.copy_trajectories(method, folder)
    writer.copy_references(folder)
    writer.copy_training(folder)
    pq.write_table(read_assignment(store.folder(plan.split)), folder / "patients.parquet")
    write_text(folder / "log.jsonl", "".join(json.dumps(entry) + "\n" for entry in result.log))
    manifest = writer.manifest(folder)
    write_text(folder / "manifest.json", json.dumps(manifest, indent=1))
    return manifest


class _Writer:
    def __init__(self, plan: Plan, result: RunResult, store: Store) -> None:
        self.plan, self.result, self.store = plan, result, store
        self.benchmark = plan.loaded.benchmark
        self.facts = read_facts(store.folder(plan.cohort))
        self.domain = domain_name(self.benchmark.data.name, plan.access)
        self.split_name = "out_of_fold" if self.benchmark.split.folds else "held_out"
        held_out = [p for p in read_parts(store.folder(plan.split)) if p["part"] == "held_out"]
        self.n_cases = sum(p["n_cases"] for p in held_out)
        self.n_positive = sum(p["n_positive"] for p in held_out)

    # Rows

    def keys(self, method: str, seed: int | str, condition: Condition) -> dict[str, Any]:
        """The key columns of a row."""
        return {
            "benchmark": self.benchmark.name,
            "task": self.facts["task"]["name"],
            "domain_train": self.domain,
            "domain_eval": self.domain,
            "split": self.split_name,
            "method": method,
            "seed": seed,
            "condition": condition.name,
            "severity": "" if condition.severity is None else condition.severity,
        }

    def row(
        self, keys: Mapping[str, Any], name: str, numbers: Mapping[str, float], n_unparsed: int | str, status: str
    ) -> dict[str, Any]:
        """One row of results.csv, by the qualified name of its number. One that is undefined is an empty field."""
        metric, calibration = metric_and_calibration(name)
        row = {
            **keys,
            "calibration": calibration,
            "subgroup": "all",
            "metric": metric,
            "n_cases": self.n_cases,
            "n_positive": self.n_positive,
            "n_unparsed": n_unparsed,
        }
        for column in ("value", "ci_low", "ci_high"):
            number = numbers.get(column, float("nan"))
            row[column] = "" if np.isnan(number) else repr(float(number))
        row["status"] = "undefined" if status == "ok" and row["value"] == "" else status
        return row

    def results(self) -> list[dict[str, Any]]:
        """All rows: references, then per method each seed and the mean over seeds, clean first."""
        rows = self._reference_rows()
        for method in self.plan.methods:
            for condition in self.plan.conditions:
                cells = [c for c in self.plan.cells if c.method == method.label and c.condition is condition]
                for cell in cells:
                    rows.extend(self._cell_rows(cell))
                rows.extend(self._mean_rows(method.label, condition, cells))
        return rows

    def _reference_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for folder in self._reference_folders():
            values = json.loads((folder / "values.json").read_text())
            keys = self.keys(folder.name, MEAN_SEED, self.plan.conditions[0])
            for metric, numbers in values["metrics"].items():
                if not np.isnan(numbers["value"]):
                    rows.append(self.row(keys, metric, numbers, 0, "ok"))
        return rows

    def _reference_folders(self) -> list[Path]:
        return sorted(p for p in self.store.folder(self.plan.references).iterdir() if p.is_dir())

    def _cell_rows(self, cell: Cell) -> list[dict[str, Any]]:
        keys = self.keys(cell.method, cell.seed, cell.condition)
        status = self._status(cell)
        if status != "ok":
            return [self.row(keys, use.name, {}, "", status) for use in self.plan.metrics]
        assert cell.score is not None
        values = json.loads((self.store.folder(cell.score) / "values.json").read_text())
        return [
            self.row(keys, metric, numbers, values["n_unparsed"], "ok") for metric, numbers in values["metrics"].items()
        ]

    def _status(self, cell: Cell) -> str:
        if cell.score is None:
            return "not_applicable"
        return "ok" if self.outcome(cell.score).status in {"computed", "reused"} else "failed"

    def outcome(self, node: StageNode) -> Outcome:
        """How a stage ended."""
        return self.result.outcomes[node.fingerprint]

    def _mean_rows(self, method: str, condition: Condition, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        """The mean over seeds; its interval from resamples of patients that all seeds share.

        `n_unparsed` counts the unparsed answers of all seeds.
        """
        keys = self.keys(method, MEAN_SEED, condition)
        statuses = {self._status(cell) for cell in cells}
        if statuses != {"ok"}:
            status = "failed" if "failed" in statuses else "not_applicable"
            return [self.row(keys, use.name, {}, "", status) for use in self.plan.metrics]
        folders = [self.store.folder(cell.score) for cell in cells if cell.score is not None]
        values = [json.loads((folder / "values.json").read_text()) for folder in folders]
        resamples = [pq.read_table(folder / "resamples.parquet") for folder in folders]
        n_unparsed = sum(value["n_unparsed"] for value in values)
        rows = []
        for metric in mean_metrics([list(value["metrics"]) for value in values]):
            points = [value["metrics"][_or_plain(metric, value["metrics"])]["value"] for value in values]
            draws = np.mean([t[_or_plain(metric, t.column_names)].to_numpy() for t in resamples], axis=0)
            low, high = percentile_interval(draws, self.benchmark.intervals.level)
            numbers = {"value": float(np.mean(points)), "ci_low": low, "ci_high": high}
            rows.append(self.row(keys, metric, numbers, n_unparsed, "ok"))
        return rows

    def comparisons(self) -> list[dict[str, Any]]:
        """Paired differences between the method whose claim is tested and the others; none if none is."""
        spec = self.benchmark.comparisons
        if spec is None:
            return []
        means = {}
        for method in self.plan.methods:
            for condition in self.plan.conditions:
                cells = [c for c in self.plan.cells if c.method == method.label and c.condition is condition]
                if {self._status(cell) for cell in cells} == {"ok"}:
                    means[(method.label, (condition.name, condition.severity))] = self._seed_means(cells)
        rows = compare(
            spec.method,
            spec.metric,
            [method.label for method in self.plan.methods if method.label != spec.method],
            [(condition.name, condition.severity) for condition in self.plan.conditions],
            means,
            self.benchmark.intervals.level,
        )
        shared = {
            "benchmark": self.benchmark.name,
            "task": self.facts["task"]["name"],
            "domain_train": self.domain,
            "domain_eval": self.domain,
            "n_cases": self.n_cases,
            "n_positive": self.n_positive,
            "n_seeds": len(self.benchmark.seeds),
        }
        return [{**shared, **{column: _field(value) for column, value in row.items()}} for row in rows]

    def _seed_means(self, cells: Sequence[Cell]) -> SeedMeans:
        folders = [self.store.folder(cell.score) for cell in cells if cell.score is not None]
        values = [json.loads((folder / "values.json").read_text())["metrics"] for folder in folders]
        resamples = [pq.read_table(folder / "resamples.parquet") for folder in folders]
        return seed_means(
            [{name: numbers["value"] for name, numbers in value.items()} for value in values],
            [{name: table[name].to_numpy() for name in table.column_names} for table in resamples],
        )

    def costs(self) -> list[dict[str, Any]]:
        """One row per stage of the plan: what it took when it was computed, now or in an earlier run."""
        rows = []
        for node in self.plan.nodes:
            outcome = self.outcome(node)
            facts = outcome.facts
            rows.append(
                {
                    "stage": node.fingerprint,
                    "kind": node.kind,
                    "label": node.label,
                    "seed": "" if node.seed is None else node.seed,
                    "seconds": round(float(facts.get("seconds", outcome.seconds)), 3),
                    "peak_memory_mb": round(float(facts["peak_memory_mb"]), 1) if facts else "",
                    "generated_tokens": int(facts.get("costs", {}).get("generated_tokens", 0)),
                    "status": outcome.status,
                }
            )
        return rows

    # Copies

    def copy_predictions(self, method: str, folder: Path) -> None:
        """All scored predictions of a method in one table."""
        tables = []
        for cell in self.plan.cells:
            if cell.method == method and self._status(cell) == "ok":
                assert cell.score is not None
                tables.append(self._keyed(cell.score, self.keys(method, cell.seed, cell.condition)))
        if tables:
            pq.write_table(pa.concat_tables(tables), folder / "predictions" / f"{method}.parquet")

    def copy_references(self, folder: Path) -> None:
        """The predictions of each reference that came with the data."""
        for reference in self._reference_folders():
            keys = self.keys(reference.name, MEAN_SEED, self.plan.conditions[0])
            table = _with_keys(pq.read_table(reference / "scored.parquet"), keys)
            pq.write_table(table, folder / "predictions" / f"{reference.name}.parquet")

    def _keyed(self, score: StageNode, keys: Mapping[str, Any]) -> pa.Table:
        return _with_keys(pq.read_table(self.store.folder(score) / "scored.parquet"), keys)

    def copy_trajectories(self, method: str, folder: Path) -> None:
        """What a method wrote, one JSON object a line."""
        lines: list[str] = []
        for cell in self.plan.cells:
            if cell.method != method or cell.score is None or self._status(cell) != "ok":
                continue
            keys = {"seed": cell.seed, "condition": cell.condition.name, "severity": cell.condition.severity}
            for name, value in cell.score.inputs.items():
                if name.startswith("predict") and isinstance(value, StageOutput):
                    # Not by splitlines, which also breaks at characters that JSON leaves as they are.
                    with (self.store.folder(value.stage) / "trajectories.jsonl").open(encoding="utf-8") as stream:
                        lines.extend(json.dumps({**keys, **json.loads(line)}, ensure_ascii=False) for line in stream)
        if lines:
            write_text(folder / "trajectories" / f"{method}.jsonl", "\n".join(lines) + "\n")

    def copy_training(self, folder: Path) -> None:
        """What the stages behind each method's predictions left about their training: curves and summaries."""
        columns: dict[str, list[Any]] = {name: [] for name in TRAINING_COLUMNS}
        lines: list[str] = []
        for use in uses(self.plan):
            if self.outcome(use.node).status not in {"computed", "reused"}:
                continue
            keys, stage = _training_keys(use), self.store.folder(use.node)
            for path in (stage / name for name in CURVES):
                for point in read_points(path) if path.is_file() else ():
                    for name, value in point.values.items():
                        for column, entry in {**keys, "step": point.step, "name": name, "value": value}.items():
                            columns[column].append(entry)
            for path in (stage / name for name in SUMMARIES):
                if path.is_file():
                    content = json.loads(path.read_text(encoding="utf-8"))
                    lines.append(json.dumps({**keys, "file": path.name, "content": content}, ensure_ascii=False))
        # An earlier run into this folder may have had methods that train.
        (folder / TRAINING).unlink(missing_ok=True)
        (folder / TRAINING_SUMMARIES).unlink(missing_ok=True)
        if columns["value"]:
            pq.write_table(pa.table(columns), folder / TRAINING)
        if lines:
            write_text(folder / TRAINING_SUMMARIES, "\n".join(lines) + "\n")

    # Manifest

    def manifest(self, folder: Path) -> dict[str, Any]:
        """Everything a reader needs to judge the run and to repeat it."""
        plan, loaded = self.plan, self.plan.loaded
        failed = []
        for cell in plan.cells:
            if cell.score is not None and self._status(cell) == "failed":
                node, outcome = self._cause(cell.score)
                failed.append(
                    {
                        "method": cell.method,
                        "seed": cell.seed,
                        "condition": cell.condition.name,
                        "severity": cell.condition.severity,
                        "stage": f"{node.kind} {node.label}",
                        "reason": outcome.reason,
                    }
                )
        return {
            "eagbench_version": eagbench.__version__,
            "name": self.benchmark.name,
            "benchmark": loaded.resolved(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "limit": plan.limit,
            "profile": loaded.profile,
            "synthetic": plan.access == "synthetic",
            "access": plan.access,
            "data": {self.domain: self._data()},
            "split": self.benchmark.split.model_dump(mode="json"),
            "parts": read_parts(self.store.folder(plan.split)),
            "methods": [
                {"label": m.label, "name": m.use.name, "reads": m.reads, "params": dict(m.use.params)}
                for m in plan.methods
            ],
            "conditions": [
                {"name": c.name, "severity": c.severity, "description": _description(c)} for c in plan.conditions
            ],
            "metrics": [{"name": use.name, "params": dict(use.params)} for use in plan.metrics],
            "seeds": list(self.benchmark.seeds),
            "intervals": self.benchmark.intervals.model_dump(mode="json"),
            "comparisons": None if self.benchmark.comparisons is None else self.benchmark.comparisons.model_dump(),
            "stages": [self._stage(node) for node in plan.nodes],
            "failed": failed,
            "versions": environment(),
            "git": git_state(),
            "hardware": hardware(),
            "files": {
                path.relative_to(folder).as_posix(): file_hash(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file() and path.suffix in {".csv", ".parquet", ".jsonl"} and path.name != "log.jsonl"
                if path.relative_to(folder).parts[0] != TRACKERS
            },
        }

    def _cause(self, node: StageNode) -> tuple[StageNode, Outcome]:
        outcome = self.outcome(node)
        if outcome.status == "skipped":
            for upstream in node.upstream():
                if self.outcome(upstream).status in {"failed", "skipped"}:
                    return self._cause(upstream)
        return node, outcome

    def _data(self) -> dict[str, Any]:
        cohort = self.store.folder(self.plan.cohort)
        cases, labels = read_cases(cohort), read_labels(cohort)
        provenance = self.facts["provenance"]
        return {
            **provenance,
            "n_patients": len(set(cases.patient_ids)),
            "n_cases": len(cases),
            "n_positive": sum(labels.values()),
            "features": [{key: f[key] for key in ("name", "label", "unit")} for f in self.facts["features"]],
            "static_names": self.facts["static_names"],
            "task": self.facts["task"],
            "content": self.plan.cohort.content,
        }

    def _stage(self, node: StageNode) -> dict[str, Any]:
        outcome = self.outcome(node)
        inputs = {
            name: list(value.identity()[2:]) if not isinstance(value, StageOutput) else value.stage.fingerprint
            for name, value in node.inputs.items()
        }
        return {
            "fingerprint": node.fingerprint,
            "kind": node.kind,
            "label": node.label,
            "seed": node.seed,
            "status": outcome.status,
            "inputs": inputs,
            "patients_sha256": outcome.facts.get("patients_sha256", {}),
        }


def _training_keys(use: Use) -> dict[str, Any]:
    return {
        "method": use.method,
        "seed": use.seed,
        "fold": use.fold,
        "kind": use.node.kind,
        "label": use.node.label,
        "stage": use.node.fingerprint,
    }


def _description(condition: Condition) -> str:
    """The first line of the perturbation's own documentation."""
    if condition.perturbation is None:
        return "the record as it is"
    component = load_registry().get("perturbation", condition.perturbation.name).component
    return (inspect.getdoc(component) or "").partition("\n")[0]


def mean_metrics(names: Sequence[Sequence[str]]) -> list[str]:
    """Every metric that one of the seeds has, in order; a seed without unparsed answers has no variants of its own.

    A corrected number has a mean if every seed has it.
    """
    seen: dict[str, None] = {}
    for listed in names:
        seen.update(dict.fromkeys(listed))
    return [name for name in seen if all(_or_plain(name, listed) in listed for listed in names)]


def _or_plain(metric: str, available: Any) -> str:
    """The variant, or the plain metric, to which it is equal, for a seed in which every answer was parsed."""
    return metric if metric in available else without_unparsed_variant(metric)


def _with_keys(table: pa.Table, keys: Mapping[str, Any]) -> pa.Table:
    columns: dict[str, Any] = {}
    for key in KEY_COLUMNS:
        if key == "severity":
            value = None if keys[key] == "" else float(keys[key])
            columns[key] = pa.array([value] * table.num_rows, type=pa.float64())
        else:
            columns[key] = pa.array([str(keys[key])] * table.num_rows, type=pa.string())
    for field in SCORED_SCHEMA:
        columns[field.name] = table[field.name]
    return pa.table(columns)


def _field(value: Any) -> Any:
    """A value as it stands in a CSV file: numbers to the last bit, an undefined or absent one as an empty field."""
    if isinstance(value, float):
        return "" if np.isnan(value) else repr(value)
    return "" if value is None else value


def domain_name(dataset: str, access: str) -> str:
    """A data set's name in results; a synthetic one says so wherever its numbers appear."""
    return f"{dataset} (SYNTHETIC)" if access == "synthetic" else dataset


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def git_state() -> dict[str, Any] | None:
    """Commit of the working folder and whether it has uncommitted changes; None outside a repository."""
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        status = subprocess.run(
            ["git", "status", "--porcelain"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.stdout.strip(), "dirty": bool(status.stdout.strip())}


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and device."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": environment()["device"],
    }
