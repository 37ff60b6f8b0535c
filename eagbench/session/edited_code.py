"""Refuse to run with code that was edited after this process had imported it.

A stage is named after the code in the files, but what computes it is the code in memory. A command reads both within a
second; a notebook lives for days.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from eagbench.errors import UserError
from eagbench.registry.plugin_modules import GROUP

_SLACK_SECONDS = 2.0  # how far the clock of processes may be from that of files
_State = tuple[int, int]  # time of change (ns), size

_imported: dict[Path, _State] = {}


@contextmanager
def guarded_against_edits() -> Iterator[None]:
    """Check the imported files of eagbench and of the plugins, and note those that the block imports.

    Raises:
        UserError: A file was edited after it was imported.
    """
    began = psutil.Process().create_time()
    edited = [
        str(file)
        for file, state in _files().items()
        if (state != _imported[file] if file in _imported else state[0] / 1e9 > began + _SLACK_SECONDS)
    ]
    if edited:
        raise UserError(
            f"edited after this Python had imported it: {', '.join(sorted(edited))}",
            hint="restart the kernel (or the script), so that what is computed is what the file says",
        )
    try:
        yield
    finally:
        for file, state in _files().items():
            _imported.setdefault(file, state)


def _files() -> dict[Path, _State]:
    """Return the state of every imported source file of eagbench and of the packages with plugins."""
    entries = importlib.metadata.entry_points(group=GROUP)
    packages = {"eagbench", *(entry.module.partition(".")[0] for entry in entries)}
    found: dict[Path, _State] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is None or name.partition(".")[0] not in packages:
            continue
        path = Path(file)
        found[path] = _state(path)
    return found


def _state(path: Path) -> _State:
    try:
        facts = path.stat()
    except FileNotFoundError:
        return (0, -1)
    return facts.st_mtime_ns, facts.st_size
