"""The run's stages in the store, where it has them: whole, unchanged, and those that the manifest says they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eagbench.config.folders import default_root
from eagbench.execution.stage_files import MANIFEST, damaged_files, read_manifest
from eagbench.runs.verify.findings import Findings
from eagbench.runs.verify.stage_records import FINISHED


@dataclass(frozen=True, slots=True)
class StoredStages:
    """The finished stages of a run that the store holds whole and unchanged.

    Attributes:
        folders: The folder of each, by fingerprint.
        facts: The store's manifest of each.
        created: When the run folder was written (ISO 8601).
        finished: When the computation that the run took each stage from was finished, by fingerprint.
    """

    folders: Mapping[str, Path]
    facts: Mapping[str, Mapping[str, Any]]
    created: str
    finished: Mapping[str, str | None]

    def hold(self, fingerprints: list[str]) -> bool:
        """Say whether all of these are there."""
        return all(fingerprint in self.folders for fingerprint in fingerprints)

    def is_other_computation(self, fingerprint: str) -> bool:
        """Say whether the store holds a stage as it was computed another time: with `--fresh`, or in another store."""
        return self.facts[fingerprint].get("finished") != self.finished[fingerprint]

    def is_newer(self, fingerprint: str) -> bool:
        """Say whether a stage was computed again after the run (`--fresh`): its costs differ, and a device's digits."""
        return str(self.facts[fingerprint].get("finished", "")) > self.created


@dataclass(frozen=True, slots=True)
class StoreComparison:
    """Compares what a run folder says with the stages in the store.

    Attributes:
        stored: The stages.
        findings: What was found.
    """

    stored: StoredStages
    findings: Findings

    def compare(self, what: str, stages: Iterable[str], differs: Callable[[], str | None]) -> None:
        """Compare something with the stages it comes from, if all of them are there.

        Args:
            what: What is compared, as the subject of a sentence.
            stages: Fingerprints of the stages.
            differs: Says how it differs from what they left; None if it does not.
        """
        listed = list(stages)
        if not self.stored.hold(listed):
            self.findings.leave_open("files and facts whose stages the store does not hold, or not all of them")
            return
        problem = differs()
        if problem is None:
            self.findings.count("files and facts equal to the store's")
        elif any(map(self.stored.is_newer, listed)):
            self.findings.leave_open("files and facts whose stages were computed again after the run")
        else:
            self.findings.problems.append(f"{what} is not what the store holds: {problem}")


def read_stages(manifest: Mapping[str, Any], findings: Findings) -> StoredStages:
    """Find the run's finished stages in the store, and check each against its hashes and its fingerprint."""
    root = default_root()
    folders: dict[str, Path] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for stage in manifest["stages"]:
        folder = root / stage["kind"] / stage["fingerprint"]
        is_there = (folder / MANIFEST).is_file()
        if stage["status"] not in FINISHED:
            if stage["status"] == "failed" and is_there:
                findings.leave_open("stages that failed in the run and that the store holds now")
            continue
        if not is_there:
            findings.leave_open("stages that the store does not hold: what came from them is compared with nothing")
            continue
        problems = list(damaged_files(folder))
        if not problems:
            found = read_manifest(folder)
            problems = _other_facts(stage, found)
        name = f"stage {stage['kind']} {stage['label']} in the store ({stage['fingerprint'][:12]})"
        findings.problems += [f"{name}: {problem}" for problem in problems]
        findings.count("stages unchanged in the store")
        if not problems:
            folders[stage["fingerprint"]], facts[stage["fingerprint"]] = folder, found
    finished = {stage["fingerprint"]: stage["finished"] for stage in manifest["stages"]}
    return StoredStages(folders, facts, manifest["created"], finished)


def _other_facts(stage: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """List what the run's manifest says otherwise of a stage than the store, whose fingerprint vouches for it."""
    problems = [
        f"its {key} is another than in the run"
        for key in ("kind", "seed", "patients_sha256")
        if facts.get(key) != stage[key]
    ]
    found = facts["inputs"]
    if found.keys() != stage["inputs"].keys() or any(
        not _is_declared(shown, found[name]) for name, shown in stage["inputs"].items()
    ):
        problems.append("its inputs are others than in the run")
    return problems


def _is_declared(shown: Mapping[str, Any], identity: Sequence[Any]) -> bool:
    """Say whether the words of the run's manifest about an input are those of its fingerprint, as far as they go."""
    split, fold = shown.get("split"), shown.get("fold")
    match shown["shows"]:
        case "stages":
            return identity[0] in ("stage", "stages") and list(identity[1:]) == shown.get("stages")
        case "training":
            return list(identity[:3]) == ["training", split, fold]
        case "labels":
            return list(identity[:2]) == ["labels", split]
        case part:
            return list(identity[:4]) == ["cases", split, fold, part]
