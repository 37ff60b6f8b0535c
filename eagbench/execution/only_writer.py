"""The right to write an output folder: of processes that write the same one at once, one goes after the other.

Each file appears whole, but a folder is more than its files: the manifest vouches for all of them, and two writers
that take turns by chance can leave one that vouches for half of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eagbench.execution.lease import forget_waiting, leased

_NAME = ".eagbench-writing"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the only process that writes a folder in the block; whoever writes it now is waited for.

    A writer that was killed is known by its process, or by a lease that it does not renew (`lease`).

    Args:
        folder: An existing folder.
    """
    with leased(folder / _NAME):
        forget_waiting(folder / _NAME)
        yield
