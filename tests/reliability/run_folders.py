"""What a run folder holds, and where two of the same benchmark differ."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

from eagbench.runs.schema import OWN_HASH

# How long a run took and when it was written stands in these; all else is the same to the byte.
TIMED = {"costs.csv", "log.jsonl", "manifest.json", "report.html"}
_TIMED_COSTS = {"seconds", "peak_memory_mb", "status", "answers_from_cache", "finished"}


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a run folder, hidden ones too, without the times at which it was written."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    if "manifest.json" in found:
        manifest = json.loads(found["manifest.json"])
        # The log's hash, and the manifest's own, follow from times.
        timed = [manifest["created"], manifest["files"]["log.jsonl"], manifest[OWN_HASH]]
        for value in timed:
            found = {name: content.replace(value.encode(), b"TIMED") for name, content in found.items()}
    if "log.jsonl" in found:
        found["log.jsonl"] = re.sub(rb'"time": "[^"]*"|"seconds": [0-9.]+', b"", found["log.jsonl"])
    return found


def differences(folder: Path, whole: Path) -> list[str]:
    """Name what differs between two runs of a benchmark that computed their stages each for itself."""
    found, expected = contents(folder), contents(whole)
    names = [n for n in sorted({*found, *expected} - TIMED) if found.get(n) != expected.get(n)]
    if _untimed_manifest(folder) != _untimed_manifest(whole):
        names.append("manifest.json")
    if untimed_costs(folder) != untimed_costs(whole):
        names.append("costs.csv")
    return names


def _untimed_manifest(folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    files = {name: digest for name, digest in manifest["files"].items() if name not in TIMED}
    stages = [{key: value for key, value in s.items() if key not in _TIMED_COSTS} for s in manifest["stages"]]
    # Neither when it was written nor what somebody did to the repository meanwhile is a difference.
    return {**manifest, "created": None, "git": None, "files": files, "stages": stages, OWN_HASH: None}


def untimed_costs(folder: Path) -> list[dict[str, str]]:
    """Return the amounts of every stage, such as generated tokens, without its time and memory."""
    with (folder / "costs.csv").open(newline="") as stream:
        return [{k: v for k, v in row.items() if k not in _TIMED_COSTS} for row in csv.DictReader(stream)]


def finished_rows(folder: Path) -> set[tuple[str, ...]]:
    """Return the rows of results.csv that hold numbers; none if there is no such file."""
    path = folder / "results.csv"
    if not path.is_file():
        return set()
    with path.open(newline="") as stream:
        return {tuple(row.values()) for row in csv.DictReader(stream) if row["status"] == "ok"}
