"""The output folder of a run: checked before any work, begun with a marker, filled with whole files, finished.

The marker (`.eagbench-run`) names the benchmark while the folder has no manifest to do so: after a kill or on a full
disk, the same command finds its own folder again, and that of another benchmark is refused.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import eagbench
from eagbench.errors import UserError
from eagbench.execution.durable import sync
from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.tracking import TRACKERS
from eagbench.execution.whole_files import read_marker, remove_leftovers, write_marker
from eagbench.runs.schema import MARKER, read_manifest

_COPIES = ("predictions", "trajectories")
REPORT = "report.html"
# The page of cases, and the folder of its scripts.
CASES, CASE_SCRIPTS = "cases.html", "cases"
# The pictures of the report with their numbers; like the report, made from the folder alone.
FIGURES = "figures"
# What a kill leaves before there is a marker: the probe of `_can_write`, or the marker itself while it is written.
_BEFORE_THE_MARKER = re.compile(rf"\.eagbench-\d+|\.{re.escape(MARKER)}\.\d+")


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
    name = _held(folder)
    if name is not None and name != benchmark:
        raise UserError(
            f"the output folder holds a run of the benchmark '{name}', not of '{benchmark}'",
            where=str(folder),
            hint="choose another --out",
        )


def _held(folder: Path) -> str | None:
    """Name the benchmark whose run a folder holds, finished or not; None if it holds nothing yet.

    Raises:
        UserError: The folder holds something else.
    """
    if (folder / MANIFEST).is_file():
        return str(read_manifest(folder)["name"])
    if (folder / MARKER).is_file():
        return read_marker(folder / MARKER, "benchmark", "run")
    # Trackers were the first to write, without a marker, in earlier versions.
    paths = folder.iterdir() if folder.exists() else ()
    if all(path.name == TRACKERS or _BEFORE_THE_MARKER.fullmatch(path.name) for path in paths):
        return None
    raise UserError(
        "the output folder holds files and is not a run folder", where=str(folder), hint="choose another --out"
    )


def begin(folder: Path, benchmark: str) -> None:
    """Mark a folder as that of an unfinished run before anything else is written to it."""
    folder.mkdir(parents=True, exist_ok=True)
    sync(folder.parent)
    write_marker(folder / MARKER, {"benchmark": benchmark, "eagbench_version": eagbench.__version__})


def begin_writing(folder: Path, benchmark: str) -> None:
    """Begin a folder, and remove what an earlier run left in it: first what vouches for the other files."""
    begin(folder, benchmark)
    for name in (MANIFEST, REPORT, CASES):
        (folder / name).unlink(missing_ok=True)
    for name in (CASE_SCRIPTS, FIGURES):
        shutil.rmtree(folder / name, ignore_errors=True)
    sync(folder)  # before any file that the manifest vouched for is another
    for place in (folder, folder / TRACKERS):
        remove_leftovers(place)
    for probe in folder.glob(".eagbench-*"):
        if probe.name.removeprefix(".eagbench-").isdecimal():
            probe.unlink(missing_ok=True)
    for name in _COPIES:
        (folder / name).mkdir(exist_ok=True)
        for old in (folder / name).iterdir():
            old.unlink(missing_ok=True)


def finish(folder: Path) -> None:
    """Remove the marker: all files of the run are written."""
    (folder / MARKER).unlink(missing_ok=True)


def _can_write(folder: Path) -> bool:
    # Try it: os.access tells a superuser that a read-only file system can be written.
    probe = folder / f".eagbench-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # the user need not choose another folder
        return False
    return True
