"""The leakage proof: no prediction is about a patient who was trained on for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagbench.runs.verify.findings import Findings
from eagbench.stages.parquet_files import read_parquet
from eagbench.stages.split import PARTS, patient_set_hash

Place = tuple[str, int]  # domain, fold


def check_patients(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check that no held-out patient of a fold is in a set that any training stage behind its predictions recorded."""
    table = read_parquet(folder / "patients.parquet").to_pylist()
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
        predicted = read_parquet(path, columns=["domain_eval", "case_id", "fold"]).to_pylist()
        if any(held_out.get((r["domain_eval"], r["case_id"])) != r["fold"] for r in predicted):
            findings.problems.append(f"{path.name} predicts cases outside the held-out part")


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
                # Equal ids in different data sets are chance: they name different people.
                same_people = cohort[seen[1][0]] == cohort[asked[1][0]]
                if same_people and of(seen) & of(asked):
                    findings.problems.append(f"{name} is asked about patients who were trained on for it")
            findings.count("predictions with unseen patients")


_TRAINING = "training"


def _seen(declared: Mapping[str, Any], domain_of: Mapping[str, str]) -> tuple[str, Place] | None:
    """Return the part and place of the cases that an input shows; None for labels and for outputs of other stages."""
    if declared["shows"] in {"labels", "stages"}:
        return None
    return declared["shows"], (domain_of[declared["split"]], declared["fold"])
