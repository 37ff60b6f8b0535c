"""`eagbench verify`: a run's numbers and its leakage proof, recomputed from what the run folder holds.

Point values of the known metrics are recomputed with scikit-learn and NumPy alone, not with eagbench's own metrics;
intervals with eagbench's bootstrap from the stored predictions. Nothing is read from the store.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from eagbench.analysis.cells import ConditionKey
from eagbench.analysis.comparisons import SeedMeans, compare, correct_families, seed_means
from eagbench.analysis.evaluation import Answered, SubgroupNumbers, answered, evaluate, evaluate_subgroups
from eagbench.analysis.intervals import metric_interval
from eagbench.analysis.robustness import correct_degradations, robustness
from eagbench.analysis.transfer import domain_row, gaps, held_out_counts
from eagbench.contracts.records import FloatArray
from eagbench.execution.store import file_hash
from eagbench.metrics.number_names import UNCORRECTED, metric_and_calibration, qualified_name, without_unparsed_variant
from eagbench.metrics.registered import better_end
from eagbench.runs.schema import (
    ALL_CASES,
    DOMAINS,
    GAPS,
    KEY_COLUMNS,
    MEAN_SEED,
    SUBGROUPS,
    TUNING_PREDICTIONS,
    read_manifest,
)
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.split import PARTS, patient_set_hash
from eagbench.stages.subgroups import members
from eagbench.stats.recalibration import fit_recalibration

# Points, resamples and answers by the key columns of a cell.
Evaluated = dict[tuple[str, ...], tuple[dict[str, float], dict[str, FloatArray], Answered]]

_PAIR_COLUMNS = ("task", "domain_train", "domain_eval")
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
        means = _means(manifest, evaluated)
        compared = [row for of_pair in means.values() for row in _comparisons(manifest, of_pair)]
        correct_families(compared)
        lost = [row for of_pair in means.values() for row in _robustness(manifest, of_pair)]
        correct_degradations(lost)
        _check_rows(folder / "comparisons.csv", compared, "paired differences recomputed", findings)
        _check_rows(folder / "robustness.csv", lost, "robustness summaries recomputed", findings)
        if manifest["transfer"]["shared"] is not None:
            _check_rows(folder / DOMAINS, _domains(manifest), "pairs of domains recomputed, without shift", findings)
            _check_rows(folder / GAPS, _gaps(manifest, means), "gaps between domains recomputed", findings)
        _check_recalibration(folder, manifest, findings)
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
        rows = [row for row in csv.DictReader(stream) if row["status"] in {"ok", "undefined", "too_few"}]
    cells: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in rows:
        cells.setdefault(tuple(row[key] for key in KEY_COLUMNS), []).append(row)
    predictions = {path.stem: pq.read_table(path).to_pylist() for path in (folder / "predictions").glob("*.parquet")}
    evaluated: Evaluated = {}

    def evaluated_cell(key: tuple[str, ...], records: list[dict[str, Any]]) -> tuple[dict[str, float], Any, Answered]:
        if key not in evaluated:
            points, resamples = evaluate(records, manifest["metrics"], manifest["intervals"])
            for metric in points:
                reference = reference_value(metric, records, manifest["metrics"])
                points[metric] = points[metric] if reference is None else reference
            evaluated[key] = points, resamples, answered(records)
        return evaluated[key]

    in_subgroups: dict[tuple[str, ...], dict[str, SubgroupNumbers]] = {}
    domain_index = KEY_COLUMNS.index("domain_eval")

    def subgroups_of(key: tuple[str, ...], records: list[dict[str, Any]]) -> dict[str, SubgroupNumbers]:
        if key not in in_subgroups:
            of_domain = [("domain_eval", "==", key[domain_index])]
            groups = members(pq.read_table(folder / SUBGROUPS, filters=of_domain).to_pylist())
            found = evaluate_subgroups(
                records, groups, manifest["metrics"], manifest["intervals"], manifest["subgroups"]
            )
            for name, numbers in found.items():
                mine = [record for record in records if record["case_id"] in groups[name]]
                points = dict(numbers.points)
                for metric in points:
                    reference = reference_value(metric, mine, manifest["metrics"])
                    points[metric] = points[metric] if reference is None else reference
                found[name] = replace(numbers, points=points)
            in_subgroups[key] = found
        return in_subgroups[key]

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
            sources = [key]
        else:
            same = [k for k in by_cell if _without(k, seed_index) == _without(key, seed_index)]
            sources = same if key[seed_index] == MEAN_SEED else []
        if not sources:
            findings.problems.append(f"no predictions for the results of {' / '.join(filter(None, key))}")
            continue
        parts = [evaluated_cell(k, by_cell[k]) for k in sources]
        whole = [row for row in cell_rows if row["subgroup"] == ALL_CASES]
        for row in whole:
            _compare(row, [(points, draws) for points, draws, _ in parts], manifest["intervals"], findings)
        if len(whole) < len(cell_rows):
            subgroups = [subgroups_of(k, by_cell[k]) for k in sources]
            _check_subgroups([r for r in cell_rows if r["subgroup"] != ALL_CASES], subgroups, manifest, findings)
    return evaluated


def _check_recalibration(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Every curve is what its tuning answers give, and every recalibrated answer is what its curve gives."""
    fitted = manifest.get("recalibration", [])
    if not fitted:
        return
    tuning = pq.read_table(folder / TUNING_PREDICTIONS).to_pylist()
    patients = pq.read_table(folder / "patients.parquet").to_pylist()
    parts = {(row["domain"], row["fold"], row["part"], row["case_id"]) for row in patients}
    for curve in fitted:
        method, seed, domain, fold = (curve[key] for key in ("method", "seed", "domain_train", "fold"))
        where = f"recalibration of {method}, seed {seed}, fold {fold}"
        keys = {"method": method, "seed": seed, "domain_train": domain, "fold": fold}
        mine = [row for row in tuning if all(row[key] == value for key, value in keys.items())]
        if any((domain, fold, "tuning", row["case_id"]) not in parts for row in mine):
            findings.problems.append(f"{where}: fitted on other cases than those of the tuning part")
        again = fit_recalibration(
            np.array([row["probability"] for row in mine], dtype=np.float64),
            np.array([row["label"] for row in mine], dtype=np.int64),
        )
        for name, expected in asdict(again).items():
            same = (
                bool(np.isclose(curve[name], expected, rtol=0, atol=POINT_TOLERANCE))
                if isinstance(expected, float) and curve[name] is not None
                else curve[name] == expected
            )
            if not same:
                findings.problems.append(f"{where}: {name} is {curve[name]!r}, recomputed {expected!r}")
        path = folder / "predictions" / f"{method}.parquet"
        if again.slope is not None and path.is_file():
            filters = [("seed", "==", str(seed)), ("domain_train", "==", domain), ("fold", "==", fold)]
            columns = ["probability", "recalibrated", "parsed"]
            rows = [r for r in pq.read_table(path, columns=columns, filters=filters).to_pylist() if r["parsed"]]
            laid = [row for row in rows if row["recalibrated"] is not None]  # none if another fold has no curve
            curve_of = again.apply(np.array([row["probability"] for row in laid], dtype=np.float64))
            stored = np.array([row["recalibrated"] for row in laid], dtype=np.float64)
            if not np.allclose(curve_of, stored, rtol=0, atol=POINT_TOLERANCE):
                findings.problems.append(f"{where}: the recalibrated answers are not those of its curve")
        findings.count("recalibrations fitted again")


