"""The format of a store and of the manifests in it: a newer one than this eagbench knows is refused in one sentence.

<root>/store.json    `format` and the eagbench that wrote it; a store of format 1 lacks the file
"""

from __future__ import annotations

import json
from pathlib import Path

import eagbench
from eagbench.execution.newer_formats import refuse_newer
from eagbench.execution.whole_files import write_text

# 2: the store has this file, and a manifest says its format and holds its own hash. Stages of format 1 stay usable.
FORMAT = 2
_FILE = "store.json"


def read_format(root: Path) -> int:
    """Read the format of a store.

    Raises:
        UserError: It is newer than this eagbench knows.
    """
    place = root / _FILE
    try:
        facts = dict(json.loads(place.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return 1  # written anew where the file was cut off: each stage says its own format
    refuse_newer(facts, FORMAT, "this store", place)
    return int(facts.get("format", 1))


def write_format(root: Path) -> None:
    """Say in a store that it is of this format."""
    write_text(root / _FILE, json.dumps({"format": FORMAT, "eagbench_version": eagbench.__version__}, indent=1) + "\n")
