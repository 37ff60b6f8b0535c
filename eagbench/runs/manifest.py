"""The manifest of a run folder: benchmark, settings, data, code, and the outcome of each stage."""

from __future__ import annotations

import dataclasses
import inspect
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import psutil

import eagbench
from eagbench.config.splits import SplitSpec
from eagbench.contracts.records import Reads
from eagbench.contracts.stages import (
    CasesInput,
    Condition,
    Input,
    LabelsInput,
    StageNode,
    StageOutput,
    StageOutputs,
    TrainingInput,
)
from eagbench.contracts.traits import PerturbationTraits, traits_of
from eagbench.execution.computing import Outcome
from eagbench.execution.private_words import FOLDER as PRIVATE
from eagbench.execution.runner import RunResult
from eagbench.execution.stage_files import file_hash
from eagbench.execution.store import Store
from eagbench.execution.tracking import TRACKERS
from eagbench.planning.plan import Cell, Plan
from eagbench.registry.environment import device, machine
from eagbench.registry.plugins import load_registry
from eagbench.runs.schema import FORMAT
from eagbench.runs.stored_run import Reference, StoredRun
from eagbench.stages.cohort_files import read_facts, read_labels, read_patients
from eagbench.stages.given_split import read_notes
from eagbench.stages.recalibration import read_recalibration
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.split import read_parts


