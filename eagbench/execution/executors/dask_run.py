"""One run on a Dask cluster, as the process sees it that gave the command.

It gives a stage to the cluster when `done` has said that those before it are fit to be built on, and never more than
there are workers for: so a worker that is lost takes one stage with it, and the stage with the longest way behind it
comes next. Dask gives the stage of a lost worker to another one, as often as its `allowed-failures` says.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client
from distributed.scheduler import KilledWorker

from eagbench.contracts.executors import ComputeStage
from eagbench.contracts.stages import StageLost, StageNode
from eagbench.errors import UserError
from eagbench.execution.executors.dask_checks import check_store, check_versions
from eagbench.execution.executors.dask_stages import StagePlugin, compute_stage, token_file
from eagbench.execution.executors.order import longest_way, measured_times
from eagbench.execution.executors.ready import ReadyStages

_CONNECT_SECONDS = 15
_LOOK_SECONDS = 0.5
_CAPACITY_SECONDS = 2.0  # between two looks at how many workers there are
_PATIENCE_SECONDS = 10.0  # before it is said that there is no worker
_END_SECONDS = 2.0
_GPU = "GPU"


@contextmanager
def client_of(cluster: Any) -> Iterator[Client]:
    """Connect to a cluster, given as an object or by its scheduler's address.

    Raises:
        UserError: No scheduler answers.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost worker is said by the run
    with dask.config.set({"distributed.comm.timeouts.connect": _CONNECT_SECONDS}):
        try:
            client = Client(cluster, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise UserError(
                f"no Dask scheduler answers: {error}",
                where=str(cluster),
                hint="start one with `dask scheduler`, and give the address that it prints",
            ) from error
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=_END_SECONDS)


@contextmanager
def closed_soon(start: Callable[[], Any]) -> Iterator[Any]:
    """Start a cluster, and close it at the end without waiting for what it does."""
    with dask.config.set({"distributed.worker.profile.enabled": False}):
        cluster = start()
    try:
        yield cluster
    finally:
        with contextlib.suppress(Exception):
            cluster.close(timeout=_END_SECONDS)


class ClusterRun:
    """Computes the stages of one run on a cluster.

    Args:
        client: The connection to the cluster.
        compute: Computes a stage.
        stage_timeout: Seconds that a stage may take; None for no limit.
        gpu_stages: Kinds of stages that ask for a GPU.
    """

    def __init__(
        self, client: Client, compute: ComputeStage, stage_timeout: float | None, gpu_stages: Sequence[str]
    ) -> None:
        self._client, self._compute = client, compute
        self._stage_timeout, self._gpu_stages = stage_timeout, frozenset(gpu_stages)
        self._run = uuid.uuid4().hex[:12]
        self._under_way: dict[Any, StageNode] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._capacity, self._looked = 0, 0.0

    def execute(self, nodes: Sequence[StageNode], done: Callable[[StageNode, object], bool]) -> None:
        """Compute the stages, each after those that it needs.

        Raises:
            UserError: The cluster is not fit for it: other versions, another folder, no GPU, or it went away.
            Exception: What computing or `done` raised.
        """
        times = measured_times(self._compute.folder, {node.kind for node in nodes})
        ready = ReadyStages(nodes, longest_way(nodes, times), done)
        with self._prepared():
            self._check_gpus(nodes)
            while ready.are_left:
                while self._has_room() and (node := ready.next()) is not None:
                    self._begin(node)
                self._settle(ready)

    @contextmanager
    def _prepared(self) -> Iterator[None]:
        self._wait_for_a_worker()
        check_versions(self._client)
        token = token_file(self._compute.folder, self._run)
        plugin = StagePlugin(self._run, self._compute, self._stage_timeout)
        token.write_text(self._run)
        try:
            check_store(self._client, self._compute.folder, self._run)
            self._client.subscribe_topic(plugin.name, _say)
            self._client.register_plugin(plugin)
            yield
        finally:
            self._leave(plugin.name)
            for file in token.parent.glob(f"{token.name}*"):
                file.unlink(missing_ok=True)

    def _leave(self, name: str) -> None:
        """Take back what the cluster has not done, and end what it does for this run."""

        def leave() -> None:
            with contextlib.suppress(Exception):
                self._client.cancel(list(self._under_way), force=True)
                self._client.unregister_worker_plugin(name)

        thread = threading.Thread(target=leave, name="leave the cluster", daemon=True)
        thread.start()
        thread.join(_END_SECONDS)

    def _wait_for_a_worker(self) -> None:
        began, has_said = time.monotonic(), False
        while not self._workers():
            if not has_said and time.monotonic() - began > _PATIENCE_SECONDS:
                has_said = True
                print("waiting for the first worker of the cluster", file=sys.stderr, flush=True)
            time.sleep(_LOOK_SECONDS)

    def _workers(self) -> dict[str, Any]:
        workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers

    def _check_gpus(self, nodes: Sequence[StageNode]) -> None:
        asks = next((node.kind for node in nodes if node.kind in self._gpu_stages), None)
        offered = [worker.get("resources", {}).get(_GPU, 0) for worker in self._workers().values()]
        if asks is not None and not any(offered):
            raise UserError(
                f"stages of the kind '{asks}' ask for a GPU, and none of the {len(offered)} workers offers one",
                where="gpu_stages",
                hint="start workers on machines with a GPU with `--resources GPU=1`",
            )

    def _has_room(self) -> bool:
        if time.monotonic() - self._looked > _CAPACITY_SECONDS:
            self._capacity = sum(worker["nthreads"] for worker in self._workers().values())
            self._looked = time.monotonic()
        # Those that wait for a GPU wait at the scheduler, not at a worker.
        return sum(node.kind not in self._gpu_stages for node in self._under_way.values()) < self._capacity

    def _begin(self, node: StageNode) -> None:
        future = self._client.submit(
            compute_stage,
            self._run,
            node,
            key=f"{node.kind}-{self._run}-{node.fingerprint}",
            pure=False,
            resources={_GPU: 1} if node.kind in self._gpu_stages else None,
        )
        self._under_way[future] = node
        future.add_done_callback(self._ended.put)

    def _settle(self, ready: ReadyStages) -> None:
        """Wait a moment for stages to end, and report them."""
        ended = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._ended.get(timeout=_LOOK_SECONDS))
            while True:
                ended.append(self._ended.get_nowait())
        for future in ended:
            ready.settle(self._under_way[future], self._outcome(future))
            del self._under_way[future]

    def _outcome(self, future: Any) -> object:
        if future.status == "finished":
            return future.result()
        if future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                n = error.allowed_failures + 1
                return StageLost(f"the {n} workers that were to compute it, one after the other, were lost", str(error))
            raise error
        raise UserError(
            "the Dask scheduler went away",
            where=str(self._client.scheduler.address if self._client.scheduler else "dask"),
            hint="start it again; what is finished is in the store",
        )


def _say(event: tuple[float, str]) -> None:
    """Print here what a stage prints on a worker."""
    sys.stderr.write(event[1])
    sys.stderr.flush()
