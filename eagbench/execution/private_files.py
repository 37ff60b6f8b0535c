"""Files that only their owner can read: what is written about credentialed data, whatever the umask."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.execution.store import Store

_OTHERS = 0o077


def keep_private() -> None:
    """Make all that this process, its threads and the processes that it starts create from now on 0700 or 0600.

    The mode is right from a file's first moment on, whoever writes it (Parquet, SQLite, a tracker's own process).
    """
    os.umask(_OTHERS)


@contextlib.contextmanager
def own_umask() -> Iterator[None]:
    """Give the process its umask back at the end."""
    before = os.umask(_OTHERS)
    os.umask(before)
    try:
        yield
    finally:
        os.umask(before)


def is_private(path: Path) -> bool:
    """Say whether only its owner can read or enter a file or folder."""
    return not stat.S_IMODE(path.stat().st_mode) & _OTHERS


def close_places(store: Store, nodes: Iterable[StageNode], *folders: Path) -> list[str]:
    """Close the store, the stages of a plan in it, and the folders to write to, where they were made open before.

    Returns:
        What to tell the user: the places that others could read until now.

    Raises:
        UserError: One of them belongs to somebody else.
    """
    stages = [place for node in nodes for place in (store.folder(node), store.partial(node)) if place.is_dir()]
    found = {store.root: any([close_alone(store.root), *map(close, stages)])}
    found |= {folder: close(folder) for folder in folders if folder.is_dir()}
    return [
        f"{place} was open to other users of this machine; its data are credentialed, so only you can read it now"
        for place, was_open in found.items()
        if was_open
    ]


def close(path: Path) -> bool:
    """Take all rights of others from a folder and everything in it, or from a file, and say whether there were any.

    Links stay as they are. What another process removes meanwhile is passed over.

    Raises:
        UserError: It belongs to somebody else.
    """
    found = close_alone(path)
    if path.is_dir() and not path.is_symlink():
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                found |= close_alone(Path(folder) / name)
    return found


def close_alone(path: Path) -> bool:
    """Take all rights of others from a file or folder, but not from what a folder holds, and say if there were any.

    Raises:
        UserError: It belongs to somebody else.
    """
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode) or not mode & _OTHERS:
            return False
        path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise UserError(
            "the data are credentialed, and others may read here: it belongs to somebody else",
            where=str(path),
            hint="take folders of your own (--out, EAGBENCH_STORE)",
        ) from error
    return True
