"""Resolve a stage's declared inputs. Only here are held-out labels separated from everything else."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eagbench.contracts.answers import HeldOutLabels
from eagbench.contracts.components import Perturbation
from eagbench.contracts.records import Case, Cases, LabelledCases, TrainingData
from eagbench.contracts.rules import check_perturbed
from eagbench.contracts.stages import (
    CasesInput,
    Condition,
    LabelsInput,
    StageNode,
    StageOutput,
    StageOutputs,
    TrainingInput,
    content_hash,
)
from eagbench.contracts.traits import PerturbationTraits, traits_of
from eagbench.registry.containment import contained
from eagbench.registry.plugins import answerable, load_registry
from eagbench.stages.cohort_files import labels_of, read_cases, read_labels, read_reference_probabilities
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.split import patient_set_hash, read_assignment, read_parts

# The folder of a stage's files: `Store.folder`.
FolderOf = Callable[[StageNode], Path]


def resolve(node: StageNode, folder_of: FolderOf) -> dict[str, Any]:
    """Return the value of each input of a stage: folders, cases, training data or labels."""
    return {name: _resolve(value, folder_of) for name, value in node.inputs.items()}


def read_stages(node: StageNode) -> list[StageNode]:
    """List the stages whose folders `resolve` reads or hands over."""
    of_patients = (v for v in node.inputs.values() if not isinstance(v, StageOutput | StageOutputs))
    return [*node.upstream(), *(_cohort(value.split) for value in of_patients)]


def training_patients(node: StageNode, folder_of: FolderOf) -> dict[str, str]:
    """Hash the patient set behind each input that shows a stage patients."""
    seen: dict[str, str] = {}
    for name, value in node.inputs.items():
        if isinstance(value, TrainingInput):
            data = _training(folder_of(_cohort(value.split)), folder_of(value.split), value.fold)
            seen[name] = patient_set_hash((*data.train.cases.patient_ids, *data.tuning.cases.patient_ids))
        elif isinstance(value, CasesInput):
            cases = _part(folder_of(_cohort(value.split)), folder_of(value.split), value.fold, value.part)
            seen[name] = patient_set_hash(cases.patient_ids)
    return seen


def _cohort(split: StageNode) -> StageNode:
    return split.upstream()[0]


def _resolve(value: Any, folder_of: FolderOf) -> Any:
    if isinstance(value, StageOutput):
        return folder_of(value.stage)
    if isinstance(value, StageOutputs):
        return tuple(folder_of(stage) for stage in value.stages)
    cohort, split = folder_of(_cohort(value.split)), folder_of(value.split)
    if isinstance(value, LabelsInput):
        return _held_out_labels(cohort, split, folder_of(value.trained_on or value.split))
    concepts = None if value.concepts is None else SharedConcepts.read(folder_of(value.concepts))
    if isinstance(value, TrainingInput):
        data = _training(cohort, split, value.fold)
        return data if concepts is None else concepts.restrict_training(data)
    cases = _part(cohort, split, value.fold, value.part)
    if value.condition.perturbation is not None:
        seed = int(value.split.params["seed"])
        cases = _perturbed(cases, _part(cohort, split, value.fold, "train"), *_key(value.condition), seed)
    # After the perturbation, so that methods reading only the shared concepts meet the same changed record as the rest.
    return cases if concepts is None else concepts.restrict(cases)


@functools.lru_cache(maxsize=32)
def _part(cohort: Path, split: Path, fold: int, part: str) -> Cases:
    table = read_assignment(split)
    columns = (table[name].to_pylist() for name in ("case_id", "fold", "part"))
    wanted = {case_id for case_id, *place in zip(*columns, strict=True) if place == [fold, part]}
    cases = read_cases(cohort)
    return cases.select([i for i, case_id in enumerate(cases.case_ids) if case_id in wanted])


def _training(cohort: Path, split: Path, fold: int) -> TrainingData:
    labels = read_labels(cohort)
    train, tuning = (_part(cohort, split, fold, part) for part in ("train", "tuning"))
    return TrainingData(
        train=LabelledCases(train, labels_of(train.case_ids, labels)),
        tuning=LabelledCases(tuning, labels_of(tuning.case_ids, labels)),
    )


# Every cell of a domain is scored with the same labels.
@functools.lru_cache(maxsize=8)
def _held_out_labels(cohort: Path, split: Path, trained_on: Path) -> HeldOutLabels:
    labels = read_labels(cohort)
    rows = [row for row in read_assignment(split).to_pylist() if row["part"] == "held_out"]
    return HeldOutLabels(
        label={row["case_id"]: labels[row["case_id"]] for row in rows},
        patient={row["case_id"]: row["patient_id"] for row in rows},
        fold={row["case_id"]: row["fold"] for row in rows},
        training_prevalence={
            part["fold"]: part["n_positive"] / part["n_cases"]
            for part in read_parts(trained_on)
            if part["part"] == "train"
        },
        reference_probabilities=read_reference_probabilities(cohort),
    )


def _key(condition: Condition) -> tuple[str, str, float]:
    """Return a perturbation's name, its parameters as JSON, and the severity."""
    use = condition.perturbation
    assert use is not None
    assert condition.severity is not None
    return use.name, json.dumps(dict(use.params), sort_keys=True), condition.severity


# A teacher and a method, or two methods, often need the same records one after the other.
@functools.lru_cache(maxsize=32)
def _perturbed(cases: Cases, training: Cases, name: str, params: str, severity: float, seed: int) -> Cases:
    perturbation = _fitted(training, name, params)
    # A case's seed depends on what is drawn, not on its severity or parameters: a higher severity adds to what a lower
    # one did, and two settings differ by the setting alone. Nor does it depend on the method or its seed: all methods
    # meet the same records.
    stem = content_hash([seed, traits_of(perturbation, PerturbationTraits).draws_like or name])

    def change(_: range, some: Sequence[Case]) -> list[Case]:
        with answerable("perturbation", name), contained():
            changed = []
            for case in some:
                after = perturbation.apply(case, severity, case_seed(stem, case.case_id))
                check_perturbed(case, after, severity)
                changed.append(after)
            return changed

    return cases.changed(change)


@functools.lru_cache(maxsize=128)
def _fitted(training: Cases, name: str, params: str) -> Perturbation:
    with answerable("perturbation", name), contained():
        perturbation: Perturbation = load_registry().create("perturbation", name, json.loads(params))
        perturbation.fit(training)
    return perturbation


def case_seed(stem: str, case_id: str) -> int:
    """Return a 32-bit seed for one case."""
    return int.from_bytes(hashlib.sha256(f"{stem}:{case_id}".encode()).digest()[:4], "big")
