"""A cache of facts about files, in the user's cache folder; a fact is valid until one of its files changes.

This module imports little, because it runs before every command. A cache that can't be read or written only costs time.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

_SETTLED_SECONDS = 2.0  # a younger file might be changed again within one tick of the file system's clock
Stamp = list[int]


def stamp(path: str) -> Stamp | None:
    """Return values that change with a file or a folder's entries: size, times, inode. None if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116 - some hundred of them before every command
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def are_settled(stamps: Iterable[Stamp | None]) -> bool:
    """Tell whether no file changed just now; only then is a later change sure to show in its stamp."""
    newest = max((max(found[1:3]) for found in stamps if found is not None), default=0)
    return time.time() - newest / 1e9 > _SETTLED_SECONDS


@functools.cache
def installed() -> str:
    """Hash the list of installed distributions, with the time of each installation."""
    found = []
    for folder in dict.fromkeys(sys.path):
        with suppress(OSError):
            for entry in os.scandir(folder or "."):
                if entry.name.endswith((".dist-info", ".egg-info")):
                    found.append((entry.path, entry.stat().st_mtime_ns))
    return hashlib.sha256(repr(sorted(found)).encode()).hexdigest()


def place(package: str) -> str | None:
    """Find where a top-level package comes from, without importing it."""
    spec = importlib.util.find_spec(package)
    return None if spec is None else spec.origin


class Kept:
    """Facts by name, each with the stamps of the files it was found in.

    Args:
        name: Name of the cache file.
    """

    def __init__(self, name: str) -> None:
        environment = hashlib.sha256(f"{sys.prefix} {platform.python_version()}".encode()).hexdigest()[:12]
        self._path = platformdirs.user_cache_path("eagbench") / f"{name}-{environment}.json"
        self._facts: dict[str, list[Any]] = {}
        self._is_changed = False
        self._stamp = functools.cache(stamp)
        with suppress(OSError, ValueError):
            self._facts = dict(json.loads(self._path.read_text(encoding="utf-8")))

    def get(self, name: str) -> Any:
        """Return a fact; None if it is unknown, or one of its files has changed."""
        found = self._facts.get(name)
        if found is None or any(self._stamp(path) != known for path, known in found[0].items()):
            return None
        return found[1]

    def put(self, name: str, files: Iterable[str], fact: Any) -> None:
        """Keep a fact, unless one of its files changed just now."""
        stamps = {file: self._stamp(file) for file in files}
        if are_settled(stamps.values()):
            self._facts[name] = [stamps, fact]
            self._is_changed = True

    def of_files(self, name: str, files: Iterable[str], find: Callable[[], Any]) -> Any:
        """Return a fact about files; find it again if one of them has changed."""
        found = self.get(name)
        if found is None:
            found = find()
            self.put(name, files, found)
        return found

    def save(self) -> None:
        """Write the cache file if a fact is new."""
        if self._is_changed:
            self._is_changed = False
            write(self._path, self._facts)


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a cache file atomically."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as stream:
            json.dump(content, stream)
        Path(stream.name).replace(path)
