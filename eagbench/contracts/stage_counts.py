"""What a running stage says of how far it is: tokens, loss, and the loop that it is in.

A stage calls `count_tokens` and `report_loss` from wherever it learns of them. Nothing but the signs of life that a run
writes is made from these, so a stage may leave them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class StageCounts:
    """How far a stage is.

    Attributes:
        stage: Its name for display.
        tokens: Tokens so far: read in training, written in search and prediction.
        loss: The latest training loss; None if nothing is trained.
        label: What the present loop does, for example `fine-tune`; empty outside of one.
        done: Steps of the loop that are done.
        total: Steps of the loop; None if it does not know.
    """

    stage: str
    tokens: int = 0
    loss: float | None = None
    label: str = ""
    done: int = 0
    total: int | None = None


_current: ContextVar[StageCounts | None] = ContextVar("stage_counts", default=None)


@contextmanager
def counting(stage: str) -> Iterator[StageCounts]:
    """Count what is done inside, for a stage of this name."""
    counts = StageCounts(stage)
    token = _current.set(counts)
    try:
        yield counts
    finally:
        _current.reset(token)


def count_tokens(tokens: int) -> None:
    """Add tokens that the running stage has trained on or written."""
    counts = _current.get()
    if counts is not None:
        counts.tokens += tokens


def report_loss(loss: float) -> None:
    """Set the latest training loss of the running stage."""
    counts = _current.get()
    if counts is not None:
        counts.loss = loss


def counted_progress[Item](items: Iterable[Item], label: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items and count them as steps of the running stage."""
    counts = _current.get()
    if counts is None:
        yield from items
        return
    counts.label, counts.done, counts.total = label, 0, total
    for done, item in enumerate(items):
        # A loop within this one may have put itself in its place.
        counts.label, counts.done, counts.total = label, done, total
        yield item
    counts.label, counts.done, counts.total = "", 0, None
