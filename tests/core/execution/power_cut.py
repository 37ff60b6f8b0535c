"""A file system that loses what was not synced: what was done below a folder is recorded, and replayed up to each cut.

After a power cut, of what was not synced by then

- a file holds what it held when it was last synced, or what it holds now, or (never synced) nothing;
- each creation, removal and renaming in a folder may have happened or not, whatever came before or after it.

`recording` looks at the folder before each call of Python that may change it, and at each `os.fsync`, which it does not
carry out. Files that another language writes in between are seen at the next look.
"""

from __future__ import annotations

import os
import random
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from unittest import mock

Tree = dict[str, bytes | None]  # files with their content, folders with None, by path below the root

_CALLS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"}
_MOST_SUBSETS = 128  # of changes that may have happened or not
_ROOT = 1  # the identity of what is looked at first
_recorders: list[Recorder] = []
_installed: list[bool] = []  # a hook can't be removed


@dataclass(slots=True)
class _Look:
    """The folder at a moment: entries by folder, and contents by file. What has an identity keeps it when renamed."""

    entries: dict[int, dict[str, int]] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)


class Recorder:
    """The looks at a folder, and what was synced after each."""

    def __init__(self, root: Path) -> None:
        self.root, self.events = root, list[tuple[_Look, int | None]]()
        self._identities: dict[int, int] = {}  # by inode, as long as it lives: numbers are used again
        self._n_identities = 0
        self._lock, self._is_looking = threading.RLock(), False

    def see(self, event: str, arguments: tuple[object, ...]) -> None:
        """Look before a call that may change the folder."""
        if event in _CALLS and not self._is_looking and str(arguments[0]).startswith(f"{self.root}"):
            self.look()

    def sync(self, descriptor: int) -> None:
        """Note that a file or a folder is synced."""
        with self._lock:
            self.look(synced=os.fstat(descriptor).st_ino)

    def look(self, synced: int | None = None) -> None:
        """Look at the folder, and note the inode that is synced now."""
        with self._lock:
            self._is_looking = True
            try:
                look, alive = _Look(), set[int]()
                self._walk(self.root, look, alive)
            finally:
                self._is_looking = False
            self._identities = {inode: known for inode, known in self._identities.items() if inode in alive}
            self.events.append((look, None if synced is None else self._identities.get(synced)))

    def _walk(self, place: Path, look: _Look, alive: set[int]) -> int:
        status = place.stat()
        alive.add(status.st_ino)
        if status.st_ino not in self._identities:
            self._n_identities += 1
            self._identities[status.st_ino] = self._n_identities
        identity = self._identities[status.st_ino]
        if stat.S_ISDIR(status.st_mode):
            look.entries[identity] = {p.name: self._walk(p, look, alive) for p in sorted(place.iterdir())}
        else:
            look.contents[identity] = place.read_bytes()
        return identity


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    for recorder in _recorders:
        recorder.see(event, arguments)


@contextmanager
def recording(root: Path) -> Iterator[Recorder]:
    """Record what happens below a folder; what is there at the beginning is on the disk."""
    if not _installed:
        sys.addaudithook(_hook)
        _installed.append(True)
    recorder = Recorder(root)
    recorder.look()
    _recorders.append(recorder)
    try:
        with mock.patch("os.fsync", recorder.sync):
            yield recorder
    finally:
        _recorders.remove(recorder)
        recorder.look()


@dataclass(frozen=True, slots=True)
class _Change:
    """A name in a folder that leads elsewhere now, or nowhere; after a renaming, another leads nowhere."""

    folder: int
    name: str
    leads_to: int | None
    former: str | None = None


@dataclass(slots=True)
class _Disk:
    """What is sure to be on the disk, and what may be."""

    entries: dict[int, dict[str, int]]
    contents: dict[int, bytes]
    folders: set[int]
    waiting: list[_Change] = field(default_factory=list)

    def apply(self, folder: int) -> None:
        """Sync a folder."""
        for change in [c for c in self.waiting if c.folder == folder]:
            _apply(change, self.entries)
        self.waiting = [c for c in self.waiting if c.folder != folder]

    def cuts(self, now: _Look, draw: random.Random) -> Iterator[Tree]:
        """Yield what may be on the disk after a power cut now."""
        n = len(self.waiting)
        if 2**n <= _MOST_SUBSETS:
            subsets = list(product((False, True), repeat=n))
        else:
            subsets = [(False,) * n, (True,) * n]
            subsets += [tuple(draw.random() < 0.5 for _ in range(n)) for _ in range(_MOST_SUBSETS)]
        for happened in subsets:
            entries = {folder: dict(names) for folder, names in self.entries.items()}
            for change, did in zip(self.waiting, happened, strict=True):
                if did:
                    _apply(change, entries)
            for contents in ({**now.contents}, {}):
                tree: Tree = {}
                self._grow(tree, "", _ROOT, entries, contents)
                yield tree

    def _grow(
        self, tree: Tree, place: str, folder: int, entries: dict[int, dict[str, int]], contents: dict[int, bytes]
    ) -> None:
        for name, identity in entries.get(folder, {}).items():
            path = f"{place}{name}"
            if identity in self.folders:
                tree[path] = None
                self._grow(tree, f"{path}/", identity, entries, contents)
            else:
                tree[path] = contents.get(identity, self.contents.get(identity, b""))


def _apply(change: _Change, entries: dict[int, dict[str, int]]) -> None:
    names = entries.setdefault(change.folder, {})
    if change.former is not None:
        names.pop(change.former, None)
    if change.leads_to is None:
        names.pop(change.name, None)
    else:
        names[change.name] = change.leads_to


def _changes(before: _Look, after: _Look) -> Iterator[_Change]:
    for folder, names in after.entries.items():
        old = before.entries.get(folder, {})
        gone = {identity: name for name, identity in old.items() if names.get(name) != identity}
        for name, identity in names.items():
            if old.get(name) != identity:
                yield _Change(folder, name, identity, gone.pop(identity, None))
        for name in gone.values():
            if name not in names:
                yield _Change(folder, name, None)


def cuts(recorder: Recorder, seed: int = 0) -> list[Tree]:
    """Return everything that may be on the disk after a power cut at any moment, once each."""
    return _unique(recorder, seed)[0]


def cuts_at_the_end(recorder: Recorder, seed: int = 0) -> list[Tree]:
    """Return what may be on the disk after a power cut after all that was recorded."""
    return _unique(recorder, seed)[1]


def _unique(recorder: Recorder, seed: int) -> tuple[list[Tree], list[Tree]]:
    draw = random.Random(seed)
    first = recorder.events[0][0]
    entries = {folder: dict(names) for folder, names in first.entries.items()}
    disk = _Disk(entries, dict(first.contents), set(first.entries))
    found: dict[tuple[tuple[str, bytes | None], ...], Tree] = {}
    last: list[Tree] = []
    before = first
    for look, synced in recorder.events:
        disk.folders |= set(look.entries)
        disk.waiting += _changes(before, look)
        if synced in look.entries:
            disk.apply(synced)
        elif synced is not None:
            disk.contents[synced] = look.contents[synced]
        last = list(disk.cuts(look, draw))
        for tree in last:
            found.setdefault(tuple(sorted(tree.items())), tree)
        before = look
    return list(found.values()), last


def lay_out(tree: Tree, folder: Path) -> None:
    """Write what may be on the disk below a folder."""
    folder.mkdir(parents=True)
    for path, content in tree.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
