"""The leakage proof: no prediction is about a patient who was trained on for it. And who was in which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.runs.verify.findings import DamagedError, Findings
from eagbench.runs.verify.table_files import read_table
from eagbench.stages.split import PARTS, patient_set_hash

Place = tuple[str, int]  # domain, fold
SCHEMA = pa.schema(
    [
        ("domain", pa.string()),
        ("fold", pa.int64()),
        ("part", pa.string()),
        ("case_id", pa.string()),
        ("patient_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Parts:
    """Who was in which part, as `patients.parquet` says.

    Attributes:
        rows: Its rows.
    """

    rows: Sequence[Mapping[str, Any]]

    @classmethod
    def read(cls, folder: Path, manifest: Mapping[str, Any]) -> Parts:
        """Read `patients.parquet`.

        Raises:
            DamagedError: It is no such table, or names a domain, fold or part that the run does not have.
        """
        rows = read_table(folder / "patients.parquet", SCHEMA).to_pylist()
        places = {(part["domain"], part["fold"], part["part"]) for part in manifest["parts"]}
        if other := {(row["domain"], row["fold"], row["part"]) for row in rows} - places:
            domain, fold, part = min(other)
            raise DamagedError(f"patients.parquet has a part that the run has not: {domain}, fold {fold}, {part}")
        return cls(rows)

    @cached_property
    def patients(self) -> dict[Place, dict[str, set[str]]]:
        """Patients by domain and fold, and part."""
        found: dict[Place, dict[str, set[str]]] = {}
        for row in self.rows:
            parts = found.setdefault((row["domain"], row["fold"]), {part: set() for part in PARTS})
            parts[row["part"]].add(row["patient_id"])
        return found

    @cached_property
    def held_out(self) -> dict[str, list[tuple[str, str, int]]]:
        """Case id, patient id and fold of each held-out case, by domain, in the order of case ids."""
        found: dict[str, list[tuple[str, str, int]]] = {}
        for row in self.rows:
            if row["part"] == "held_out":
                found.setdefault(row["domain"], []).append((row["case_id"], row["patient_id"], row["fold"]))
        return {domain: sorted(cases) for domain, cases in found.items()}

    def cases(self, part: Mapping[str, Any]) -> list[str]:
        """List the case ids of a part (a record of the manifest)."""
        place = part["domain"], part["fold"], part["part"]
        return [row["case_id"] for row in self.rows if (row["domain"], row["fold"], row["part"]) == place]


def check_patients(parts: Parts, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check that no held-out patient of a fold is in a set that any training stage behind its predictions recorded."""
    patients = parts.patients
    for part in manifest["parts"]:
        domain, fold, name = part["domain"], part["fold"], part["part"]
        where = f"{domain}, fold {fold}, {name}"
        if patient_set_hash(patients.get((domain, fold), {}).get(name, ())) != part["patients_sha256"]:
            findings.problems.append(f"patients.parquet does not match the split: {where}")
        cases = parts.cases(part)
        counted = len(cases), len(patients.get((domain, fold), {}).get(name, ()))
        if counted != (part["n_cases"], part["n_patients"]) or len({*cases}) != len(cases):
            said = f"{part['n_cases']} cases of {part['n_patients']} patients"
            findings.problems.append(
                f"manifest.json: {where} has {said}, by patients.parquet {counted[0]} of {counted[1]}, "
                f"{len({*cases})} of them different"
            )
    for (domain, fold), of_fold in patients.items():
        both = (of_fold["train"] | of_fold["tuning"]) & of_fold["held_out"]
        if both:
            findings.problems.append(f"{domain}, fold {fold}: {len(both)} patients are both trained on and held out")
        if of_fold["train"] & of_fold["tuning"]:
            findings.problems.append(f"{domain}, fold {fold}: patients are in both the training and the tuning part")
        findings.count("folds with disjoint patients")
    for domain, held_out in parts.held_out.items():
        if len({case for case, _, _ in held_out}) != len(held_out):
            findings.problems.append(f"patients.parquet: cases of {domain} are held out in more than one fold")
    _check_limit(parts, manifest, findings)
    if patients.keys() >= {(part["domain"], part["fold"]) for part in manifest["parts"]}:
        _check_stages(manifest, patients, findings)


