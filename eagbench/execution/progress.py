"""Show progress while stages run: bars with the remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eagbench.config.secrets import masked_text

Item = TypeVar("Item")


class Reporter:
    """Report progress on stderr: on a terminal long stages get a bar, elsewhere each stage gets one line."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print one line, with secrets masked."""
        if not self.quiet:
            self.console.print(masked_text(text), markup=False)

    def progress(self, items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
        """Yield the items, with a progress bar on a terminal."""
        if self.quiet or not self.console.is_terminal:
            yield from items
            return
        columns = (
            TextColumn("    {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(label, total=total)
            for item in items:
                yield item
                bar.advance(task)
