"""`local`: stages on this machine, in this process or in several worker processes."""

from __future__ import annotations

import graphlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import ClassVar

from pydantic import Field

from eagbench.contracts.components import StrictParams
from eagbench.contracts.stages import StageNode
from eagbench.contracts.traits import ExecutorTraits
from eagbench.execution.processes import begin_worker, end_processes


class Local:
    """Compute stages in this process, or in as many worker processes as wanted."""

    name: ClassVar[str] = "local"

    class Params(StrictParams):
        """How many processes.

        Attributes:
            workers: Worker processes; 1 means this process, one stage after the other.
        """

        workers: int = Field(default=1, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def traits(self) -> ExecutorTraits:
        """Progress bars only without worker processes, which would share one terminal."""
        return ExecutorTraits(draws_progress=self.params.workers == 1)

    def execute(
        self,
        nodes: Sequence[StageNode],
        compute: Callable[[StageNode], object],
        done: Callable[[StageNode, object], bool],
    ) -> None:
        """Compute every stage after those it needs (`eagbench.contracts.components.Executor`)."""
        progress = _Progress(done)
        if self.params.workers == 1:
            for node in nodes:
                progress.settle(node, None if progress.is_blocked(node) else compute(node))
            return
        # Spawn, because a process that has started torch's or lightgbm's threads can't be forked safely.
        context = multiprocessing.get_context("spawn")
        others = multiprocessing.active_children()
        with ProcessPoolExecutor(self.params.workers, mp_context=context, initializer=begin_worker) as pool:
            try:
                _compute_in(pool, nodes, compute, progress)
            except Exception:
                pool.shutdown(wait=False, cancel_futures=True)  # what is under way is finished, nothing more is begun
                raise
            except BaseException:
                # Stopped: a stage under way leaves its checkpoints, and the pool's end would wait for it.
                end_processes([child for child in multiprocessing.active_children() if child not in others])
                raise


def _compute_in(
    pool: ProcessPoolExecutor, nodes: Sequence[StageNode], compute: Callable[[StageNode], object], progress: _Progress
) -> None:
    """Give each stage to the pool once those that it needs are done."""
    by_fingerprint = {node.fingerprint: node for node in nodes}
    sorter = graphlib.TopologicalSorter({n.fingerprint: [up.fingerprint for up in n.upstream()] for n in nodes})
    sorter.prepare()
    running: dict[Future[object], StageNode] = {}
    while sorter.is_active():
        for node in (by_fingerprint[fingerprint] for fingerprint in sorter.get_ready()):
            if progress.is_blocked(node):
                progress.settle(node, None)
                sorter.done(node.fingerprint)
            else:
                running[pool.submit(compute, node)] = node
        if running:
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                node = running.pop(future)
                progress.settle(node, future.result())
                sorter.done(node.fingerprint)


class _Progress:
    """Pass outcomes on, and remember which stages may not go on because one before them failed."""

    def __init__(self, done: Callable[[StageNode, object], bool]) -> None:
        self._done = done
        self._blocked: set[str] = set()

    def is_blocked(self, node: StageNode) -> bool:
        """Say whether a stage that this one needs did not succeed."""
        return any(up.fingerprint in self._blocked for up in node.upstream())

    def settle(self, node: StageNode, outcome: object) -> None:
        """Report an outcome, None for a stage that was not computed."""
        if not self._done(node, outcome):
            self._blocked.add(node.fingerprint)
