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
        self._found: dict[str, list[Any]] = {}  # in this process, and not written yet
        self._stamp = functools.cache(stamp)
        self._facts = _read(self._path)

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
            self._facts[name] = self._found[name] = [stamps, fact]

    def of_files(self, name: str, files: Iterable[str], find: Callable[[], Any]) -> Any:
        """Return a fact about files; find it again if one of them has changed."""
        found = self.get(name)
        if found is None:
            found = find()
            self.put(name, files, found)
        return found

    def save(self) -> None:
        """Write the cache file if a fact is new.

        What other processes wrote meanwhile stays; facts about files that are gone go.
        """
        if self._found:
            facts = _read(self._path) | self._found
            self._found = {}
            write(self._path, {name: fact for name, fact in facts.items() if not self._is_gone(fact[0])})

    def _is_gone(self, stamps: Mapping[str, Stamp | None]) -> bool:
        return any(known is not None and self._stamp(path) is None for path, known in stamps.items())


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a cache file atomically."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as stream:
            stream.write(json.dumps(content))  # json.dump takes the encoder in Python, ten times as long
        Path(stream.name).replace(path)


def _read(path: Path) -> dict[str, list[Any]]:
    """Read what a cache file holds in today's form; an earlier version wrote another under the same name."""
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: fact for name, fact in content.items() if _is_fact(fact)} if isinstance(content, dict) else {}
    return {}


def _is_fact(fact: object) -> bool:
    return isinstance(fact, list) and len(fact) == 2 and isinstance(fact[0], dict)
