"""Shows how far a transfer is: a bar on a terminal, elsewhere a line at its beginning and one every 30 seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Column

from eagbench.execution.progress import Reporter
from eagbench.execution.signs_of_life import SECONDS_BETWEEN_LINES

Advance = Callable[[int], None]


def size_in_words(n_bytes: int) -> str:
    """Write a number of bytes, e.g. `6.3 MB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes} bytes"


@contextmanager
def metered(reporter: Reporter, name: str, done: int, total: int | None) -> Iterator[Advance]:
    """Show a transfer while the block lasts, and give what is called with the number of bytes that came.

    Args:
        reporter: Says where.
        name: The file.
        done: Bytes that were here before.
        total: Bytes of the whole file; None if the server does not say.
    """
    if reporter.console.is_terminal and not reporter.quiet:
        shortened = Column(no_wrap=True, overflow="ellipsis")  # of a long name, rather than broken numbers
        columns = (
            TextColumn("{task.description}", table_column=shortened),
            BarColumn(bar_width=20),
            *(kind(table_column=Column(no_wrap=True)) for kind in (DownloadColumn, TransferSpeedColumn)),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=reporter.console) as bar:
            task = bar.add_task(name, total=total, completed=done)
            yield lambda n: bar.advance(task, n)
        return
    whole = "" if total is None else f" of {size_in_words(total)}"
    reporter.say(f"{name}: " + (f"goes on after {size_in_words(done)}{whole}" if done else f"begins{whole}"))
    last, came = time.monotonic(), done

    def advance(n_bytes: int) -> None:
        nonlocal last, came
        came += n_bytes
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            reporter.say(f"{name}: {size_in_words(came)}{whole}")

    yield advance
