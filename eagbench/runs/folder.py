"""Check the output folder of a run before any work."""

from __future__ import annotations

import os
from pathlib import Path

from eagbench.errors import UserError
from eagbench.execution.tracking import TRACKERS
from eagbench.runs.schema import (
    read_manifest,
)


def check_out(folder: Path, benchmark: str) -> None:
    """Refuse, before any work, an output folder that can't be written or holds something else.

    Raises:
        UserError: The folder is a file, is not writable, holds another benchmark's run, or other files.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError("the output is a file, not a folder", where=str(folder), hint="choose another --out")
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not _can_write(existing):
        raise UserError(
            "the output folder can't be written", where=str(folder), hint="choose another --out, or change its rights"
        )
    # A run killed before its end has left at most what its trackers wrote.
    if not folder.exists() or all(path.name == TRACKERS for path in folder.iterdir()):
        return
    if not (folder / "manifest.json").is_file():
        raise UserError(
            "the output folder holds files and is not a run folder", where=str(folder), hint="choose another --out"
        )
    name = read_manifest(folder)["name"]
    if name != benchmark:
        raise UserError(
            f"the output folder holds a run of the benchmark '{name}', not of '{benchmark}'",
            where=str(folder),
            hint="choose another --out",
        )


def _can_write(folder: Path) -> bool:
    # Try it: os.access tells a superuser that a read-only file system can be written.
    probe = folder / f".eagbench-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True
