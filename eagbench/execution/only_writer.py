"""The right to write an output folder: of processes that write the same one at once, one goes after the other.

Each file appears whole, but a folder is more than its files: the manifest vouches for all of them, and two writers
that take turns by chance can leave one that vouches for half of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eagbench.execution.lease import leased

_NAME = ".eagbench-writing"
_OF_WAITING = ".*.clock"  # what a process touches while it waits for a lease


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the only process that writes a folder in the block; whoever writes it now is waited for.

    A writer that was killed is known by its process, or by a lease that it does not renew (`lease`).

    Args:
        folder: An existing folder.
    """
    with leased(folder / _NAME):
        for path in [*folder.glob(f"{_NAME}.after-*"), *folder.glob(_OF_WAITING)]:
            path.unlink(missing_ok=True)  # of who was killed while it waited; who waits now makes its own again
        yield
