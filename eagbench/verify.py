"""`eagbench verify`: a run's numbers and its leakage proof, recomputed from what the run folder holds.

Point values of the known metrics are recomputed with scikit-learn and NumPy alone, not with eagbench's own metrics;
intervals with eagbench's bootstrap from the stored predictions. Nothing is read from the store.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from eagbench.comparisons import compare, seed_means
from eagbench.metrics.recalibrated import (
    UNCORRECTED,
    metric_and_calibration,
    qualified_name,
    without_unparsed_variant,
)
from eagbench.run_contract import KEY_COLUMNS, MEAN_SEED, read_manifest
from eagbench.stages.score import evaluate
from eagbench.stages.split import patient_set_hash
from eagbench.stats.bootstrap import percentile_interval
from eagbench.store import file_hash
from eagbench.types import FloatArray

Evaluated = dict[tuple[str, ...], tuple[dict[str, float], dict[str, FloatArray]]]  # by the key columns of a cell

_CELL_COLUMNS = ("method", "seed", "condition", "severity")

POINT_TOLERANCE = 1e-9
INTERVAL_TOLERANCE = 1e-9


@dataclass(slots=True)
class Findings:
    """What was checked, and what did not hold."""

    checked: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything held."""
        return not self.problems

    def count(self, what: str, n: int = 1) -> None:
        """Notes that something was checked."""
        self.checked[what] = self.checked.get(what, 0) + n

    def text(self) -> str:
        """For people."""
        lines = [f"{n} {what}" for what, n in self.checked.items()]
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        return "\n".join([*lines, "verified" if self.passed else f"not verified: {len(self.problems)} problems"])


def verify(folder: Path) -> Findings:
    """Checks files, numbers, intervals and the separation of patients.

    Raises:
        UserError: The folder is no run folder.
    """
    manifest = read_manifest(folder)
    findings = Findings()
    _check_files(folder, manifest, findings)
    if findings.passed:
        evaluated = _check_numbers(folder, manifest, findings)
        _check_comparisons(folder, manifest, evaluated, findings)
        _check_patients(folder, manifest, findings)
    return findings


