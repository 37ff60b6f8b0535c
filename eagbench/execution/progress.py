"""Show progress while stages run: bars with the remaining time on a terminal, plain lines elsewhere.

A bar needs a terminal, and stages that this process computes one after the other. Everywhere else a long stage writes a
line every 30 seconds (`signs_of_life`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from eagbench.config.secrets import masked_text
from eagbench.execution import signs_of_life
from eagbench.execution.signs_of_life import Lines, Signs, Silent, WrapLoop

Item = TypeVar("Item")


class Reporter:
    """Report progress on stderr."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print one line, with secrets masked."""
        if not self.quiet:
            self.console.print(masked_text(text), markup=False)

    def signs(self, *, one_by_one: bool) -> Signs:
        """Choose how long stages show that they are alive.

        Args:
            one_by_one: Stages run in this process one after the other, so that each may draw a bar.
        """
        if self.quiet:
            return Silent()
        if one_by_one and self.console.is_terminal:
            return Bars(self)
        return Lines(signs_of_life.SECONDS_BETWEEN_LINES)

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


@dataclass(frozen=True, slots=True)
class Bars:
    """Draws a bar for each loop of a stage.

    Attributes:
        reporter: Draws them.
    """

    reporter: Reporter

    @contextmanager
    def of(self, stage: str) -> Iterator[WrapLoop]:
        """Draw bars for the loops inside."""
        del stage
        yield self.reporter.progress
