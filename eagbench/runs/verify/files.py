"""The files of a run folder: those that belong to it, all of them, unchanged since the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagbench.execution.stage_files import file_hash
from eagbench.runs.schema import DOMAINS, GAPS, SUBGROUPS, TRAINING, TRAINING_SUMMARIES, TUNING_PREDICTIONS
from eagbench.runs.verify.findings import Findings
from eagbench.runs.verify.stage_records import scored_cells

_ALWAYS = ("results.csv", "comparisons.csv", "robustness.csv", "costs.csv", "patients.parquet", "log.jsonl")
_TRAINED = (TRAINING, TRAINING_SUMMARIES)


def check_files(folder: Path, manifest: Mapping[str, Any], findings: Findings) -> None:
    """Check that the run's files are there, with the content that the manifest recorded, and no others among them."""
    recorded = manifest["files"]
    for name, expected in recorded.items():
        path = folder / name
        if not path.is_file():
            findings.problems.append(f"{name} is missing")
        elif file_hash(path) != expected:
            findings.problems.append(f"{name} was changed after the run")
        findings.count("files unchanged")
    needed = _needed(manifest)
    allowed = {*needed, *_TRAINED, *(f"trajectories/{m['label']}.jsonl" for m in manifest["methods"])}
    findings.problems += [f"manifest.json: {name} is not among the files" for name in needed if name not in recorded]
    findings.problems += [f"manifest.json: {name} is no file of this run" for name in recorded if name not in allowed]
    findings.problems += [
        f"{name} is not recorded in the manifest" for name in _present(folder) if name not in recorded
    ]


def _needed(manifest: Mapping[str, Any]) -> list[str]:
    """List the files that a run like this one has, but those of training and trajectories, which it may lack."""
    scored = [m["label"] for m in manifest["methods"] if scored_cells(manifest, m["label"])]
    answers = [*scored, *dict.fromkeys(reference["name"] for reference in manifest["references"])]
    return [
        *_ALWAYS,
        *(f"predictions/{name}.parquet" for name in answers),
        *((DOMAINS, GAPS) if manifest["transfer"]["shared"] is not None else ()),
        *((SUBGROUPS,) if manifest["subgroups"] is not None else ()),
        *((TUNING_PREDICTIONS,) if manifest["recalibration"] else ()),
    ]


def _present(folder: Path) -> list[str]:
    """List the files that readers of a run folder look for."""
    known = [*_ALWAYS, DOMAINS, GAPS, SUBGROUPS, TUNING_PREDICTIONS, *_TRAINED]
    found = [name for name in known if (folder / name).is_file()]
    for name in ("predictions", "trajectories"):
        found += [f"{name}/{path.name}" for path in sorted((folder / name).glob("[!.]*")) if path.is_file()]
    return found
