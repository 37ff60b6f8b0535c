"""Signs of life of long stages where no bar can be drawn: a line every 30 seconds, from whichever process computes."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from eagbench.config.secrets import masked_text
from eagbench.contracts.stage_counts import StageCounts, counted_progress, counting
from eagbench.contracts.stages import no_progress

SECONDS_BETWEEN_LINES = 30.0
# Rates are those of the last so many lines on which something had grown: five minutes, or more where steps are long.
_WINDOW = 10
_STDERR = 2

WrapLoop = Callable[..., Iterable[Any]]


class Signs(Protocol):
    """Shows that a stage is alive."""

    def of(self, stage: str) -> AbstractContextManager[WrapLoop]:
        """Show the stage of this name while it is computed inside, and give what wraps its loops."""
        ...


@dataclass(frozen=True, slots=True)
class Silent:
    """Shows nothing."""

    @contextmanager
    def of(self, stage: str) -> Iterator[WrapLoop]:
        """Show nothing."""
        del stage
        yield no_progress


@dataclass(frozen=True, slots=True)
class Lines:
    """Writes a line about a stage to stderr at regular times, also from a worker process.

    Attributes:
        seconds: Time between two lines.
    """

    seconds: float

    @contextmanager
    def of(self, stage: str) -> Iterator[WrapLoop]:
        """Write lines about the stage while it is computed inside."""
        over = threading.Event()
        with counting(stage) as counts:
            # A thread, because one step may take longer than the time between two lines.
            beat = threading.Thread(target=self._write, args=(counts, over), name="signs of life", daemon=True)
            beat.start()
            try:
                yield counted_progress
            finally:
                over.set()
                beat.join(1.0)

    def _write(self, counts: StageCounts, over: threading.Event) -> None:
        pace = Pace(counts, time.monotonic())
        while not over.wait(self.seconds):
            line = masked_text(pace.line(time.monotonic())) + "\n"
            with suppress(OSError):  # a closed stderr must not end the stage
                os.write(_STDERR, line.encode("utf-8", "replace"))


class Pace:
    """How fast a stage goes on, from what it counted at earlier looks.

    Args:
        counts: What the stage counts.
        now: When it began, in seconds.
    """

    def __init__(self, counts: StageCounts, now: float) -> None:
        self._counts, self._began, self._looked = counts, now, now
        self._tokens, self._steps = _Changes(now, counts.tokens), _Changes(now, 0)
        self._loop: tuple[str, int | None] = ("", None)

    def line(self, now: float) -> str:
        """Look at the counts, and write what is known.

        Args:
            now: The time, in seconds.
        """
        counts = self._counts
        loop, done = (counts.label, counts.total), counts.done
        if loop != self._loop or done < self._steps.last:
            self._loop, self._steps = loop, _Changes(self._looked, 0)  # it began after the last look
        self._steps.look(now, done)
        self._tokens.look(now, counts.tokens)
        self._looked = now
        label, total = loop
        said = [_step(label, done, total) if label else f"for {_duration(now - self._began)}"]
        if counts.loss is not None:
            said.append(f"loss {counts.loss:.4g}")
        if self._tokens.rate:
            said.append(f"{self._tokens.rate:,.{0 if self._tokens.rate >= 10 else 1}f} tokens/s")
        if total is not None and self._steps.rate:
            left = (total - done) / self._steps.rate - (now - self._steps.changed)
            said.append(f"about {_duration(max(0.0, left))} left")
        return f"    {counts.stage}: {', '.join(said)}"


class _Changes:
    """The last times at which a count had grown. Looks without growth say nothing: a step may take many of them."""

    def __init__(self, now: float, count: int) -> None:
        self._grown = deque([(now, count)], maxlen=_WINDOW + 1)

    @property
    def last(self) -> int:
        return self._grown[-1][1]

    @property
    def changed(self) -> float:
        return self._grown[-1][0]

    @property
    def rate(self) -> float:
        """Growth per second; 0 as long as there is none."""
        (start, first), (end, last) = self._grown[0], self._grown[-1]
        return (last - first) / (end - start) if end > start else 0.0

    def look(self, now: float, count: int) -> None:
        if count > self.last:
            self._grown.append((now, count))


def _step(label: str, done: int, total: int | None) -> str:
    return f"{label} {done:,}" if total is None else f"{label} {done:,} of {total:,}"


def _duration(seconds: float) -> str:
    """Write a duration as a person says it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