def _check_subgroups(
    rows: Sequence[Mapping[str, str]],
    seeds: Sequence[Mapping[str, SubgroupNumbers]],
    manifest: Mapping[str, Any],
    findings: Findings,
) -> None:
    """Compares the rows of one cell's subgroups with what each seed's answers give."""
    for row in rows:
        parts = [seed.get(row["subgroup"]) for seed in seeds]
        found = [part for part in parts if part is not None]
        where = f"{row['method']}, seed {row['seed']}, {row['subgroup']}: {row['metric']}"
        if len(found) < len(parts) or {(p.n_cases, p.n_positive) for p in found} != {
            (int(row["n_cases"]), int(row["n_positive"]))
        }:
            findings.problems.append(f"{where}: the subgroup has other cases")
        elif all(part.points for part in found) == (row["status"] == "too_few"):
            findings.problems.append(f"{where}: the status {row['status']} does not fit {row['n_cases']} cases")
        elif row["status"] == "too_few":
            findings.count("subgroups too small")
        else:
            numbers = [(dict(part.points), dict(part.draws)) for part in found]
            _compare(row, numbers, manifest["intervals"], findings)


def _check_rows(path: Path, expected: Sequence[Mapping[str, Any]], what: str, findings: Findings) -> None:
    """Compares a table with its rows computed again, in the same order."""
    with path.open(newline="") as stream:
        stored = list(csv.DictReader(stream))
    if len(stored) != len(expected):
        findings.problems.append(f"{path.name} has {len(stored)} rows, recomputed {len(expected)}")
        return
    for row, again in zip(stored, expected, strict=True):
        method = row.get("method", "") + (f" against {row['baseline']}" if row.get("baseline") else "")
        said = (row.get(column) for column in ("condition", "severity", "metric"))
        pair = f"{row['domain_train']} to {row['domain_eval']}"
        where = ", ".join(filter(None, (path.name, method, pair, " ".join(filter(None, said)))))
        for column, value in again.items():
            text = row[column]
            if isinstance(value, float):
                same = bool(np.isclose(float(text or "nan"), value, rtol=0, atol=POINT_TOLERANCE, equal_nan=True))
            else:
                same = text == ("" if value is None else str(value))
            if not same:
                findings.problems.append(f"{where}: {column} is {text!r}, recomputed {value!r}")
        findings.count(what)


