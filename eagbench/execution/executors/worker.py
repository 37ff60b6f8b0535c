"""A worker process that computes one stage at a time; its parent sees it die, or ends it when its time is up."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import tempfile
import time
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from multiprocessing.reduction import DupFd
from typing import Any

from eagbench.contracts.executors import ComputeStage
from eagbench.contracts.stages import StageLost, StageNode
from eagbench.execution.processes import begin_worker, end_processes, portable
from eagbench.stages.shared_measurements import share_through

_BEGUN, _DONE, _RAISED = "begun", "done", "raised"
_TRACE_SECONDS = 0.3  # a process has so long to write where it is
_parent: Connection | None = None


class _Descriptor:
    """An open file's number, which becomes another one on its way into a process that is being spawned."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> Any:
        return DupFd(self.number)

    def __setstate__(self, duplicate: Any) -> None:
        self.number = duplicate.detach()


class Worker:
    """A process that computes stages, one after the other.

    Args:
        context: Starts it.
        compute: Computes a stage there.
        seconds: After so many a stage is ended with its process; None for no limit.
        speaks_to: The open file that it writes to in the place of stdout and stderr; None for those of this process.
        shared: The open file through which it shares with other workers; None to share nothing.
    """

    def __init__(
        self,
        context: SpawnContext,
        compute: ComputeStage,
        seconds: float | None,
        speaks_to: int | None = None,
        shared: int | None = None,
    ) -> None:
        self._seconds = seconds
        self._trace = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - until the process ends
        self.connection, theirs = context.Pipe()
        spoken, common = (None if number is None else _Descriptor(number) for number in (speaks_to, shared))
        arguments = (theirs, compute, _Descriptor(self._trace.fileno()), spoken, common)
        self.process = context.Process(target=_work, args=arguments, name="stages")
        self.process.start()
        theirs.close()
        self._pid = self.process.pid or 0
        self._deadline: float | None = None
        self._is_ended, self._said = False, ""  # where in its code it was, if it could still say so

    def give(self, node: StageNode) -> None:
        """Have it compute a stage. If it has died since the last one, `result` says so."""
        self._deadline = None
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(node)

    def result(self) -> tuple[object] | None:
        """Return the outcome of the stage, a `StageLost` if there is none, or None while the stage goes on.

        Raises:
            Exception: What `compute` raised.
        """
        is_alive = self.process.is_alive()  # before its last words are read
        while self.connection.poll():
            try:
                what, value = self.connection.recv()
            except (EOFError, ConnectionResetError):
                break
            if what == _BEGUN:
                self._deadline = None if self._seconds is None else time.monotonic() + self._seconds
            elif what == _DONE:
                return (value,)
            else:
                raise value
        if not is_alive:
            self.end()
            return (StageLost(f"the process that computed it {_death(self.process.exitcode)}", self._said),)
        if self._deadline is not None and time.monotonic() > self._deadline:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGUSR1)
                self.process.join(_TRACE_SECONDS)
            self.end()
            return (StageLost(f"it took longer than --stage-timeout {self._seconds:g} s", self._said),)
        return None

    def seconds_left(self) -> float | None:
        """Return how long its stage may still take; None without a limit."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def is_alive(self) -> bool:
        """Say whether it can compute another stage."""
        return self.process.is_alive()

    def dismiss(self) -> None:
        """Tell it that there is no more to do."""
        with contextlib.suppress(OSError):
            self.connection.send(None)

    def end(self) -> None:
        """End it with all that it started, whatever it is doing."""
        if self._is_ended:
            return
        self._is_ended = True
        if self.process.is_alive():
            end_processes([self.process])
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, signal.SIGKILL)  # what it started has outlived it
        self.process.join()
        self.connection.close()
        with self._trace:
            self._trace.seek(0)
            self._said = self._trace.read()


def stage_begins() -> None:
    """Tell the parent of a worker that a stage's own time begins: until now it may have waited for another run."""
    if _parent is not None:
        _parent.send((_BEGUN, None))


def _work(
    parent: Connection,
    compute: ComputeStage,
    trace: _Descriptor,
    spoken: _Descriptor | None,
    shared: _Descriptor | None,
) -> None:
    """Compute the stages that come through the connection, until None comes.

    Args:
        parent: The other end of the connection.
        compute: Computes a stage.
        trace: The file for where the code is when the process dies or its time is up.
        spoken: The file for what it prints; None for its parent's own.
        shared: The file through which it shares with other workers; None to share nothing.
    """
    global _parent
    _parent = parent
    share_through(None if shared is None else shared.number)
    if spoken is not None:
        os.dup2(spoken.number, 1)
        os.dup2(spoken.number, 2)
    begin_worker()
    # A group of its own: its parent can end what it started after it has died.
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    stream = os.fdopen(trace.number, "w")
    faulthandler.enable(stream)
    faulthandler.register(signal.SIGUSR1, stream)
    while (node := parent.recv()) is not None:
        try:
            answer: tuple[str, Any] = (_DONE, compute(node))
        except Exception as error:  # noqa: BLE001 - raised again by the parent
            answer = (_RAISED, portable(error))
        parent.send(answer)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        memory = ", often the machine's memory" if -code == signal.SIGKILL else ""
        return f"died of signal {-code} ({name}{memory})"
    return f"ended itself with exit code {code}"
