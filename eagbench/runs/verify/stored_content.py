"""What a run folder holds is what the run's stages left in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.run_tables import MEAN_SEED
from eagbench.execution.training_files import CURVES, SUMMARIES
from eagbench.runs.copies import curve_rows, held_out_subgroups, summary_lines, trajectory_lines, tuning_answers
from eagbench.runs.manifest import data_facts
from eagbench.runs.predictions import keyed_table, predictions_path
from eagbench.runs.schema import SUBGROUPS, TRAINING, TRAINING_COLUMNS, TRAINING_SUMMARIES, TUNING_PREDICTIONS
from eagbench.runs.verify.stage_records import FINISHED, cost_columns, scored_cells, stages_by_fingerprint
from eagbench.runs.verify.stored_stages import StoreComparison, StoredStages
from eagbench.runs.verify.table_files import first_difference, read_any_table, read_csv, read_text
from eagbench.runs.writer import cost_amounts, field_text
from eagbench.stages.domains import read_shift
from eagbench.stages.given_split import read_notes
from eagbench.stages.parquet_files import constant_text, read_parquet
from eagbench.stages.recalibration import read_recalibration
from eagbench.stages.scored_files import read_scored
from eagbench.stages.shared_concepts import SharedConcepts

_TIMED = frozenset({"seconds", "peak_memory_mb"})
_CELL = ("domain_train", "domain_eval", "seed", "condition", "severity")


@dataclass(frozen=True)
class StoredContent:
    """Compares a run folder with the stages that it was written from.

    Attributes:
        folder: The run folder.
        manifest: Its manifest.
        against: The stages in the store.
    """

    folder: Path
    manifest: Mapping[str, Any]
    against: StoreComparison

    def check(self) -> None:
        """Check the manifest's facts and every file that was copied from stages."""
        self._check_domains()
        self._check_recalibrations()
        for method in self.manifest["methods"]:
            self._check_method(method["label"])
        for name in dict.fromkeys(reference["name"] for reference in self.manifest["references"]):
            self._check_reference(name)
        self._check_reference_names()
        self._check_subgroups()
        self._check_training()
        self._check_costs()

    def _compare_table(self, name: str, stages: Iterable[str], expected: Callable[[], pa.Table]) -> None:
        path = self.folder / name
        if path.is_file():
            self.against.compare(name, stages, lambda: first_difference(read_any_table(path), expected()))

    def _compare_lines(self, name: str, stages: Iterable[str], expected: Callable[[], list[str]]) -> None:
        path = self.folder / name

        def differs() -> str | None:
            lines = expected()
            text = read_text(path) if path.is_file() else ""
            if text == "".join(f"{line}\n" for line in lines):
                return None
            found = text.split("\n")
            at = next(
                (i for i, (a, b) in enumerate(zip(found, lines, strict=False)) if a != b), min(len(found), len(lines))
            )
            return f"line {at + 1} differs"

        self.against.compare(name, stages, differs)

    # Data, split, parts

    def _check_domains(self) -> None:
        manifest, domains = self.manifest, self.manifest["transfer"]["domains"]
        for domain in domains:
            cohort, split = domain["cohort"], domain["split"]
            self.against.compare("manifest.json: data", [cohort], partial(self._data_differs, domain))
            self.against.compare("manifest.json: parts", [split], partial(self._parts_differ, domain))
        self._compare_table("patients.parquet", [domain["split"] for domain in domains], self._patients)
        shared = [s["fingerprint"] for s in manifest["stages"] if s["kind"] == "shared_concepts"]
        if bool(shared) != (manifest["transfer"]["shared"] is not None):
            self.against.findings.problems.append("manifest.json: transfer.shared and the stages do not agree")
        for fingerprint in shared:
            self.against.compare(
                "manifest.json: transfer.shared", [fingerprint], partial(self._shared_differs, fingerprint)
            )

    def _folder(self, fingerprint: str) -> Path:
        return self.against.stored.folders[fingerprint]

    def _data_differs(self, domain: Mapping[str, Any]) -> str | None:
        cohort = domain["cohort"]
        expected = _as_json(data_facts(self._folder(cohort), self.against.stored.facts[cohort]["content"]))
        return _differing(self.manifest["data"][domain["data"]], expected)

    def _parts_differ(self, domain: Mapping[str, Any]) -> str | None:
        folder, params = self._folder(domain["split"]), self.against.stored.facts[domain["split"]]["params"]
        if params.get("limit") != self.manifest["limit"]:
            return f"the limit was {params.get('limit')}, not {self.manifest['limit']}"
        if params.get("seed") != self.manifest["split"].get("seed"):
            return "the split was drawn by another seed"
        notes = self.manifest.get("split_notes", {}).get(domain["data"])
        if notes is not None and domain["holds"] == [domain["name"]] and notes != list(read_notes(folder)):
            return "split_notes are others"
        recorded = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
        mine = [part for part in self.manifest["parts"] if part["domain"] == domain["name"]]
        return None if mine == [{"domain": domain["name"], **part} for part in recorded] else "counts or hashes"

    def _patients(self) -> pa.Table:
        tables = []
        for domain in self.manifest["transfer"]["domains"]:
            table = read_parquet(self._folder(domain["split"]) / "parts.parquet")
            tables.append(table.add_column(0, "domain", constant_text(domain["name"], table.num_rows)))
        return pa.concat_tables(tables)

    def _shared_differs(self, fingerprint: str) -> str | None:
        expected = _as_json(asdict(SharedConcepts.read(self._folder(fingerprint))))
        return None if expected == self.manifest["transfer"]["shared"] else "other features or static facts"

    # Recalibration

    def _check_recalibrations(self) -> None:
        stages = stages_by_fingerprint(self.manifest)
        fitted: dict[tuple[Any, ...], str] = {}
        for cell in self.manifest["cells"]:
            declared = {} if cell["score"] is None else stages[cell["score"]]["inputs"].get("recalibration", {})
            for fold, fingerprint in enumerate(declared.get("stages") or ()):
                fitted[cell["method"], cell["seed"], cell["domain_train"], fold] = fingerprint
        curves = self.manifest["recalibration"]
        keys = [{key: curve[key] for key in ("method", "seed", "domain_train", "fold")} for curve in curves]
        used = [fitted.get(tuple(key.values()), "") for key in keys]
        for curve, key, fingerprint in zip(curves, keys, used, strict=True):

            def differs(curve: Any = curve, key: Any = key, fingerprint: str = fingerprint) -> str | None:
                return _differing(curve, {**key, **asdict(read_recalibration(self._folder(fingerprint)))})

            self.against.compare(f"manifest.json: the recalibration of {curve['method']}", [fingerprint], differs)
        if curves:
            self._compare_table(
                TUNING_PREDICTIONS,
                used,
                lambda: pa.concat_tables(
                    [tuning_answers(key, self._folder(f)) for key, f in zip(keys, used, strict=True)]
                ),
            )

    # Answers and texts

    def _check_method(self, method: str) -> None:
        cells = scored_cells(self.manifest, method)
        if not cells:
            return
        keys = [self._keys(cell, method) for cell in cells]
        scores = [cell["score"] for cell in cells]
        path = predictions_path(self.folder, method).relative_to(self.folder).as_posix()
        self._compare_table(path, scores, lambda: self._answers(keys, [self._folder(score) for score in scores]))
        stages = stages_by_fingerprint(self.manifest)
        predict = [stages[score]["inputs"].get("predict", {}).get("stages") or [] for score in scores]

        def lines() -> list[str]:
            return [
                line
                for cell, folds in zip(cells, predict, strict=True)
                for fingerprint in folds
                for line in trajectory_lines({key: cell[key] for key in _CELL}, self._folder(fingerprint))
            ]

        self._compare_lines(f"trajectories/{method}.jsonl", [f for folds in predict for f in folds], lines)

    def _keys(self, cell: Mapping[str, Any], method: str) -> dict[str, Any]:
        manifest = self.manifest
        data = next(d["data"] for d in manifest["transfer"]["domains"] if d["name"] == cell["domain_eval"])
        return {
            "benchmark": manifest["name"],
            "task": manifest["data"][data]["task"]["name"],
            "split": "out_of_fold" if manifest["split"].get("folds") else "held_out",
            **{key: cell[key] for key in _CELL},
            "method": method,
        }

    def _answers(self, keys: Sequence[Mapping[str, Any]], folders: Sequence[Path]) -> pa.Table:
        metrics = [MetricUse.recorded(record) for record in self.manifest["metrics"]]
        tables = [read_scored(folder) for folder in folders]
        return pa.concat_tables([keyed_table(t, key, metrics) for t, key in zip(tables, keys, strict=True)])

    def _check_reference(self, name: str) -> None:
        listed = [reference for reference in self.manifest["references"] if reference["name"] == name]
        cell = {"seed": MEAN_SEED, "condition": "clean", "severity": None}
        keys = [self._keys({**cell, "domain_train": r["domain"], "domain_eval": r["domain"]}, name) for r in listed]
        self._compare_table(
            f"predictions/{name}.parquet",
            [r["stage"] for r in listed],
            lambda: self._answers(keys, [self._folder(r["stage"]) / name for r in listed]),
        )

    def _check_reference_names(self) -> None:
        """Check that no reference that came with the data was left out."""
        for stage in self.manifest["stages"]:
            if stage["kind"] == "references" and stage["status"] in FINISHED:
                fingerprint = stage["fingerprint"]
                mine = [r["name"] for r in self.manifest["references"] if r["stage"] == fingerprint]

                def differs(fingerprint: str = fingerprint, mine: list[str] = mine) -> str | None:
                    found = sorted(path.name for path in self._folder(fingerprint).iterdir() if path.is_dir())
                    return None if mine == found else f"there are {', '.join(found) or 'none'}"

                self.against.compare("manifest.json: references", [fingerprint], differs)

    def _check_costs(self) -> None:
        """Check what each stage cost when it was computed."""
        path = self.folder / "costs.csv"
        rows = {row["stage"]: row for row in read_csv(path, cost_columns(path))}
        for stage in self.manifest["stages"]:
            if stage["status"] not in FINISHED:
                continue
            fingerprint = stage["fingerprint"]

            def differs(fingerprint: str = fingerprint) -> str | None:
                row = rows.get(fingerprint, {})
                expected = cost_amounts(self.against.stored.facts[fingerprint], 0.0)
                if self.against.stored.is_other_computation(fingerprint):
                    expected = {name: value for name, value in expected.items() if name not in _TIMED}
                    self.against.findings.leave_open("times of stages that were computed elsewhere or again")
                other = [
                    name
                    for name, value in expected.items()
                    if (name in row and row[name] != str(field_text(value))) or (name not in row and value)
                ]
                return ", ".join(other) or None

            self.against.compare(f"costs.csv: stage {stage['kind']} {stage['label']}", [fingerprint], differs)

    # Subgroups, training, shifts

    def _check_subgroups(self) -> None:
        if self.manifest["subgroups"] is None:
            return
        domains = {domain["name"]: domain for domain in self.manifest["transfer"]["domains"]}
        evaluated = list(dict.fromkeys(target for _, target in self.manifest["transfer"]["pairs"]))
        of_cohort = {
            upstream: stage["fingerprint"]
            for stage in self.manifest["stages"]
            if stage["kind"] == "subgroups"
            for upstream in stage["inputs"].get("cohort", {}).get("stages") or ()
        }
        used = [(name, domains[name]["split"], of_cohort.get(domains[name]["cohort"], "")) for name in evaluated]
        self._compare_table(
            SUBGROUPS,
            [fingerprint for _, split, found in used for fingerprint in (split, found)],
            lambda: pa.concat_tables([held_out_subgroups(n, self._folder(s), self._folder(g)) for n, s, g in used]),
        )

    def _check_training(self) -> None:
        found = [
            (keys, fingerprint)
            for keys, fingerprint in training_uses(self.manifest)
            if stages_by_fingerprint(self.manifest)[fingerprint]["status"] in FINISHED
        ]
        told = [(k, f) for k, f in found if f not in self.against.stored.folders or self._tells(f)]
        stages = [fingerprint for _, fingerprint in told]
        if not (self.folder / TRAINING).is_file():
            self.against.compare(TRAINING, stages, lambda: "it is missing" if self._curves(told) else None)
        self._compare_table(
            TRAINING,
            stages,
            lambda: pa.table({n: [row[n] for row in self._curves(told)] for n in TRAINING_COLUMNS}),
        )
        self._compare_lines(
            TRAINING_SUMMARIES,
            stages,
            lambda: [line for keys, f in told for line in summary_lines(keys, self._folder(f))],
        )

    def _tells(self, fingerprint: str) -> bool:
        return any((self._folder(fingerprint) / name).is_file() for name in (*CURVES, *SUMMARIES))

    def _curves(self, told: Sequence[tuple[Mapping[str, Any], str]]) -> list[dict[str, Any]]:
        return [row for keys, fingerprint in told for row in curve_rows(keys, self._folder(fingerprint))]