def _conditions(manifest: Mapping[str, Any]) -> list[ConditionKey]:
    return [(condition["name"], condition["severity"]) for condition in manifest["conditions"]]


def _labels(manifest: Mapping[str, Any]) -> list[str]:
    return [method["label"] for method in manifest["methods"]]


Means = dict[tuple[str, ConditionKey], SeedMeans]  # by method and condition


def _means(manifest: Mapping[str, Any], evaluated: Evaluated) -> dict[tuple[str, ...], Means]:
    """For each pair of domains, in the order of results.csv, what all seeds of a cell have."""
    columns = [KEY_COLUMNS.index(column) for column in (*_PAIR_COLUMNS, *_CELL_COLUMNS)]
    of_cell = {tuple(key[i] for i in columns): found for key, found in evaluated.items()}
    n_pair = len(_PAIR_COLUMNS)
    methods = _labels(manifest)
    means: dict[tuple[str, ...], Means] = {key[:n_pair]: {} for key in of_cell if key[n_pair] in methods}
    for pair, of_pair in means.items():
        for method in methods:
            for name, severity in _conditions(manifest):
                text = "" if severity is None else str(severity)
                seeds = [of_cell.get((*pair, method, str(seed), name, text)) for seed in manifest["seeds"]]
                found = [seed for seed in seeds if seed is not None]
                if len(found) == len(seeds):
                    of_pair[(method, (name, severity))] = seed_means(*zip(*found, strict=True))
    return means


def _comparisons(manifest: Mapping[str, Any], means: Means) -> list[dict[str, Any]]:
    spec = manifest["comparisons"]
    if spec is None:
        return []
    baselines = [method for method in _labels(manifest) if method != spec["method"]]
    level = manifest["intervals"]["level"]
    return compare(spec["method"], spec["metric"], baselines, _conditions(manifest), means, level)


def _robustness(manifest: Mapping[str, Any], means: Means) -> list[dict[str, Any]]:
    spec = manifest["comparisons"]
    better = {use["name"]: better_end(use["name"]) for use in manifest["metrics"]}
    tested = None if spec is None else spec["method"]
    return robustness(better, _labels(manifest), _conditions(manifest), means, manifest["intervals"], tested)