def _check_files(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            findings.problems.append(f"{name} is missing")
        elif file_hash(path) != expected:
            findings.problems.append(f"{name} was changed after the run")
        findings.count("files unchanged")


def _check_numbers(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> Evaluated:
    """Compares results.csv with what the predictions give; returns the latter for every cell of results.csv."""
    with (folder / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["status"] in {"ok", "undefined"}]
    cells: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        cells.setdefault(tuple(row[key] for key in KEY_COLUMNS), []).append(row)
    predictions = {path.stem: pq.read_table(path).to_pylist() for path in (folder / "predictions").glob("*.parquet")}
    evaluated: Evaluated = {}

    def evaluated_cell(key: tuple[str, ...], records: list[dict[str, Any]]) -> tuple[dict[str, float], Any]:
        if key not in evaluated:
            points, resamples = evaluate(records, manifest["metrics"], manifest["intervals"])
            for metric in points:
                reference = reference_value(metric, records, manifest["metrics"])
                points[metric] = points[metric] if reference is None else reference
            evaluated[key] = points, resamples
        return evaluated[key]

    by_cell: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for records in predictions.values():
        for record in records:
            severity = "" if record["severity"] is None else str(record["severity"])
            key = tuple(severity if k == "severity" else str(record[k]) for k in KEY_COLUMNS)
            by_cell.setdefault(key, []).append(record)
        findings.count("prediction files read")
    seed_index = KEY_COLUMNS.index("seed")
    for key, cell_rows in cells.items():
        if key in by_cell:
            parts = [evaluated_cell(key, by_cell[key])]
        else:
            same = [k for k in by_cell if _without(k, seed_index) == _without(key, seed_index)]
            parts = [evaluated_cell(k, by_cell[k]) for k in same] if key[seed_index] == MEAN_SEED else []
        if not parts:
            findings.problems.append(f"no predictions for the results of {' / '.join(filter(None, key))}")
            continue
        for row in cell_rows:
            _compare(row, parts, manifest["intervals"]["level"], findings)
    return evaluated


def _check_comparisons(folder: Path, manifest: Mapping[str, Any], evaluated: Evaluated, findings: Findings) -> None:
    with (folder / "comparisons.csv").open(newline="") as stream:
        stored = list(csv.DictReader(stream))
    spec = manifest["comparisons"]
    expected = [] if spec is None else _comparisons(spec, manifest, evaluated)
    if len(stored) != len(expected):
        findings.problems.append(f"comparisons.csv has {len(stored)} rows, recomputed {len(expected)}")
        return
    for row, again in zip(stored, expected, strict=True):
        where = f"comparisons.csv, {row['method']} against {row['baseline']}, {row['condition']} {row['severity']}"
        for column, value in again.items():
            text = row[column]
            if isinstance(value, float):
                same = bool(np.isclose(float(text or "nan"), value, rtol=0, atol=POINT_TOLERANCE, equal_nan=True))
            else:
                same = text == ("" if value is None else str(value))
            if not same:
                findings.problems.append(f"{where}: {row['metric']}: {column} is {text!r}, recomputed {value!r}")
        findings.count("paired differences recomputed")


def _comparisons(spec: Mapping[str, str], manifest: Mapping[str, Any], evaluated: Evaluated) -> list[dict[str, Any]]:
    methods = [method["label"] for method in manifest["methods"]]
    conditions = [(condition["name"], condition["severity"]) for condition in manifest["conditions"]]
    of_cell = {tuple(key[i] for i in map(KEY_COLUMNS.index, _CELL_COLUMNS)): found for key, found in evaluated.items()}
    means = {}
    for method in methods:
        for name, severity in conditions:
            text = "" if severity is None else str(severity)
            seeds = [of_cell.get((method, str(seed), name, text)) for seed in manifest["seeds"]]
            found = [seed for seed in seeds if seed is not None]
            if len(found) == len(seeds):
                means[(method, (name, severity))] = seed_means([p for p, _ in found], [draws for _, draws in found])
    baselines = [method for method in methods if method != spec["method"]]
    return compare(spec["method"], spec["metric"], baselines, conditions, means, manifest["intervals"]["level"])


def _without(key: tuple[str, ...], index: int) -> tuple[str, ...]:
    return key[:index] + key[index + 1 :]


def _compare(
    row: Mapping[str, str], parts: Sequence[tuple[dict[str, float], Any]], level: float, findings: Findings
) -> None:
    name = qualified_name(row["metric"], row["calibration"])
    plain = without_unparsed_variant(name)
    where = f"{row['method']}, seed {row['seed']}, {row['condition']} {row['severity']}: {name}"
    if any(plain not in points for points, _ in parts):
        findings.problems.append(f"{where}: the predictions do not give such a number")
        return
    point = float(np.mean([points.get(name, points[plain]) for points, _ in parts]))
    draws = np.mean([resamples.get(name, resamples[plain]) for _, resamples in parts], axis=0)
    low, high = percentile_interval(draws, level)
    for column, expected, tolerance in (
        ("value", point, POINT_TOLERANCE),
        ("ci_low", low, INTERVAL_TOLERANCE),
        ("ci_high", high, INTERVAL_TOLERANCE),
    ):
        stored = float(row[column]) if row[column] else float("nan")
        if not np.isclose(stored, expected, rtol=0, atol=tolerance, equal_nan=True):
            findings.problems.append(f"{where}: {column} is {stored!r}, recomputed {expected!r}")
        findings.count("point values recomputed" if column == "value" else "interval ends recomputed")


def reference_value(
    metric: str, records: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]]
) -> float | None:
    """A metric by scikit-learn and NumPy, None for a metric that only its own plugin knows."""
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    variant, calibration = metric_and_calibration(metric)
    plain, _, suffix = variant.partition(":")
    chosen = [r for r in records if r["parsed"]] if suffix == "parsed_only" else list(records)
    label = np.array([r["label"] for r in chosen], dtype=int)
    scored = "probability" if calibration == UNCORRECTED else calibration
    probability = np.array([r[scored] for r in chosen], dtype=float)
    parsed = np.array([r["parsed"] for r in chosen], dtype=bool)
    if suffix == "worst_case":
        probability = np.where(parsed, probability, 1 - label)
    params: Mapping[str, Any] = next((use["params"] for use in metrics if use["name"] == plain), {})
    one_class = len(set(label.tolist())) < 2
    functions: dict[str, Callable[[], float]] = {
        "auroc": lambda: float("nan") if one_class else float(roc_auc_score(label, probability)),
        "auprc": lambda: float("nan") if label.sum() == 0 else float(average_precision_score(label, probability)),
        "brier": lambda: float("nan") if not len(label) else float(brier_score_loss(label, probability)),
        "ece": lambda: _ece(label, probability, int(params["bins"])),
        "unparsed_rate": lambda: float(np.mean(~parsed)),
        "attention_jaccard": lambda: _jaccard(chosen, "cited_features"),
        "cited_features": lambda: _cited(chosen),
        "alignment_over_constant": lambda: _jaccard(chosen, "cited_features") - _jaccard(chosen, "constant_features"),
        "attention_mass": lambda: _attention_mass(chosen),
    }
    return functions[plain]() if plain in functions else None


