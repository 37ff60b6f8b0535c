"""What Dask's workers do for the executor `dask`: each stage in a process of its own below the worker.

A worker stays alive when a stage takes its process down, can end a stage that is no longer wanted, and knows a time
limit; the processes are those of the executor `local`. They are kept for the next stage.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from distributed import Reschedule, WorkerPlugin, get_worker

from eagbench.contracts.executors import ComputeStage
from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.execution.executors.worker import Worker

_LOOK_SECONDS = 0.2
_END_SECONDS = 3.0
_MOST_SAID = 65_536  # bytes at one look: a stage that prints more waits
_UNWANTED = frozenset({"cancelled", "released", "forgotten"})


class _StageProcess:
    """A process for stages, and what it prints.

    Args:
        compute: Computes a stage.
        seconds: After so many a stage is ended; None for no limit.
    """

    def __init__(self, compute: ComputeStage, seconds: float | None) -> None:
        self._said, theirs = os.pipe()
        os.set_blocking(self._said, False)
        try:
            with _children_allowed():
                self.worker = Worker(multiprocessing.get_context("spawn"), compute, seconds, theirs)
        finally:
            os.close(theirs)

    def said(self) -> str:
        """Return what it has printed since the last look, as whole lines where it has written whole ones."""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._said, _MOST_SAID).decode("utf-8", "replace")
        return ""

    def end(self) -> None:
        """End it, whatever it is doing."""
        self.worker.end()
        os.close(self._said)


class StagePlugin(WorkerPlugin):  # type: ignore[misc]
    """Computes the stages of one run on a worker of Dask.

    Args:
        run: Tells this run from others on the same cluster.
        compute: Computes a stage.
        seconds: After so many a stage is ended; None for no limit.
    """

    def __init__(self, run: str, compute: ComputeStage, seconds: float | None) -> None:
        self.name = plugin_name(run)
        self._run, self._compute, self._seconds = run, compute, seconds

    def setup(self, worker: Any) -> None:
        """Begin on a worker, one that joins later too."""
        self._worker, self._is_over = worker, False
        self._idle: list[_StageProcess] = []
        self._n_busy, self._lock = 0, threading.Lock()
        self._sees_folder = False

    async def teardown(self, worker: Any) -> None:
        """End all stages of the run on a worker."""
        del worker
        self._is_over = True
        deadline = asyncio.get_running_loop().time() + _END_SECONDS
        while self._n_busy and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_LOOK_SECONDS / 4)
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.end()

    def compute(self, node: StageNode) -> object:
        """Compute a stage, and return its outcome or a `StageLost`.

        Raises:
            UserError: This worker does not see the store.
            Reschedule: Nobody wants the stage any more.
            Exception: What computing raised.
        """
        if not self._sees_folder:
            check_sees(self._compute.folder, self._run)
            self._sees_folder = True
        key = get_worker().get_current_task()
        with self._process() as process:
            worker = process.worker
            worker.give(node)
            try:
                while (result := worker.result()) is None:
                    limit = worker.seconds_left()
                    wait([worker.connection], _LOOK_SECONDS if limit is None else min(_LOOK_SECONDS, limit))
                    self._tell(process)
                    if self._is_over or self._is_unwanted(key):
                        worker.end()
                        raise Reschedule
            finally:
                self._tell(process)
            return result[0]

    def _tell(self, process: _StageProcess) -> None:
        """Pass on what a stage prints to the process that gave the command."""
        if text := process.said():
            self._worker.log_event(self.name, text)

    def _is_unwanted(self, key: Any) -> bool:
        task = self._worker.state.tasks.get(key)
        return task is None or task.state in _UNWANTED

    @contextmanager
    def _process(self) -> Iterator[_StageProcess]:
        """Give a process for a stage, a used one if there is one; afterwards it is kept if it is alive."""
        with self._lock:
            self._n_busy += 1
            process = self._idle.pop() if self._idle else None
        try:
            if process is not None and not process.worker.is_alive():
                process.end()
                process = None
            if process is None:
                process = _StageProcess(self._compute, self._seconds)
            yield process
        finally:
            with self._lock:
                self._n_busy -= 1
                if process is not None and process.worker.is_alive() and not self._is_over:
                    self._idle.append(process)
                    process = None
            if process is not None:
                process.end()


def compute_stage(run: str, node: StageNode) -> object:
    """Compute a stage on the worker that this is called on."""
    plugin: StagePlugin = get_worker().plugins[plugin_name(run)]
    return plugin.compute(node)


def plugin_name(run: str) -> str:
    """Name the plugin of a run."""
    return f"eagbench-{run}"


def token_file(folder: Path, run: str) -> Path:
    """Return the file by which workers show that they see the store; each leaves one beside it."""
    return folder / f".seen-{run}"


def check_sees(folder: Path, run: str) -> str:
    """Check that this machine sees the store of whoever gave the command, and may write there.

    Returns:
        Whose file it has left there (`token_file`).

    Raises:
        UserError: It does not see it.
    """
    machine = os.uname().nodename
    where = f"{folder} on {machine}"
    hint = "set EAGBENCH_STORE to a folder that all machines see at the same path and may write to"
    mine = f"{run}-{machine}-{os.getpid()}"
    try:
        if token_file(folder, run).read_text() == run:
            token_file(folder, mine).write_text(run)
            return mine
    except OSError as error:
        raise UserError(f"a worker can't use the store: {error.strerror}", where=where, hint=hint) from error
    raise UserError("a worker sees another folder in the place of the store", where=where, hint=hint)


@contextmanager
def _children_allowed() -> Iterator[None]:
    """Let a worker start processes although Dask made it a daemon; they end with it, because they watch it."""
    config = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    before = config.get("daemon")
    config["daemon"] = False
    try:
        yield
    finally:
        config["daemon"] = before
