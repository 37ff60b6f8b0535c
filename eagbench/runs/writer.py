"""Writes the run folder: what a reader needs, copied out of the store."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eagbench.analysis import transfer as transfer_tables
from eagbench.analysis.cells import ConditionKey
from eagbench.analysis.comparisons import SeedMeans, compare, correct_families, seed_means
from eagbench.analysis.evaluation import SCORED_SCHEMA, answered
from eagbench.analysis.intervals import metric_interval
from eagbench.analysis.robustness import correct_degradations, robustness
from eagbench.contracts.records import FloatArray
from eagbench.contracts.stages import Condition, StageNode
from eagbench.execution.runner import RunResult
from eagbench.execution.store import Store, write_text
from eagbench.execution.training_files import CURVES, SUMMARIES, Use, read_points, uses
from eagbench.metrics.number_names import RECALIBRATED, metric_and_calibration, qualified_name, without_unparsed_variant
from eagbench.metrics.registered import better_end, reads_probability
from eagbench.planning.domains import Domain, Pair
from eagbench.planning.plan import Cell, Plan
from eagbench.runs.manifest import make_manifest
from eagbench.runs.schema import (
    ALL_CASES,
    ASKED_COLUMNS,
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    DOMAIN_COLUMNS,
    DOMAINS,
    GAP_COLUMNS,
    GAPS,
    KEY_COLUMNS,
    MEAN_SEED,
    RESULT_COLUMNS,
    ROBUSTNESS_COLUMNS,
    SUBGROUPS,
    TRAINING,
    TRAINING_COLUMNS,
    TRAINING_SUMMARIES,
    TUNING_PREDICTIONS,
)
from eagbench.stages.cohort_files import read_facts
from eagbench.stages.domains import read_shift
from eagbench.stages.recalibration import TUNING
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.split import read_assignment, read_parts


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
    compared, perturbed = writer.differences()
    write_text(folder / "comparisons.csv", _csv(COMPARISON_COLUMNS, compared))
    write_text(folder / "robustness.csv", _csv(ROBUSTNESS_COLUMNS, perturbed))
    write_text(folder / "costs.csv", _csv((*COST_COLUMNS, *ASKED_COLUMNS), writer.costs()))
    for method in [m.label for m in plan.methods]:
        writer.copy_predictions(method, folder)
        writer.copy_trajectories(method, folder)
    writer.copy_references(folder)
    writer.copy_subgroups(folder)
    writer.copy_tuning(folder)
    writer.copy_training(folder)
    pq.write_table(writer.patients(), folder / "patients.parquet")
    # An earlier run into this folder may have had several domains.
    for name in (DOMAINS, GAPS):
        (folder / name).unlink(missing_ok=True)
    if plan.transfer.is_crossed:
        write_text(folder / DOMAINS, _csv(DOMAIN_COLUMNS, writer.domains()))
        write_text(folder / GAPS, _csv(GAP_COLUMNS, writer.gaps()))
    write_text(folder / "log.jsonl", "".join(json.dumps(entry) + "\n" for entry in result.log))
    manifest = make_manifest(plan, result, store, folder, writer.recalibrations())
    write_text(folder / "manifest.json", json.dumps(manifest, indent=1))
    return manifest


class _Writer:
    def __init__(self, plan: Plan, result: RunResult, store: Store) -> None:
        self.plan, self.result, self.store = plan, result, store
        self.benchmark = plan.loaded.benchmark
        self.facts = {domain.name: read_facts(store.folder(domain.cohort)) for domain in plan.transfer.domains}
        self.split_name = "out_of_fold" if self.benchmark.split.folds else "held_out"
        parts = {domain.name: read_parts(store.folder(domain.split)) for domain in plan.transfer.domains}
        self.counts = {name: transfer_tables.held_out_counts(found) for name, found in parts.items()}
        self._cells_of: defaultdict[tuple[Any, ...], list[Cell]] = defaultdict(list)
        for cell in plan.cells:
            self._cells_of[cell.method, cell.key.condition, cell.key.pair].append(cell)

    # Rows

    def keys(self, method: str, seed: int | str, condition: Condition, pair: Pair) -> dict[str, Any]:
        """The key columns of a row."""
        return {
            "benchmark": self.benchmark.name,
            "task": self.facts[pair.evaluate.name]["task"]["name"],
            "domain_train": pair.train.name,
            "domain_eval": pair.evaluate.name,
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
            "subgroup": ALL_CASES,
            "metric": metric,
            "n_cases": self.counts[keys["domain_eval"]].n_cases,
            "n_positive": self.counts[keys["domain_eval"]].n_positive,
            "n_unparsed": n_unparsed,
        }
        for column in ("value", "ci_low", "ci_high"):
            number = numbers.get(column, float("nan"))
            row[column] = "" if np.isnan(number) else repr(float(number))
        row["status"] = "undefined" if status == "ok" and row["value"] == "" else status
        return row

    def results(self) -> list[dict[str, Any]]:
        """All rows, by pair of domains: references, then per method each seed and the mean over seeds, clean first."""
        rows = self._reference_rows()
        for pair in self.plan.transfer.pairs:
            for method in self.plan.methods:
                for condition in self.plan.conditions:
                    cells = self._cells(method.label, condition, pair)
                    for cell in cells:
                        rows.extend(self._cell_rows(cell))
                    rows.extend(self._mean_rows(method.label, condition, pair, cells))
        return rows

    def _cells(self, method: str, condition: Condition, pair: Pair) -> list[Cell]:
        """The cells of all seeds."""
        return self._cells_of[method, (condition.name, condition.severity), (pair.train.name, pair.evaluate.name)]

    def _reference_rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for domain, folder in self._reference_folders():
            values = json.loads((folder / "values.json").read_text())
            keys = self._reference_keys(domain, folder)
            for metric, numbers in values["metrics"].items():
                if not np.isnan(numbers["value"]):
                    rows.append(self.row(keys, metric, numbers, 0, "ok"))
            # A reference cites nothing and looks nowhere, in no subgroup.
            rows.extend(row for row in self._subgroup_rows(keys, [folder]) if row["status"] != "undefined")
        return rows

    def _reference_keys(self, domain: Domain, folder: Path) -> dict[str, Any]:
        return self.keys(folder.name, MEAN_SEED, self.plan.conditions[0], Pair(domain, domain))

    def _reference_folders(self) -> list[tuple[Domain, Path]]:
        return [
            (domain, folder)
            for domain, node in zip(self.plan.transfer.evaluated, self.plan.references, strict=True)
            for folder in sorted(p for p in self.store.folder(node).iterdir() if p.is_dir())
        ]

    def _cell_rows(self, cell: Cell) -> list[dict[str, Any]]:
        keys = self.keys(cell.method, cell.seed, cell.condition, cell.pair)
        status = self.result.cell_status(cell)
        if status != "ok":
            return [self.row(keys, use.name, {}, "", status) for use in self.plan.metrics]
        assert cell.score is not None
        values = json.loads((self.store.folder(cell.score) / "values.json").read_text())
        return [
            *(
                self.row(keys, metric, numbers, values["n_unparsed"], "ok")
                for metric, numbers in values["metrics"].items()
            ),
            *self._not_recalibrated(keys, values["metrics"], values["n_unparsed"]),
            *self._subgroup_rows(keys, [self.store.folder(cell.score)]),
        ]

    def _not_recalibrated(
        self, keys: Mapping[str, Any], names: Iterable[str], n_unparsed: int | str
    ) -> list[dict[str, Any]]:
        """Rows without a number where recalibration was asked for and not possible; the manifest says why."""
        if not self.benchmark.recalibrate or any(metric_and_calibration(name)[1] == RECALIBRATED for name in names):
            return []
        return [
            self.row(keys, qualified_name(use.name, RECALIBRATED), {}, n_unparsed, "not_applicable")
            for use in self.plan.metrics
            if reads_probability(use.name)
        ]

    def _subgroup_rows(self, keys: Mapping[str, Any], folders: Sequence[Path]) -> list[dict[str, Any]]:
        """What the scored folders of one seed, or of all seeds, say about subgroups; a mean over them."""
        if not all((folder / "subgroups.json").is_file() for folder in folders):
            return []
        seeds = [json.loads((folder / "subgroups.json").read_text()) for folder in folders]
        resamples = [pq.read_table(folder / "subgroup_resamples.parquet") for folder in folders]
        rows: list[dict[str, Any]] = []
        for subgroup, first in seeds[0].items():
            counts = {"subgroup": subgroup, "n_cases": first["n_cases"], "n_positive": first["n_positive"]}
            n_unparsed = sum(seed[subgroup]["n_unparsed"] for seed in seeds)
            of_seeds = [seed[subgroup]["metrics"] for seed in seeds]
            if not of_seeds[0]:
                few = (self.row(keys, use.name, {}, n_unparsed, "too_few") for use in self.plan.metrics)
                rows.extend({**row, **counts} for row in few)
                continue
            for metric in mean_metrics([list(metrics) for metrics in of_seeds]):
                points = [metrics[_or_plain(metric, metrics)]["value"] for metrics in of_seeds]
                draws = [
                    table[f"{subgroup}|{_or_plain(metric, metrics)}"].to_numpy()
                    for table, metrics in zip(resamples, of_seeds, strict=True)
                ]
                value, cases, events = float(np.mean(points)), first["n_cases"], first["n_positive"]
                low, high = self._interval(metric, value, np.mean(draws, axis=0), cases, events)
                numbers = {"value": value, "ci_low": low, "ci_high": high}
                rows.append({**self.row(keys, metric, numbers, n_unparsed, "ok"), **counts})
        return rows

    def _interval(
        self, metric: str, value: float, draws: FloatArray, n_cases: int, n_positive: int
    ) -> tuple[float, float]:
        intervals = self.benchmark.intervals.model_dump(mode="json")
        return metric_interval(metric, value, draws, intervals, n_cases, n_positive)

    def _mean_rows(self, method: str, condition: Condition, pair: Pair, cells: Sequence[Cell]) -> list[dict[str, Any]]:
        """The mean over seeds; its interval from resamples of patients that all seeds share.

        `n_unparsed` counts the unparsed answers of all seeds.
        """
        keys = self.keys(method, MEAN_SEED, condition, pair)
        statuses = {self.result.cell_status(cell) for cell in cells}
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
            count = self.counts[pair.evaluate.name]
            low, high = self._interval(metric, float(np.mean(points)), draws, count.n_cases, count.n_positive)
            numbers = {"value": float(np.mean(points)), "ci_low": low, "ci_high": high}
            rows.append(self.row(keys, metric, numbers, n_unparsed, "ok"))
        rows.extend(self._not_recalibrated(keys, [row_name(row) for row in rows], n_unparsed))
        rows.extend(self._subgroup_rows(keys, folders))
        return rows

    def differences(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The rows of comparisons.csv and those of robustness.csv: both from the same means over seeds.

        The first are paired differences between the method whose claim is tested and the others, none if none is; the
        second what perturbations cost each method, none if every condition is clean. A family of tests spans all pairs
        of domains.
        """
        spec = self.benchmark.comparisons
        methods = [method.label for method in self.plan.methods]
        conditions = [(condition.name, condition.severity) for condition in self.plan.conditions]
        intervals = self.benchmark.intervals.model_dump(mode="json")
        if spec is None and len(conditions) == 1:
            return [], []
        compared: list[tuple[Pair, list[dict[str, Any]]]] = []
        perturbed: list[tuple[Pair, list[dict[str, Any]]]] = []
        better = {use.name: better_end(use.name) for use in self.plan.metrics}
        for pair in self.plan.transfer.pairs:
            means = self._means(pair)
            if spec is not None:
                others = [label for label in methods if label != spec.method]
                found = compare(spec.method, spec.metric, others, conditions, means, self.benchmark.intervals.level)
                compared.append((pair, found))
            tested = None if spec is None else spec.method
            perturbed.append((pair, robustness(better, methods, conditions, means, intervals, tested)))
        correct_families([row for _, rows in compared for row in rows])
        correct_degradations([row for _, rows in perturbed for row in rows])
        return self._of_pairs(compared), self._of_pairs(perturbed)

    def _means(self, pair: Pair) -> dict[tuple[str, ConditionKey], SeedMeans]:
        """By method and condition, of the cells that every seed has finished."""
        means = {}
        for method in self.plan.methods:
            for condition in self.plan.conditions:
                cells = self._cells(method.label, condition, pair)
                if {self.result.cell_status(cell) for cell in cells} == {"ok"}:
                    means[(method.label, (condition.name, condition.severity))] = self._seed_means(cells)
        return means

    def _of_pairs(self, tables: Sequence[tuple[Pair, Sequence[Mapping[str, Any]]]]) -> list[dict[str, Any]]:
        """Rows of comparisons.csv or robustness.csv with the columns that all rows of a pair of domains share."""
        found: list[dict[str, Any]] = []
        for pair, rows in tables:
            shared = {
                **self._pair_keys(pair),
                "n_cases": self.counts[pair.evaluate.name].n_cases,
                "n_positive": self.counts[pair.evaluate.name].n_positive,
                "n_seeds": len(self.benchmark.seeds),
            }
            found.extend({**shared, **{column: _field(value) for column, value in row.items()}} for row in rows)
        return found

    def _pair_keys(self, pair: Pair) -> dict[str, str]:
        return {
            "benchmark": self.benchmark.name,
            "task": self.facts[pair.evaluate.name]["task"]["name"],
            "domain_train": pair.train.name,
            "domain_eval": pair.evaluate.name,
        }

    def domains(self) -> list[dict[str, Any]]:
        """For each pair of domains what they share, and how far cases and records differ."""
        shared = self.plan.transfer.shared
        assert shared is not None
        concepts = SharedConcepts.read(self.store.folder(shared))
        rows = []
        for pair in self.plan.transfer.pairs:
            shift = None
            if pair.shift is not None and self.result.outcome(pair.shift).is_finished:
                shift = read_shift(self.store.folder(pair.shift))
            train, target = pair.train.name, pair.evaluate.name
            row = transfer_tables.domain_row(
                self.facts[train],
                self.facts[target],
                concepts,
                read_parts(self.store.folder(pair.train.split)),
                self.counts[target],
                shift,
            )
            rows.append({**self._pair_keys(pair), **{column: _field(value) for column, value in row.items()}})
        return rows

    def gaps(self) -> list[dict[str, Any]]:
        """For each method and pair of domains by how much it is worse where it was not trained."""
        clean = self.plan.conditions[0]
        means = {}
        for pair in self.plan.transfer.pairs:
            for method in self.plan.methods:
                cells = self._cells(method.label, clean, pair)
                if {self.result.cell_status(cell) for cell in cells} == {"ok"}:
                    means[(method.label, pair.train.name, pair.evaluate.name)] = self._seed_means(cells)
        rows = transfer_tables.gaps(
            [method.label for method in self.plan.methods],
            [(pair.train.name, pair.evaluate.name) for pair in self.plan.transfer.pairs],
            {domain.name: domain.holds for domain in self.plan.transfer.domains},
            means,
            self.benchmark.intervals.level,
        )
        task = {name: facts["task"]["name"] for name, facts in self.facts.items()}
        return [
            {
                "benchmark": self.benchmark.name,
                "task": task[row["domain_eval"]],
                **{column: _field(value) for column, value in row.items()},
                "n_cases": self.counts[row["domain_eval"]].n_cases,
                "n_positive": self.counts[row["domain_eval"]].n_positive,
                "n_seeds": len(self.benchmark.seeds),
            }
            for row in rows
        ]

    def patients(self) -> pa.Table:
        """Who was in which part of which domain."""
        tables = []
        for domain in self.plan.transfer.domains:
            table = read_assignment(self.store.folder(domain.split))
            tables.append(table.add_column(0, "domain", pa.array([domain.name] * table.num_rows, type=pa.string())))
        return pa.concat_tables(tables)

    def _seed_means(self, cells: Sequence[Cell]) -> SeedMeans:
        folders = [self.store.folder(cell.score) for cell in cells if cell.score is not None]
        values = [json.loads((folder / "values.json").read_text())["metrics"] for folder in folders]
        resamples = [pq.read_table(folder / "resamples.parquet") for folder in folders]
        return seed_means(
            [{name: numbers["value"] for name, numbers in value.items()} for value in values],
            [{name: table[name].to_numpy() for name in table.column_names} for table in resamples],
            [answered(pq.read_table(folder / "scored.parquet").to_pylist()) for folder in folders],
        )

    def costs(self) -> list[dict[str, Any]]:
        """One row per stage of the plan: what it took when it was computed, now or in an earlier run."""
        rows = []
        for node in self.plan.nodes:
            outcome = self.result.outcome(node)
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
                    **{name: int(facts.get("costs", {}).get(name, 0)) for name in ASKED_COLUMNS},
                }
            )
        return rows

    # Copies

    def copy_predictions(self, method: str, folder: Path) -> None:
        """All scored predictions of a method in one table."""
        tables = []
        for cell in self.plan.cells:
            if cell.method == method and self.result.cell_status(cell) == "ok":
                assert cell.score is not None
                keys = self.keys(method, cell.seed, cell.condition, cell.pair)
                tables.append(self._keyed(cell.score, keys))
        if tables:
            pq.write_table(pa.concat_tables(tables), folder / "predictions" / f"{method}.parquet")

    def copy_references(self, folder: Path) -> None:
        """The predictions of each reference that came with the data."""
        tables: dict[str, list[pa.Table]] = {}
        for domain, reference in self._reference_folders():
            scored = pq.read_table(reference / "scored.parquet")
            tables.setdefault(reference.name, []).append(_with_keys(scored, self._reference_keys(domain, reference)))
        for name, found in tables.items():
            pq.write_table(pa.concat_tables(found), folder / "predictions" / f"{name}.parquet")

    def _keyed(self, score: StageNode, keys: Mapping[str, Any]) -> pa.Table:
        return _with_keys(pq.read_table(self.store.folder(score) / "scored.parquet"), keys)

    def copy_subgroups(self, folder: Path) -> None:
        """Which held-out cases of which evaluated domain are in which subgroups."""
        (folder / SUBGROUPS).unlink(missing_ok=True)
        tables = []
        if not self.plan.subgroups:
            return
        for domain, subgroups in zip(self.plan.transfer.evaluated, self.plan.subgroups, strict=True):
            parts = read_assignment(self.store.folder(domain.split))
            held_out = parts.filter(pc.equal(parts["part"], "held_out"))["case_id"]
            table = pq.read_table(self.store.folder(subgroups) / SUBGROUPS)
            table = table.filter(pc.is_in(table["case_id"], value_set=held_out.combine_chunks()))
            names = pa.array([domain.name] * table.num_rows, type=pa.string())
            tables.append(table.add_column(0, "domain_eval", names))
        pq.write_table(pa.concat_tables(tables), folder / SUBGROUPS)

    def copy_tuning(self, folder: Path) -> None:
        """The answers to tuning cases on which recalibrations were fitted."""
        (folder / TUNING_PREDICTIONS).unlink(missing_ok=True)
        tables = []
        for keys, stage in self.recalibrations():
            table = pq.read_table(stage / TUNING)
            for i, (name, value) in enumerate(keys.items()):
                table = table.add_column(i, name, pa.array([value] * table.num_rows))
            tables.append(table)
        if tables:
            pq.write_table(pa.concat_tables(tables), folder / TUNING_PREDICTIONS)

    def recalibrations(self) -> list[tuple[dict[str, Any], Path]]:
        """The finished recalibration stages, once each, with what each was fitted for."""
        found: dict[str, tuple[dict[str, Any], Path]] = {}
        for cell in self.plan.cells:
            for fold, stages in enumerate(cell.folds):
                if stages.recalibration is not None and self.result.outcome(stages.recalibration).is_finished:
                    domain = cell.pair.train.name
                    keys = {"method": cell.method, "seed": cell.seed, "domain_train": domain, "fold": fold}
                    found[json.dumps(keys)] = keys, self.store.folder(stages.recalibration)
        return list(found.values())

    def copy_trajectories(self, method: str, folder: Path) -> None:
        """What a method wrote, one JSON object a line."""
        lines: list[str] = []
        for cell in self.plan.cells:
            if cell.method != method or cell.score is None or self.result.cell_status(cell) != "ok":
                continue
            keys = {
                "domain_train": cell.pair.train.name,
                "domain_eval": cell.pair.evaluate.name,
                "seed": cell.seed,
                "condition": cell.condition.name,
                "severity": cell.condition.severity,
            }
            for stages in cell.folds:
                # Not by splitlines, which also breaks at characters that JSON leaves as they are.
                with (self.store.folder(stages.predict) / "trajectories.jsonl").open(encoding="utf-8") as stream:
                    lines.extend(json.dumps({**keys, **json.loads(line)}, ensure_ascii=False) for line in stream)
        if lines:
            write_text(folder / "trajectories" / f"{method}.jsonl", "\n".join(lines) + "\n")

    def copy_training(self, folder: Path) -> None:
        """What the stages behind each method's predictions left about their training: curves and summaries."""
        columns: dict[str, list[Any]] = {name: [] for name in TRAINING_COLUMNS}
        lines: list[str] = []
        for use in uses(self.plan):
            if not self.result.outcome(use.node).is_finished:
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


def _training_keys(use: Use) -> dict[str, Any]:
    return {
        "method": use.method,
        "seed": use.seed,
        "fold": use.fold,
        "kind": use.node.kind,
        "label": use.node.label,
        "stage": use.node.fingerprint,
    }


def row_name(row: Mapping[str, Any]) -> str:
    """The qualified name of a row's number."""
    return qualified_name(row["metric"], row["calibration"])


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


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