def _ece(label: Any, probability: FloatArray, bins: int) -> float:
    if not len(label):
        return float("nan")
    bin_of = np.minimum((probability * bins).astype(int), bins - 1)
    total = 0.0
    for b in range(bins):
        mine = bin_of == b
        if mine.any():
            total += mine.mean() * abs(probability[mine].mean() - label[mine].mean())
    return float(total)


def _cited(records: Sequence[Mapping[str, Any]]) -> float:
    if all(r["cited_features"] is None for r in records):
        return float("nan")
    return float(np.mean([len(set(r["cited_features"] or ())) for r in records]))


def _attention_mass(records: Sequence[Mapping[str, Any]]) -> float:
    from scipy.spatial.distance import jensenshannon

    if all(r["attention"] is None for r in records) or all(r["teacher_salience"] is None for r in records):
        return float("nan")
    values = []
    for r in records:
        attention, salience = dict(r["attention"] or ()), dict(r["teacher_salience"])
        looked = [attention.get(name, 0.0) for name in salience]
        likeness = 1 - jensenshannon(looked, list(salience.values()), base=2) if sum(looked) > 0 else 0.0
        values.append(likeness if sum(salience.values()) > 0 else 0.0)
    return float(np.mean(values))


def _jaccard(records: Sequence[Mapping[str, Any]], lists: str) -> float:
    if all(r[lists] is None for r in records) or all(r["teacher_features"] is None for r in records):
        return float("nan")
    values = []
    for r in records:
        cited, teacher = set(r[lists] or ()), set(r["teacher_features"] or ())
        values.append(len(cited & teacher) / len(cited | teacher) if cited | teacher else 0.0)
    return float(np.mean(values))


def _check_patients(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """No patient of a fold's held-out part is in the set that any training stage of that fold recorded."""
    table = pq.read_table(folder / "patients.parquet").to_pylist()
    patients: dict[tuple[int, str], set[str]] = {}
    for row in table:
        patients.setdefault((row["fold"], row["part"]), set()).add(row["patient_id"])
    for part in manifest["parts"]:
        if patient_set_hash(patients.get((part["fold"], part["part"]), ())) != part["patients_sha256"]:
            findings.problems.append(f"patients.parquet does not match the split: fold {part['fold']}, {part['part']}")
    for fold in sorted({fold for fold, _ in patients}):
        trained = patients[(fold, "train")] | patients[(fold, "tuning")]
        both = trained & patients[(fold, "held_out")]
        if both:
            findings.problems.append(f"fold {fold}: {len(both)} patients are both trained on and held out")
        if patients[(fold, "train")] & patients[(fold, "tuning")]:
            findings.problems.append(f"fold {fold}: patients are in both the training and the tuning part")
        findings.count("folds with disjoint patients")
    expected = {}
    for fold in sorted({fold for fold, _ in patients}):
        expected[("training", fold)] = patient_set_hash(patients[(fold, "train")] | patients[(fold, "tuning")])
        for part_name in ("train", "tuning", "held_out"):
            expected[(part_name, fold)] = patient_set_hash(patients[(fold, part_name)])
    for stage in manifest["stages"]:
        for name, recorded in stage["patients_sha256"].items():
            declared = stage["inputs"][name]
            key = ("training", declared[0]) if len(declared) == 1 else (declared[1], declared[0])
            if expected[key] != recorded:
                findings.problems.append(f"stage {stage['kind']} {stage['label']} saw other patients than declared")
            if key[0] == "held_out" and stage["kind"] not in {"predict", "teacher"}:
                findings.problems.append(f"stage {stage['kind']} {stage['label']} saw held-out patients")
            findings.count("patient sets of stages checked")
    held_out = {row["case_id"]: row["fold"] for row in table if row["part"] == "held_out"}
    for path in (folder / "predictions").glob("*.parquet"):
        predicted = pq.read_table(path, columns=["case_id", "fold", "patient_id"]).to_pylist()
        if any(held_out.get(r["case_id"]) != r["fold"] for r in predicted):
            findings.problems.append(f"{path.name} predicts cases outside the held-out part")
