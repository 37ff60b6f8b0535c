"""The folder of what the workers of a run share, in the store and not in /tmp, which may be small or all memory."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eagbench.execution.process_identity import is_gone, this_process

_PREFIX, _OWNER = ".shared-", "owner.json"


@contextmanager
def shared_folder(store: Path) -> Iterator[Path]:
    """Make a folder that only its owner can enter, and remove it in the end, with those of runs that were killed.

    Args:
        store: The folder to make it in.
    """
    for left in store.glob(f"{_PREFIX}*/{_OWNER}"):
        try:
            owner = json.loads(left.read_bytes())
        except (FileNotFoundError, ValueError):  # it is being made or removed at this moment
            continue
        if is_gone(owner):
            shutil.rmtree(left.parent, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=store))
    try:
        (folder / _OWNER).write_text(json.dumps(this_process()))
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
