"""`local`: stages on this machine, in this process or in worker processes, which share the measurements they read."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import ClassVar

from pydantic import Field

from eagbench.contracts.components import StrictParams
from eagbench.contracts.executors import ComputeStage
from eagbench.contracts.stages import StageLost, StageNode
from eagbench.contracts.traits import ExecutorTraits
from eagbench.execution.executors.durations import Seconds
from eagbench.execution.executors.order import longest_way, measured_times
from eagbench.execution.executors.ready import ReadyStages
from eagbench.execution.executors.worker import Worker
from eagbench.execution.processes import end_processes
from eagbench.stages.shared_measurements import nameless_file

# A process that a dead worker started may hold the worker's pipe open, which then tells nothing of its death.
_LOOK_SECONDS = 0.5
_LEAVE_SECONDS = 5.0  # for a worker without work to end by itself


class Local:
    """Compute stages in this process, or in as many worker processes as wanted."""

    name: ClassVar[str] = "local"

    class Params(StrictParams):
        """How many processes, and how long each stage may take.

        Attributes:
            workers: How many stages at once; 1 without a time limit means this process.
            stage_timeout: Seconds that a stage may take, also as `30m` or `2h`; then its process is ended. With a limit
                even one worker is a process of its own. None for no limit.
        """

        workers: int = Field(default=1, ge=1)
        stage_timeout: Seconds | None = None

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def _in_this_process(self) -> bool:
        return self.params.workers == 1 and self.params.stage_timeout is None

    @property
    def traits(self) -> ExecutorTraits:
        """Progress bars only without worker processes, which would share one terminal."""
        return ExecutorTraits(draws_progress=self._in_this_process)

    def execute(
        self,
        nodes: Sequence[StageNode],
        compute: ComputeStage,
        done: Callable[[StageNode, object], bool],
    ) -> None:
        """Compute every stage after those it needs (`eagbench.contracts.executors.Executor`)."""
        if self._in_this_process:
            _compute_here(nodes, compute, done)
            return
        times = measured_times(compute.folder, {node.kind for node in nodes})
        ready = ReadyStages(nodes, longest_way(nodes, times), done)
        with nameless_file(compute.folder) as descriptor:
            workers = _Workers(self.params, compute, descriptor)
            try:
                _compute_in(workers, ready)
            except Exception:
                workers.finish()  # what is under way is finished, nothing more is begun
                raise
            except BaseException:
                workers.end()  # Stopped: a stage under way leaves its checkpoints
                raise
            workers.leave()


class _Workers:
    """Worker processes: started when there is work, and replaced when one has died."""

    def __init__(self, params: Local.Params, compute: ComputeStage, shared: int | None) -> None:
        # Spawn, because a process that has started torch's or lightgbm's threads can't be forked safely.
        self._context = multiprocessing.get_context("spawn")
        self._params, self._compute = params, compute
        self._shared = shared if params.workers > 1 else None  # a single one has nobody to share with
        self._idle: list[Worker] = []
        self._busy: dict[Worker, StageNode] = {}

    @property
    def are_working(self) -> bool:
        """Whether a stage is under way."""
        return bool(self._busy)

    def has_room(self) -> bool:
        """Say whether another stage can begin."""
        return len(self._busy) < self._params.workers

    def give(self, node: StageNode) -> None:
        """Begin a stage."""
        while self._idle and not self._idle[-1].is_alive():
            self._idle.pop().end()
        worker = self._idle.pop() if self._idle else self._begun()
        self._busy[worker] = node
        worker.give(node)

    def _begun(self) -> Worker:
        return Worker(self._context, self._compute, self._params.stage_timeout, shared=self._shared)

    def finished(self) -> list[tuple[StageNode, object]]:
        """Wait for stages to end, and return them with their outcomes.

        Raises:
            Exception: What `compute` raised.
        """
        found: list[tuple[StageNode, object]] = []
        while not found:
            limits = [left for worker in self._busy if (left := worker.seconds_left()) is not None]
            wait([worker.connection for worker in self._busy], min([_LOOK_SECONDS, *limits]))
            for worker, node in list(self._busy.items()):
                result = worker.result()
                if result is not None:
                    del self._busy[worker]
                    if not isinstance(result[0], StageLost):
                        self._idle.append(worker)
                    found.append((node, result[0]))
        return found

    def finish(self) -> None:
        """Let the stages under way end, and the workers with them."""
        for worker in [*self._idle, *self._busy]:
            worker.dismiss()
        while self._busy:
            wait([worker.connection for worker in self._busy], _LOOK_SECONDS)
            for worker in list(self._busy):
                try:
                    is_over = worker.result() is not None
                except Exception:  # noqa: BLE001 - the run ends already, for the first error
                    is_over = True
                if is_over:
                    self._busy.pop(worker)
                    self._idle.append(worker)
        self.leave()

    def leave(self) -> None:
        """Let workers without work end by themselves, or end them where a thread of a plugin keeps one alive."""
        for worker in self._idle:
            worker.dismiss()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for worker in self._idle:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.end()

    def end(self) -> None:
        """End all workers at once."""
        workers = [*self._idle, *self._busy]
        end_processes([worker.process for worker in workers])
        for worker in workers:
            worker.end()


def _compute_in(workers: _Workers, ready: ReadyStages) -> None:
    """Give each stage to a worker once those that it needs are done."""
    while ready.are_left:
        while workers.has_room() and (node := ready.next()) is not None:
            workers.give(node)
        if workers.are_working:
            for node, outcome in workers.finished():
                ready.settle(node, outcome)


def _compute_here(nodes: Sequence[StageNode], compute: ComputeStage, done: Callable[[StageNode, object], bool]) -> None:
    """Compute the stages in this process, in the order of the plan."""
    blocked: set[str] = set()
    for node in nodes:
        may_begin = not any(up.fingerprint in blocked for up in node.upstream())
        if not done(node, compute(node) if may_begin else None):
            blocked.add(node.fingerprint)
