"""The note beside a model that eagbench fetched: what it was made from, and the hashes by which it is whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_FILE = "eagbench_origin.json"


def write(folder: Path, source: str, weights_note: str) -> None:
    """Write the note into a model folder, with the hash of every file that lies there.

    Args:
        folder: The model folder, otherwise finished.
        source: What it was made from: name, version and hash.
        weights_note: What readers of results must know about the weights.
    """
    files = {path.name: _hash(path) for path in sorted(folder.iterdir()) if path.is_file()}
    told = {"source": source, "weights_note": weights_note, "files": files}
    (folder / _FILE).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def note(folder: Path) -> str:
    """Return what readers of results must know about a folder's weights; empty if nothing is told."""
    path = folder / _FILE
    return str(json.loads(path.read_text(encoding="utf-8"))["weights_note"]) if path.is_file() else ""


def is_whole(folder: Path) -> bool:
    """Tell whether a folder has a note, and every file that the note lists is as it was written."""
    path = folder / _FILE
    if not path.is_file():
        return False
    files = json.loads(path.read_text(encoding="utf-8"))["files"]
    return all((folder / name).is_file() and _hash(folder / name) == known for name, known in files.items())


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
