"""A note beside a stage's folder of what is under way there, which outlives the process if it dies.

The process that holds the stage's lock keeps it in mapped memory, so that noting costs next to nothing and needs no
farewell: what stands in the file when the process is gone is what it was doing.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eagbench.registry.blame import listen

_SIZE = 512  # bytes; a longer note is cut


@contextmanager
def under_way(path: Path) -> Iterator[None]:
    """Note in a file which component's calls are under way, until the end, however it comes but by death."""
    path.write_bytes(bytes(_SIZE))
    with path.open("r+b") as stream, mmap.mmap(stream.fileno(), _SIZE) as memory:

        def note(owner: str) -> None:
            memory[:] = owner.encode(errors="replace")[:_SIZE].ljust(_SIZE, b"\0")

        listen(note)
        try:
            yield
        finally:
            listen(None)
            path.unlink(missing_ok=True)


def left_under_way(path: Path) -> str | None:
    """Return what a process that died was doing: a component and its plugin, empty for none; None if none died."""
    try:
        return path.read_bytes().rstrip(b"\0").decode(errors="replace")
    except FileNotFoundError:
        return None
