"""`slurm`: stages in jobs of Slurm, each with worker processes of Dask, through dask-jobqueue."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from eagbench.contracts.components import StrictParams
from eagbench.contracts.executors import ComputeStage
from eagbench.contracts.stages import StageNode
from eagbench.contracts.traits import ExecutorTraits
from eagbench.errors import UserError
from eagbench.execution.executors.durations import Seconds
from eagbench.execution.executors.slurm_job import SlurmJob, arguments, read_job, script


class Slurm:
    """Compute stages in Slurm jobs that are submitted for the time of the run."""

    name: ClassVar[str] = "slurm"
    traits = ExecutorTraits()

    class Params(StrictParams):
        """What to submit.

        Attributes:
            cluster: A YAML file with what each job asks for (`--cluster`): `processes`, `memory` and `walltime`, and
                where the site wants them `account`, `partition`, `cores`, `gpus`, `prologue` ...
            jobs: How many jobs, instead of the file's number.
            stage_timeout: Seconds that a stage may take, also as `30m` or `2h`; then its process is ended.
        """

        cluster: Path | None = None
        jobs: int | None = Field(default=None, ge=1)
        stage_timeout: Seconds | None = None

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

        job = self._job()
        if nodes:
            with self._cluster(job, nodes) as cluster, client_of(cluster) as client:
                ClusterRun(client, compute, self.params.stage_timeout, ()).execute(nodes, done)

    def job_script(self, nodes: Sequence[StageNode]) -> str:
        """Write the script of one job; nothing is submitted."""
        job = self._job()
        return f"{self.params.jobs or job.jobs} times this job:\n\n{script(job, nodes)}"

    def _job(self) -> SlurmJob:
        if self.params.cluster is None:
            raise UserError(
                "the executor 'slurm' needs to know what a job asks for",
                where="--cluster",
                hint="give a YAML file with `processes`, `memory` and `walltime` (docs/how_to/slurm.md)",
            )
        return read_job(self.params.cluster)

    def _cluster(self, job: SlurmJob, nodes: Sequence[StageNode]) -> AbstractContextManager[Any]:
        given = arguments(job, nodes)
        if shutil.which("sbatch") is None:
            raise UserError(
                "there is no `sbatch` on this machine",
                where="--executor slurm",
                hint="give the command where you submit jobs; `--plan` shows the job's script anywhere",
            )
        from dask_jobqueue import SLURMCluster

        from eagbench.execution.executors.dask_run import closed_soon

        def start() -> Any:
            cluster = SLURMCluster(scheduler_options={"dashboard": False}, **given)
            cluster.scale(jobs=self.params.jobs or job.jobs)
            return cluster

        return closed_soon(start)
