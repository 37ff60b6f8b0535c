"""`dask`: stages on the workers of a Dask cluster, on this machine or on any others that share the store."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from pydantic import Field

from eagbench.contracts.components import StrictParams
from eagbench.contracts.executors import ComputeStage
from eagbench.contracts.stages import StageNode
from eagbench.contracts.traits import ExecutorTraits
from eagbench.execution.executors.durations import Seconds


class Dask:
    """Compute stages on the workers of a Dask cluster, or of one that is started on this machine."""

    name: ClassVar[str] = "dask"
    traits = ExecutorTraits()

    class Params(StrictParams):
        """Where the cluster is, and what its workers must have.

        Attributes:
            scheduler: The address of a running scheduler (`tcp://host:8786`, `--scheduler`); None starts a cluster on
                this machine for the time of the run.
            workers: Worker processes of a cluster on this machine, each with one stage at a time.
            stage_timeout: Seconds that a stage may take, also as `30m` or `2h`; then its process is ended.
            gpu_stages: Kinds of stages (`sft`, `policy_optimisation` ...) that only a worker with a free `GPU`
                computes, as `dask worker --resources GPU=1` declares one.
        """

        scheduler: str | None = None
        workers: int = Field(default=2, ge=1)
        stage_timeout: Seconds | None = None
        gpu_stages: tuple[str, ...] = ()

    def __init__(self, params: Params) -> None:
        self.params = params

    def execute(
        self,
        nodes: Sequence[StageNode],
        compute: ComputeStage,
        done: Callable[[StageNode, object], bool],
    ) -> None:
        """Compute every stage after those it needs (`eagbench.contracts.executors.Executor`)."""
        from eagbench.execution.executors.dask_run import ClusterRun, client_of

        if nodes:
            with self._cluster() as cluster, client_of(cluster) as client:
                ClusterRun(client, compute, self.params.stage_timeout, self.params.gpu_stages).execute(nodes, done)

    def _cluster(self) -> AbstractContextManager[Any]:
        if self.params.scheduler is not None:
            return contextlib.nullcontext(self.params.scheduler)
        from distributed import LocalCluster

        from eagbench.execution.executors.dask_run import closed_soon

        return closed_soon(
            lambda: LocalCluster(
                n_workers=self.params.workers,
                threads_per_worker=1,
                memory_limit=0,  # a worker holds no data, and its stages are processes of their own
                dashboard_address="127.0.0.1:0",  # any free port: Dask opens one without a dashboard, too
                scheduler_kwargs={"dashboard": False},
                silence_logs=logging.CRITICAL,
            )
        )