def make_manifest(stored: StoredRun, references: Sequence[Reference], folder: Path) -> dict[str, Any]:
    """Gather everything a reader needs to judge and repeat the run.

    Args:
        stored: The run.
        references: The probabilities that came with the data.
        folder: The run folder, in which all other files are already written.
    """
    plan, store = stored.plan, stored.store
    loaded, benchmark = plan.loaded, plan.loaded.benchmark
    return {
        "format": FORMAT,
        "eagbench_version": eagbench.__version__,
        "name": benchmark.name,
        "benchmark": loaded.resolved(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "limit": plan.limit,
        "profile": loaded.profile,
        "synthetic": plan.is_synthetic,
        **({"weights_note": plan.weights_note} if plan.weights_note else {}),
        **({"policy_setup": plan.policy_setup} if plan.policy_setup else {}),
        "access": plan.access,
        "data": {
            domain.data: data_facts(store.folder(domain.cohort), domain.cohort.content)
            for domain in plan.transfer.data_sets
        },
        "split": benchmark.split.model_dump(mode="json"),
        "parts": [
            {"domain": domain.name, **part}
            for domain in plan.transfer.domains
            for part in read_parts(store.folder(domain.split))
        ],
        **_split_notes(plan, store),
        "transfer": _transfer(plan, store),
        **_asked(stored),
        "recalibration": [
            {**keys, **dataclasses.asdict(read_recalibration(stage))} for keys, stage in stored.recalibrations()
        ],
        "cells": [_cell(cell) for cell in plan.cells],
        "references": [
            {"domain": reference.domain, "name": reference.name, "stage": reference.node.fingerprint}
            for reference in references
        ],
        "stages": [_stage(node, stored.result.outcome(node)) for node in plan.nodes],
        "failed": _failed(stored),
        "versions": {**plan.packages, **machine(), "device": device()},
        "git": git_state(),
        "hardware": hardware(),
        "files": _file_hashes(folder),
    }


def _split_notes(plan: Plan, store: Store) -> dict[str, Any]:
    """Say, by data set, what a split that somebody else made left out; nothing of one that the seed draws."""
    if isinstance(plan.loaded.benchmark.split, SplitSpec):
        return {}
    splits = {domain.data: store.folder(domain.split) for domain in plan.transfer.data_sets}
    return {"split_notes": {data: list(read_notes(folder)) for data, folder in splits.items()}}


def _asked(stored: StoredRun) -> dict[str, Any]:
    """Return what was compared, under which conditions, by which metrics."""
    benchmark = stored.plan.loaded.benchmark
    return {
        "methods": [
            {"label": m.label, "name": m.use.name, "reads": m.reads, "params": dict(m.use.params)}
            for m in stored.plan.methods
        ],
        "conditions": [_condition(condition, benchmark.split.seed) for condition in stored.plan.conditions],
        "metrics": [use.record() for use in stored.metrics],
        "seeds": list(benchmark.seeds),
        "threads": benchmark.threads,
        "intervals": benchmark.intervals.model_dump(mode="json"),
        "comparisons": None if benchmark.comparisons is None else benchmark.comparisons.model_dump(),
        "subgroups": None if benchmark.subgroups is None else benchmark.subgroups.model_dump(mode="json"),
    }


def cell_keys(cell: Cell) -> dict[str, Any]:
    """Say which cell of the grid this is."""
    return {
        "method": cell.method,
        "seed": cell.seed,
        "condition": cell.condition.name,
        "severity": cell.condition.severity,
        "domain_train": cell.pair.train.name,
        "domain_eval": cell.pair.evaluate.name,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    """Say which stage scored a cell: None where its condition does not apply to its method."""
    return {**cell_keys(cell), "score": None if cell.score is None else cell.score.fingerprint}


def _failed(stored: StoredRun) -> list[dict[str, Any]]:
    """List the failed cells with the stage to blame, and the metrics that failed in other cells."""
    found = []
    for cell in stored.plan.cells:
        if cell.score is None:
            continue
        keys = cell_keys(cell)
        if stored.result.cell_status(cell) == "failed":
            node, outcome = _cause(cell.score, stored.result)
            found.append({**keys, "metric": None, "stage": f"{node.kind} {node.label}", "reason": outcome.reason})
        else:
            failed = stored.failed_metrics.get(cell.key, {})
            stage = f"score {cell.score.label}"
            found += [{**keys, "metric": name, "stage": stage, "reason": reason} for name, reason in failed.items()]
    return found


def _file_hashes(folder: Path) -> dict[str, str]:
    """Hash every table and the log, but not the report, what trackers keep, or the private words of errors."""
    return {
        path.relative_to(folder).as_posix(): file_hash(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix in {".csv", ".parquet", ".jsonl"}
        if path.relative_to(folder).parts[0] not in (TRACKERS, PRIVATE)
    }


def _cause(node: StageNode, result: RunResult) -> tuple[StageNode, Outcome]:
    outcome = result.outcome(node)
    if outcome.status == "skipped":
        for upstream in node.upstream():
            if result.outcome(upstream).status in {"failed", "skipped"}:
                return _cause(upstream, result)
    return node, outcome


def _transfer(plan: Plan, store: Store) -> dict[str, Any]:
    """Describe the domains and their pairs; stages identify their patients by a domain's split."""
    transfer = plan.transfer
    shared = None
    if transfer.shared is not None:
        shared = dataclasses.asdict(SharedConcepts.read(store.folder(transfer.shared)))
    return {
        "domains": [
            {
                "name": domain.name,
                "data": domain.data,
                "access": domain.access,
                "holds": sorted(domain.holds),
                "cohort": domain.cohort.fingerprint,
                "split": domain.split.fingerprint,
            }
            for domain in transfer.domains
        ],
        "pairs": [[pair.train.name, pair.evaluate.name] for pair in transfer.pairs],
        "shared": shared,
        "features": None
        if plan.loaded.benchmark.transfer is None
        else plan.loaded.benchmark.transfer.features.model_dump(),
    }


def data_facts(cohort: Path, content: str | None) -> dict[str, Any]:
    """Describe a data set: its origin, counts, features and task.

    Args:
        cohort: The folder of the stage that loaded it.
        content: The hash of its files; None if a stage generated them.
    """
    patients, labels = read_patients(cohort), read_labels(cohort)
    facts = read_facts(cohort)
    provenance = facts["provenance"]
    return {
        **provenance,
        "n_patients": len(set(patients.values())),
        "n_cases": len(patients),
        "n_positive": sum(labels.values()),
        "features": [{key: f[key] for key in ("name", "label", "unit", "synonyms")} for f in facts["features"]],
        "static_names": facts["static_names"],
        "task": facts["task"],
        "content": content,
    }


def _stage(node: StageNode, outcome: Outcome) -> dict[str, Any]:
    inputs = {name: _shown(value) for name, value in node.inputs.items()}
    return {
        "fingerprint": node.fingerprint,
        "kind": node.kind,
        "label": node.label,
        "seed": node.seed,
        "status": outcome.status,
        "inputs": inputs,
        "patients_sha256": outcome.facts.get("patients_sha256", {}),
        "finished": outcome.facts.get("finished"),
    }


def _shown(value: Input) -> dict[str, Any]:
    """Say what an input shows a stage; from this `verify` proves that no patient was both trained on and predicted."""
    match value:
        case StageOutput(stage):
            return {"shows": "stages", "stages": [stage.fingerprint]}
        case StageOutputs(stages):
            return {"shows": "stages", "stages": [stage.fingerprint for stage in stages]}
        case TrainingInput():
            return {"shows": "training", "split": value.split.fingerprint, "fold": value.fold}
        case CasesInput():
            return {"shows": value.part, "split": value.split.fingerprint, "fold": value.fold}
        case LabelsInput():
            return {"shows": "labels", "split": value.split.fingerprint}


def _condition(condition: Condition, seed: int) -> dict[str, Any]:
    """Describe a condition: what determines its draws, its first documentation line, and what its severity counts."""
    facts: dict[str, Any] = {"name": condition.name, "severity": condition.severity}
    use = condition.perturbation
    if use is None:
        return {**facts, **clean_condition()}
    perturbation = {"name": use.name, **use.params, "code": use.code, "seed": seed}
    return {**facts, "perturbation": perturbation, **described_condition(use.name)}


def clean_condition() -> dict[str, Any]:
    """Describe the condition `clean`."""
    return {
        "perturbation": None,
        "description": "the record as it is",
        "severity_unit": None,
        "applies_to": sorted(get_args(Reads)),
    }


def described_condition(perturbation: str) -> dict[str, Any]:
    """Return what an installed perturbation declares of its conditions.

    Raises:
        UserError: It is not installed.
    """
    component = load_registry().get("perturbation", perturbation).component
    traits = traits_of(component, PerturbationTraits)
    return {
        "description": (inspect.getdoc(component) or "").partition("\n")[0],
        "severity_unit": traits.severity_unit or None,
        "applies_to": sorted(traits.applies_to),
    }


def git_state() -> dict[str, Any] | None:
    """Read the commit of eagbench's own source and whether it has uncommitted changes.

    Returns:
        The commit and `dirty`, or None if the source is in no repository, or in one that does not track it (an
        environment inside another project's checkout).
    """
    source = Path(eagbench.__file__)

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(source.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", source.name)
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return None


def hardware() -> dict[str, Any]:
    """Describe the processor, cores, memory and device."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": device(),
    }
