"""Repeat short actions at regular times beside a process's work, all of them from one thread.

A thread of its own for each stage would cost more than everything else around a short stage's lease.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Action:
    call: Callable[[], bool]
    seconds: float
    due: float  # by the monotonic clock


class _Repeater:
    """Calls the actions that are due, in a thread that ends when it wakes up and none is left."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._actions: list[_Action] = []
        self._thread: threading.Thread | None = None
        self._wakes = 0.0

    def add(self, action: _Action) -> None:
        with self._changed:
            self._actions.append(action)
            if self._thread is None:
                self._wakes = action.due
                self._thread = threading.Thread(target=self._run, name="repeated", daemon=True)
                self._thread.start()
            elif action.due < self._wakes:
                self._changed.notify()

    def remove(self, action: _Action) -> None:
        with self._changed:
            if action in self._actions:
                self._actions.remove(action)

    def _run(self) -> None:
        while (due := self._due()) is not None:
            for action in due:
                goes_on = action.call()
                action.due = time.monotonic() + action.seconds
                if not goes_on:
                    self.remove(action)

    def _due(self) -> list[_Action] | None:
        """Wait for actions to be due; None if there are no actions any more."""
        with self._changed:
            while self._actions:
                now = time.monotonic()
                if found := [action for action in self._actions if action.due <= now]:
                    return found
                self._wakes = min(action.due for action in self._actions)
                self._changed.wait(self._wakes - now)
            self._thread = None
            return None


_repeater = _Repeater()


def _begin_anew() -> None:
    global _repeater
    _repeater = _Repeater()


os.register_at_fork(after_in_child=_begin_anew)  # a child has no threads of its parent


@contextmanager
def repeated(call: Callable[[], bool], seconds: float) -> Iterator[None]:
    """Call an action every so many seconds inside, until it says that this makes no sense any more.

    Args:
        call: Does the work in a moment, raises nothing, and says whether to go on. It may still be called once at the
            very end of the block.
        seconds: The time between two calls, and before the first one.
    """
    action, repeater = _Action(call, seconds, time.monotonic() + seconds), _repeater
    repeater.add(action)
    try:
        yield
    finally:
        repeater.remove(action)