def _check_limit(parts: Parts, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check the number of patients: all of the data, or as many as the limit took.

    A split that somebody else made may leave patients out, so that there may be fewer.
    """
    limit = manifest["limit"]
    data_of = {domain["name"]: domain["data"] for domain in manifest["transfer"]["domains"]}
    is_drawn = {"train", "held_out"} & manifest["split"].keys() or manifest["split"].get("folds")
    is_drawn = is_drawn and not {"by", "file"} & manifest["split"].keys()
    whole = {d["data"] for d in manifest["transfer"]["domains"] if d["holds"] == [d["name"]] == [d["data"]]}
    for data, facts in manifest["data"].items():
        used = {(row["patient_id"]) for row in parts.rows if data_of[row["domain"]] == data}
        most = facts["n_patients"] if limit is None else min(limit, facts["n_patients"])
        if len(used) > most or (is_drawn and data in whole and len(used) != most):
            took = "no limit" if limit is None else f"a limit of {limit}"
            findings.problems.append(
                f"manifest.json: with {took} {most} of {facts['n_patients']} patients of {data} are used, by "
                f"patients.parquet {len(used)}"
            )
        findings.count("data sets with the patients that the limit takes")


def _check_stages(
    manifest: Mapping[str, Any], patients: Mapping[Place, Mapping[str, set[str]]], findings: Findings
) -> None:
    """Check that each stage saw the patients it declares, and predicts for no patient it was trained on."""
    cohort = {domain["name"]: domain["cohort"] for domain in manifest["transfer"]["domains"]}
    domain_of = {domain["split"]: domain["name"] for domain in manifest["transfer"]["domains"]}
    stages = {stage["fingerprint"]: stage for stage in manifest["stages"]}
    trained: dict[str, set[tuple[str, Place]]] = {}  # by stage: what it was trained on, as (part, place)

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
        parts = patients.get(seen[1], {part: set[str]() for part in PARTS})
        return parts["train"] | parts["tuning"] if seen[0] == _TRAINING else parts[seen[0]]

    for stage in manifest["stages"]:
        name = f"stage {stage['kind']} {stage['label']}"
        shown = {key for key, declared in stage["inputs"].items() if _seen(declared, domain_of) is not None}
        is_finished = stage["status"] in {"computed", "reused"}
        if stage["patients_sha256"].keys() != (shown if is_finished else set()):
            findings.problems.append(f"{name} recorded other patient sets than those of its inputs")
        for key, recorded in stage["patients_sha256"].items():
            seen = _seen(stage["inputs"].get(key, {"shows": "stages"}), domain_of)
            if seen is None or patient_set_hash(of(seen)) != recorded:
                findings.problems.append(f"{name} saw other patients than declared")
            findings.count("patient sets of stages checked")
        for declared in stage["inputs"].values():
            asked = _seen(declared, domain_of)
            if asked is None or asked[0] != "held_out":
                continue
            if stage["kind"] not in {"predict", "reference_salience", "reread"}:
                findings.problems.append(f"{name} saw held-out patients")
            for seen in behind(stage["fingerprint"]):
                # Equal ids in different data sets are chance: they name different people.
                same_people = cohort[seen[1][0]] == cohort[asked[1][0]]
                if same_people and of(seen) & of(asked):
                    findings.problems.append(f"{name} is asked about patients who were trained on for it")
            findings.count("predictions with unseen patients")


_TRAINING = "training"


def _seen(declared: Mapping[str, Any], domain_of: Mapping[str, str]) -> tuple[str, Place] | None:
    """Return the part and place of the cases that an input shows; None for labels and for outputs of other stages."""
    if declared["shows"] in {"labels", "stages"} or declared.get("split") not in domain_of:
        return None
    return declared["shows"], (domain_of[declared["split"]], int(declared.get("fold") or 0))