def _domains(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The columns of domains.csv that follow from the manifest; the classifier behind a shift is not trained again."""
    transfer = manifest["transfer"]
    shared = SharedConcepts(*(tuple(transfer["shared"][names]) for names in ("features", "static_names")))
    facts = {domain["name"]: manifest["data"][domain["data"]] for domain in transfer["domains"]}
    rows = []
    for train, target in transfer["pairs"]:
        of_train, of_target = ([part for part in manifest["parts"] if part["domain"] == d] for d in (train, target))
        row = domain_row(facts[train], facts[target], shared, of_train, held_out_counts(of_target), shift=None)
        rows.append({column: value for column, value in row.items() if not column.startswith("shift")})
    return rows


def _gaps(manifest: Mapping[str, Any], means: Mapping[tuple[str, ...], Means]) -> list[dict[str, Any]]:
    transfer = manifest["transfer"]
    clean = _conditions(manifest)[0]
    of_cell = {
        (method, train, target): found
        for (_, train, target), of_pair in means.items()
        for (method, condition), found in of_pair.items()
        if condition == clean
    }
    holds = {domain["name"]: frozenset(domain["holds"]) for domain in transfer["domains"]}
    pairs = [(train, target) for train, target in transfer["pairs"]]
    return gaps(_labels(manifest), pairs, holds, of_cell, manifest["intervals"]["level"])


def _without(key: tuple[str, ...], index: int) -> tuple[str, ...]:
    return key[:index] + key[index + 1 :]


def _compare(
    row: Mapping[str, str],
    parts: Sequence[tuple[dict[str, float], Any]],
    intervals: Mapping[str, Any],
    findings: Findings,
) -> None:
    name = qualified_name(row["metric"], row["calibration"])
    plain = without_unparsed_variant(name)
    where = f"{row['method']}, seed {row['seed']}, {row['condition']} {row['severity']}: {name}"
    if any(plain not in points for points, _ in parts):
        findings.problems.append(f"{where}: the predictions do not give such a number")
        return
    point = float(np.mean([points.get(name, points[plain]) for points, _ in parts]))
    draws = np.mean([resamples.get(name, resamples[plain]) for _, resamples in parts], axis=0)
    low, high = metric_interval(name, point, draws, intervals, int(row["n_cases"]), int(row["n_positive"]))
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
        "brier_reliability": lambda: _brier_parts(label, probability, int(params["bins"]))[0],
        "brier_resolution": lambda: _brier_parts(label, probability, int(params["bins"]))[1],
        "brier_uncertainty": lambda: float(label.mean() * (1 - label.mean())) if len(label) else float("nan"),
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
    bin_of = np.digitize(probability, np.arange(1, bins) / bins)
    of_bins = (bin_of == b for b in np.unique(bin_of))
    return float(sum(mine.mean() * abs(probability[mine].mean() - label[mine].mean()) for mine in of_bins))


def _brier_parts(label: Any, probability: FloatArray, bins: int) -> tuple[float, float]:
    """Reliability and resolution over bins."""
    if not len(label):
        return float("nan"), float("nan")
    bin_of = np.digitize(probability, np.arange(1, bins) / bins)
    reliability = resolution = 0.0
    for mine in (bin_of == b for b in np.unique(bin_of)):
        rate = label[mine].mean()
        reliability += mine.mean() * (probability[mine].mean() - rate) ** 2
        resolution += mine.mean() * (rate - label.mean()) ** 2
    return float(reliability), float(resolution)


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


Place = tuple[str, int]  # domain, fold


def _check_patients(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """No patient of a fold's held-out part is in the set that any training stage behind its predictions recorded."""
    table = pq.read_table(folder / "patients.parquet").to_pylist()
    patients: dict[Place, dict[str, set[str]]] = {}
    for row in table:
        parts = patients.setdefault((row["domain"], row["fold"]), {part: set() for part in PARTS})
        parts[row["part"]].add(row["patient_id"])
    for part in manifest["parts"]:
        domain, fold, name = part["domain"], part["fold"], part["part"]
        if patient_set_hash(patients.get((domain, fold), {}).get(name, ())) != part["patients_sha256"]:
            findings.problems.append(f"patients.parquet does not match the split: {domain}, fold {fold}, {name}")
    for (domain, fold), parts in patients.items():
        both = (parts["train"] | parts["tuning"]) & parts["held_out"]
        if both:
            findings.problems.append(f"{domain}, fold {fold}: {len(both)} patients are both trained on and held out")
        if parts["train"] & parts["tuning"]:
            findings.problems.append(f"{domain}, fold {fold}: patients are in both the training and the tuning part")
        findings.count("folds with disjoint patients")
    _check_stages(manifest, patients, findings)
    held_out = {(row["domain"], row["case_id"]): row["fold"] for row in table if row["part"] == "held_out"}
    for path in (folder / "predictions").glob("*.parquet"):
        predicted = pq.read_table(path, columns=["domain_eval", "case_id", "fold"]).to_pylist()
        if any(held_out.get((r["domain_eval"], r["case_id"])) != r["fold"] for r in predicted):
            findings.problems.append(f"{path.name} predicts cases outside the held-out part")


def _check_stages(
    manifest: Mapping[str, Any], patients: Mapping[Place, Mapping[str, set[str]]], findings: Findings
) -> None:
    """Each stage saw the patients that it declares, and none behind a prediction those whom it is asked about."""
    cohort = {domain["name"]: domain["cohort"] for domain in manifest["transfer"]["domains"]}
    domain_of = {domain["split"]: domain["name"] for domain in manifest["transfer"]["domains"]}
    stages = {stage["fingerprint"]: stage for stage in manifest["stages"]}
    trained: dict[str, set[tuple[str, Place]]] = {}  # by stage: what was trained on for it, as (part, place)

    def behind(fingerprint: str) -> set[tuple[str, Place]]:
        if fingerprint not in trained:
            trained[fingerprint] = set()
            for declared in stages[fingerprint]["inputs"].values():
                for upstream in declared.get("stages", ()):
                    trained[fingerprint] |= behind(upstream)
                if (seen := _seen(declared, domain_of)) is not None and seen[0] != "held_out":
                    trained[fingerprint].add(seen)
        return trained[fingerprint]

    def of(seen: tuple[str, Place]) -> set[str]:
        parts = patients[seen[1]]
        return parts["train"] | parts["tuning"] if seen[0] == _TRAINING else parts[seen[0]]

    for stage in manifest["stages"]:
        name = f"stage {stage['kind']} {stage['label']}"
        for key, recorded in stage["patients_sha256"].items():
            seen = _seen(stage["inputs"][key], domain_of)
            if seen is None or patient_set_hash(of(seen)) != recorded:
                findings.problems.append(f"{name} saw other patients than declared")
            findings.count("patient sets of stages checked")
        for declared in stage["inputs"].values():
            asked = _seen(declared, domain_of)
            if asked is None or asked[0] != "held_out":
                continue
            if stage["kind"] not in {"predict", "reference_salience"}:
                findings.problems.append(f"{name} saw held-out patients")
            for seen in behind(stage["fingerprint"]):
                # Ids of different data sets may be equal by chance; they name different people.
                same_people = cohort[seen[1][0]] == cohort[asked[1][0]]
                if same_people and of(seen) & of(asked):
                    findings.problems.append(f"{name} is asked about patients who were trained on for it")
            findings.count("predictions with unseen patients")


_TRAINING = "training"


def _seen(declared: Mapping[str, Any], domain_of: Mapping[str, str]) -> tuple[str, Place] | None:
    """Part and place of the cases that an input shows; None for labels and for what other stages made."""
    if declared["shows"] in {"labels", "stages"}:
        return None
    return declared["shows"], (domain_of[declared["split"]], declared["fold"])
