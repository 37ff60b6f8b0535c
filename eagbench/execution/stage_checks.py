"""Whether stages in the store are still what they were: by size and times, and by hash once a day.

    <root>/<kind>/<fingerprint>.checked    when the hashes were right, and the files' sizes and times then

The record only saves time: without it, or where it differs (in a store that was moved), the files are hashed. No lock
is needed, because a finished stage's folder is renamed as a whole, and its manifest is written last.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from eagbench.execution.stage_files import MANIFEST, damaged_files, files_below
from eagbench.execution.whole_files import replace_text
from eagbench.registry.kept import Stamp, stamp

Stamps = dict[str, Stamp | None]

_DAY = 24 * 3600.0
# Stages found whole by this process: their folders, with the stamps of their manifests.
_found_whole: dict[str, Stamp] = {}


def damage(folder: str) -> tuple[str, ...]:
    """Say what is damaged in the folder of a stage, which is checked when this process first asks.

    Args:
        folder: Its path, as a text: of every stage of a run it is asked several times.

    Returns:
        One entry per damaged file, as `damaged_files` does; nothing if the stage is whole or not finished.

    Raises:
        UserError: A newer eagbench wrote the stage, or this user may not read it.
    """
    known = _found_whole.get(folder)
    if known is not None and known == stamp(f"{folder}/{MANIFEST}"):
        return ()
    return _checked(Path(folder), _compare)


def hashed_damage(folder: Path) -> tuple[str, ...]:
    """Say the same after hashing all files, whatever the record says."""
    return _checked(folder, _hash)


def _checked(folder: Path, check: Callable[[Path, Stamps], tuple[str, ...]]) -> tuple[str, ...]:
    """Check a folder, again if another process renamed it meanwhile."""
    manifest = f"{folder}/{MANIFEST}"
    while True:
        before = stamp(manifest)
        try:
            if before is not None:
                problems = check(folder, stamps_of(folder))
            else:
                problems = (f"{MANIFEST} is missing",) if _was_finished(folder) else ()
        except FileNotFoundError:
            continue
        if stamp(manifest) == before:
            break
    if before is not None and not problems:
        _found_whole[str(folder)] = before
    return problems


def _compare(folder: Path, stamps: Stamps) -> tuple[str, ...]:
    return () if _is_recorded(folder, stamps) else _hash(folder, stamps)


def _hash(folder: Path, stamps: Stamps) -> tuple[str, ...]:
    inode = folder.stat().st_ino  # before its manifest is read: another process may put another folder here
    problems = damaged_files(folder)
    if not problems:
        note(folder, stamps, inode)
    else:
        _found_whole.pop(str(folder), None)
        with suppress(OSError):  # as in `note`
            record_of(folder).unlink()
    return problems


def _was_finished(folder: Path) -> bool:
    """Tell a folder that lost its manifest from one that has not got it yet: the record knows the first's inode."""
    now = stamp(str(folder))
    return now is not None and _recorded(folder).get("folder") == now[-1]


def stamps_of(folder: Path) -> Stamps:
    """Return what changes with each file below a folder: size, times, inode."""
    return {name: stamp(entry.path) for name, entry in files_below(folder)}


def note(folder: Path, stamps: Mapping[str, Stamp | None], inode: int) -> None:
    """Record that the files of a stage have the right hashes.

    Args:
        folder: The stage's folder.
        stamps: What was known of its files before they were hashed.
        inode: The folder's inode, from before its manifest was read.
    """
    # A store that this user may only read, or a full disk: the files are hashed again next time.
    with suppress(OSError):
        replace_text(record_of(folder), json.dumps({"hashed": time.time(), "folder": inode, "files": stamps}))


def _is_recorded(folder: Path, stamps: Stamps) -> bool:
    record = _recorded(folder)
    hashed = record.get("hashed")
    return isinstance(hashed, float) and record.get("files") == stamps and 0 <= time.time() - hashed < _DAY


def _recorded(folder: Path) -> dict[str, Any]:
    """Read a record; nothing if there is none or it is cut off."""
    try:
        with open(f"{folder}.checked", encoding="utf-8") as stream:  # noqa: PTH123 - one per stage of a resumed run
            return dict(json.load(stream))
    except (OSError, ValueError, TypeError):
        return {}


def record_of(folder: Path) -> Path:
    """Return the place of a stage's record."""
    return Path(f"{folder}.checked")


def forget() -> None:
    """Check every stage anew: another command begins in this process."""
    _found_whole.clear()
