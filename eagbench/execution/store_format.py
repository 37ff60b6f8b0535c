"""The format of a store and of the manifests in it: a newer one than this eagbench knows is refused in one sentence.

<root>/store.json    `format` and the eagbench that wrote it; a store of format 1 lacks the file
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import eagbench
from eagbench.errors import UserError
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
    refuse_newer(facts, "this store", place)
    return int(facts.get("format", 1))


def write_format(root: Path) -> None:
    """Say in a store that it is of this format."""
    write_text(root / _FILE, json.dumps({"format": FORMAT, "eagbench_version": eagbench.__version__}, indent=1) + "\n")


def refuse_newer(facts: Mapping[str, Any], what: str, place: Path) -> None:
    """Refuse what a newer eagbench wrote in a format that this one does not know.

    Args:
        facts: A manifest, or the store's own file.
        what: What it is of, for the message.
        place: Where it is.

    Raises:
        UserError: Its format is newer than `FORMAT`, or is no number.
    """
    found = facts.get("format", 1)
    if not isinstance(found, int) or found > FORMAT:
        needed = facts.get("eagbench_version")
        raise UserError(
            f"{what} has format {found}; this eagbench knows formats up to {FORMAT}",
            where=str(place),
            hint=f"use eagbench {needed} or newer" if needed else "use the eagbench that wrote it, or a newer one",
        )
