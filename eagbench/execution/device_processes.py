"""Processes side by side, one per device, that divide one stage's work: each has a whole model and a share of threads.

On a CPU they share its cores, so that what runs on several GPUs can be tested anywhere.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from eagbench.errors import UserError
from eagbench.execution.processes import begin_worker, end_processes, portable
from eagbench.execution.threads import limited_threads

_SAID, _RAISED = "said", "raised"
_rank: int | None = None


def is_device_process() -> bool:
    """Say whether this process is one of several that divide a stage's work, and opens one model for one device."""
    return _rank is not None


class DeviceProcesses:
    """Processes that run the same function, each with a rank of its own.

    They end with this process, whatever ends it. The threads of the stage are divided among them.

    Args:
        function: A module-level function, called as `function(link, rank, n, *arguments)`. `link.send` tells this
            process something, `link.recv` waits for what it is told.
        n: Number of processes.
        arguments: Further arguments; they are pickled.
    """

    def __init__(self, function: Callable[..., None], n: int, arguments: Sequence[object]) -> None:
        # Spawn, because a process that has started torch's threads can't be forked safely.
        context = multiprocessing.get_context("spawn")
        self._links: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._unread: deque[tuple[int, Any]] = deque()
        threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        try:
            with limited_threads(max(1, threads // n)):  # which they inherit
                for rank in range(n):
                    ours, theirs = context.Pipe()
                    process = context.Process(target=_run, args=(theirs, rank, n, function, tuple(arguments)))
                    process.start()
                    theirs.close()
                    self._links.append(ours)
                    self._processes.append(process)
        except BaseException:
            self.end()
            raise

    def send(self, rank: int, message: object) -> None:
        """Tell a process something.

        Raises:
            RuntimeError: The process has ended.
        """
        try:
            self._links[rank].send(message)
        except (BrokenPipeError, ConnectionResetError):
            raise self._lost(rank) from None

    def receive(self) -> tuple[int, Any]:
        """Wait until any of the processes says something; return its rank and what it said.

        Raises:
            Exception: What a process raised.
            RuntimeError: A process ended before its function did.
        """
        if self._unread:
            return self._unread.popleft()
        while True:
            wait([*self._links, *(process.sentinel for process in self._processes)])
            alive = [process.is_alive() for process in self._processes]  # before their last words are read
            said = {rank: _words(link) for rank, link in enumerate(self._links)}
            raised = [words[1] for words in said.values() if words is not None and words[0] == _RAISED]
            if raised:  # a process that others wait for takes them along: the cause is what a user can mend
                raise next((error for error in raised if isinstance(error, UserError)), raised[0])
            self._unread += [(rank, words[1]) for rank, words in said.items() if words is not None]
            if self._unread:
                return self._unread.popleft()
            if not all(alive):
                raise self._lost(alive.index(False))

    def _lost(self, rank: int) -> RuntimeError:
        self._processes[rank].join()
        code = self._processes[rank].exitcode
        return RuntimeError(f"process {rank} of {len(self._processes)} ended without a result (exit code {code})")

    def end(self) -> None:
        """End all processes, whatever they are doing."""
        end_processes([process for process in self._processes if process.is_alive()])
        for process, link in zip(self._processes, self._links, strict=True):
            process.join()
            link.close()
        self._processes, self._links = [], []


def _words(link: Connection) -> tuple[str, Any] | None:
    """Read what a process said; None if it said nothing."""
    try:
        return link.recv() if link.poll() else None
    except (EOFError, ConnectionResetError):
        return None


class _Link:
    """A process's end of its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def send(self, message: object) -> None:
        """Tell the process that started this one something."""
        self._connection.send((_SAID, message))

    def recv(self) -> Any:
        """Wait for what this process is told."""
        return self._connection.recv()


def _run(connection: Connection, rank: int, n: int, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    global _rank
    _rank = rank
    begin_worker()
    try:
        function(_Link(connection), rank, n, *arguments)
    except Exception as error:  # noqa: BLE001 - raised again by the process that started this one
        connection.send((_RAISED, portable(error)))
