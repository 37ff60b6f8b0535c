"""Bring files to the disk, so that they survive a power cut: a new name may be there before the content is.

What is renamed is synced first, and the folder of the new name afterwards.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_AT_ONCE = 8  # a file system writes in one go what several threads wait for: a quarter of the time
_NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the entries of a folder, are on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        # Some network file systems refuse it for folders, and keep these in order by themselves; and a folder above
        # the user's own may be one that only others can read.
        if not (path.is_dir() and error.errno in _NO_SYNC_OF_FOLDERS):
            raise


def sync_all(paths: Sequence[Path]) -> None:
    """Sync several files and folders at the same time."""
    list(_threads().map(sync, paths))


@functools.cache  # for every stage of a run: starting threads takes longer than a sync waits
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sync")


os.register_at_fork(after_in_child=_threads.cache_clear)  # a child has no threads of its parent


def tree(folder: Path) -> list[Path]:
    """List a folder, all folders below it, and their files."""
    found: list[Path] = []
    for place, _, names in os.walk(folder):
        found += [Path(place), *(path for name in names if (path := Path(place, name)).is_file())]
    return found