def training_uses(manifest: Mapping[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """List the stages behind each method's predictions, by method, seed and fold, as training files name them."""
    stages = stages_by_fingerprint(manifest)
    order = {fingerprint: i for i, fingerprint in enumerate(stages)}
    first = manifest["conditions"][0]
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell in manifest["cells"]:
        if cell["score"] is None or (cell["condition"], cell["severity"]) != (first["name"], first["severity"]):
            continue
        for fold, predict in enumerate(stages[cell["score"]]["inputs"].get("predict", {}).get("stages") or ()):
            behind: set[str] = set()
            waiting = _upstream(stages[predict])
            while waiting:
                fingerprint = waiting.pop()
                if fingerprint not in behind:
                    behind.add(fingerprint)
                    waiting += _upstream(stages[fingerprint])
            for fingerprint in sorted(behind, key=lambda name: order[name]):
                stage = stages[fingerprint]
                keys = {"method": cell["method"], "seed": cell["seed"], "fold": fold}
                named = {**keys, "kind": stage["kind"], "label": stage["label"], "stage": fingerprint}
                found.setdefault((*keys.values(), fingerprint), named)
    return [(keys, fingerprint) for (*_, fingerprint), keys in found.items()]


def _upstream(stage: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for shown in stage["inputs"].values():
        found += shown.get("stages") or ()
        found += [shown["split"]] if shown.get("split") is not None else []
    return found


def stored_shifts(manifest: Mapping[str, Any], stored: StoredStages) -> dict[tuple[str, str], Mapping[str, Any]] | None:
    """Read how well a classifier told two domains apart, by pair; None if the store lacks one of the stages."""
    domain_of = {domain["split"]: domain["name"] for domain in manifest["transfer"]["domains"]}
    shifts: dict[frozenset[str], Mapping[str, Any]] = {}
    for stage in manifest["stages"]:
        if stage["kind"] == "covariate_shift" and stage["status"] in FINISHED:
            if stage["fingerprint"] not in stored.folders:
                return None
            pair = frozenset(domain_of.get(stage["inputs"][key].get("split"), "") for key in ("first", "second"))
            shifts[pair] = read_shift(stored.folders[stage["fingerprint"]])
    pairs = [tuple(pair) for pair in manifest["transfer"]["pairs"]]
    return {pair: shifts[frozenset(pair)] for pair in pairs if frozenset(pair) in shifts}


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _differing(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str | None:
    keys = [key for key in {**expected, **found} if found.get(key) != expected.get(key)]
    return ", ".join(keys) or None
