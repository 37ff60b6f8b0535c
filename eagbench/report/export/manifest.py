"""The manifest of a bundle: how its numbers came about, without small counts, paths, patients' hashes, free text."""

from __future__ import annotations

import contextlib
import getpass
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eagbench.config.secrets import masked
from eagbench.report.export.small_cells import Counts, hidden, is_small
from eagbench.report.export.tables import Suppression

_PLAIN = (
    "format", "eagbench_version", "name", "created", "limit", "profile", "synthetic", "access", "transfer", "methods",
    "conditions", "metrics", "seeds", "intervals", "comparisons", "subgroups", "versions", "git", "hardware",
)  # fmt: skip
_OF_DATA = (
    "access", "citation", "n_patients_read", "patient_is_stay", "source", "n_patients", "n_cases", "n_positive",
    "features", "static_names", "task", "content",
)  # fmt: skip
_PATH_KEYS = frozenset({"root", "file", "folder", "path", "cache_dir", "directory"})
_ADDRESS = re.compile(r"\b([A-Za-z][\w+.-]*)://[^\s'\"]+")


def exported_manifest(manifest: Mapping[str, Any], found: Suppression) -> dict[str, Any]:
    """Return what the bundle says of a run; domains without numbers have been found before."""
    made = {key: manifest[key] for key in _PLAIN if key in manifest}
    benchmark = {key: value for key, value in manifest["benchmark"].items() if key != "attestation"}
    parts = _parts(manifest, found)
    made |= {
        "benchmark": benchmark,
        "split": manifest.get("split", {}),
        "data": {name: _data(data, found.minimum) for name, data in manifest["data"].items()},
        "parts": parts,
        "recalibration": [
            {key: value for key, value in fit.items() if key != "reason"}
            for fit in manifest.get("recalibration", [])
            if not Counts(fit["n_cases"], fit["n_positive"]).shows_few(found.minimum)
        ],
        "stages": [
            {key: stage.get(key) for key in ("fingerprint", "kind", "label", "seed", "status")}
            for stage in manifest.get("stages", [])
        ],
        "failed": [{**failure, "reason": "see the run's own log"} for failure in manifest.get("failed", [])],
    }
    return dict(masked(_anonymous(made)))


def _parts(manifest: Mapping[str, Any], found: Suppression) -> list[dict[str, Any]]:
    """List the parts of the split without hashes of patients; none if one of their counts had to go."""
    parts = manifest.get("parts", [])
    for key in {(part.get("domain"), part["fold"]) for part in parts}:
        mine = {p["part"]: Counts(p["n_cases"], p["n_positive"]) for p in parts if (p.get("domain"), p["fold"]) == key}
        whole = manifest["data"].get(key[0])
        total = None if whole is None else Counts(whole["n_cases"], whole["n_positive"])
        if found.domains or hidden(mine, total, found.minimum):
            found.rows["parts"] = len(parts)
            return []
    return [{key: value for key, value in part.items() if key != "patients_sha256"} for part in parts]


def _data(data: Mapping[str, Any], minimum: int) -> dict[str, Any]:
    made = {key: data[key] for key in _OF_DATA if key in data}
    exclusions, is_whole = _exclusions(data, minimum)
    if not is_whole:
        made["n_patients_read"] = "not shown"
    few = {name: f"1 to {minimum - 1}" for name, n in data.get("implausible", {}).items() if is_small(int(n), minimum)}
    return {**made, "exclusions": exclusions, "implausible": {**data.get("implausible", {}), **few}}


def _exclusions(data: Mapping[str, Any], minimum: int) -> tuple[list[list[Any]], bool]:
    """Put together the reasons that left out few, and say whether what was read may be shown beside what was not."""
    counted = [(str(reason), int(n)) for reason, n in data.get("exclusions", [])]
    few = [(reason, n) for reason, n in counted if is_small(n, minimum)]
    others = sorted((item for item in counted if item not in few and item[1]), key=lambda item: item[1])
    while few and others and sum(n for _, n in few) < minimum:
        few.append(others.pop(0))
    shown = [[reason, n] for reason, n in counted if (reason, n) not in few]
    if few and sum(n for _, n in few) >= minimum:
        return [*shown, [f"one of: {'; '.join(reason for reason, _ in few)}", sum(n for _, n in few)]], True
    return shown, not few


def _anonymous(value: Any, key: str = "") -> Any:
    """Return a tree without paths, addresses, and the names of user and machine."""
    if isinstance(value, Mapping):
        return {name: _anonymous(below, str(name)) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [_anonymous(below, key) for below in value]
    if not isinstance(value, str):
        return value
    if key in _PATH_KEYS or _is_path(value):
        return "[path]"
    text = _ADDRESS.sub(r"\1://[address]", value)
    for name, instead in _names():
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", instead, text)
    return text


def _is_path(value: str) -> bool:
    if value.startswith(("/", "~", "./", "../", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", value):
        return True
    return ("/" in value or "\\" in value) and len(value) < 1000 and "\n" not in value and Path(value).exists()


def _names() -> Sequence[tuple[str, str]]:
    found = []
    with contextlib.suppress(OSError, KeyError):  # a process without an entry in the list of users
        found.append((getpass.getuser(), "[user]"))
    found.append((socket.gethostname(), "[machine]"))
    return [(name, instead) for name, instead in found if len(name) > 2 and name not in ("root", "localhost")]
