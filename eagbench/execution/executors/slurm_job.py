"""What a Slurm job asks for, as the user writes it, and the script that dask-jobqueue makes of it.

dask-jobqueue chooses what it is not told: `SLURMCluster(cores=16, memory="64GB")` gives 4 processes of 4 threads,
`--mem=60G` (its gigabytes are not Slurm's) and a limit of 30 minutes. Here the three are always given.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator, model_validator

from eagbench.config.loading import validation_error
from eagbench.config.strict import Strict
from eagbench.config.yaml_source import read_yaml
from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError

_MEMORY = re.compile(r"(\d+)([MGT])")
_WALLTIME = re.compile(r"(\d+-\d{1,2}(:\d{2}){0,2}|\d{1,3}:\d{2}:\d{2})")
_PLACE = "tcp://THIS-MACHINE:PORT"  # of the scheduler, which is not there before the run


class SlurmJob(Strict):
    """One job.

    Attributes:
        processes: Worker processes in it; each computes one stage at a time.
        memory: Memory of the whole job, in Slurm's words: `64G`.
        walltime: Its time limit, in Slurm's words and in quotes: `"12:00:00"` or `"2-00:00:00"`.
        jobs: How many such jobs are submitted.
        cores: Cores of the job; as many as its processes have threads if not given.
        account: Whom it is charged to.
        partition: Where it waits.
        gpus: GPUs of the job, which then has one process.
        prologue: Lines of the script before the workers start: `module load ...`, `source .venv/bin/activate`.
        directives: Further lines of `#SBATCH`: `--qos=long`.
        interface: Network interface by which workers reach this machine: `ib0`.
        local_directory: A folder on the node's own disk for the workers' temporary files.
        log_directory: An existing folder for the jobs' output.
        python: The Python of the workers; that of this command if not given.
    """

    processes: int = Field(ge=1)
    memory: str
    walltime: str
    jobs: int = Field(default=1, ge=1)
    cores: int | None = Field(default=None, ge=1)
    account: str | None = None
    partition: str | None = None
    gpus: int = Field(default=0, ge=0)
    prologue: tuple[str, ...] = ()
    directives: tuple[str, ...] = ()
    interface: str | None = None
    local_directory: str | None = None
    log_directory: str | None = None
    python: str | None = None

    @field_validator("memory")
    @classmethod
    def _as_slurm_writes_it(cls, memory: str) -> str:
        if not _MEMORY.fullmatch(memory):
            raise ValueError("write it as Slurm does: 64G, or 64000M")
        return memory

    @field_validator("walltime", mode="before")
    @classmethod
    def _in_quotes(cls, walltime: Any) -> Any:
        if not isinstance(walltime, str) or not _WALLTIME.fullmatch(walltime):
            raise ValueError('write it as Slurm does, in quotes: "12:00:00" or "2-00:00:00"')
        return walltime

    @model_validator(mode="after")
    def _one_process_with_gpus(self) -> SlurmJob:
        if self.gpus and self.processes > 1:
            raise ValueError(
                "processes of one job would share its GPUs: with `gpus` write processes: 1, and more `jobs`"
            )
        return self


def read_job(path: Path) -> SlurmJob:
    """Read what a job asks for.

    Raises:
        UserError: The file lacks something, or something in it is wrong.
    """
    source = read_yaml(path)
    try:
        return SlurmJob.model_validate(source.tree)
    except ValidationError as error:
        raise validation_error(error, SlurmJob, source, ()) from error


def arguments(job: SlurmJob, nodes: Sequence[StageNode]) -> dict[str, Any]:
    """Return the arguments of dask-jobqueue for a job that can compute these stages.

    Raises:
        UserError: The job has fewer cores than its processes have threads, or dask-jobqueue is not installed.
    """
    try:
        import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise UserError(
            "dask-jobqueue is not installed", where="--executor slurm", hint='pip install "eagbench[slurm]"'
        ) from error
    threads = max((node.threads or 1 for node in nodes), default=1)
    cores = job.cores or job.processes * threads
    if cores < job.processes * threads:
        raise UserError(
            f"{job.processes} processes of {threads} threads need {job.processes * threads} cores, not {cores}",
            where="cores",
            hint="ask for more cores or fewer processes, or lower `threads` in the benchmark",
        )
    # Dask would run as many stages in a process as it has cores, and end a worker at its share of the memory; each
    # takes one stage at a time, in a process of its own, and Slurm sees to the job's memory.
    extra = ["--nthreads", "1", "--memory-limit", "0", "--no-dashboard"]
    return {
        "cores": cores,
        "processes": job.processes,
        "memory": f"{job.memory}iB",
        "job_mem": job.memory,
        "job_cpu": cores,
        "walltime": job.walltime,
        "queue": job.partition,
        "account": job.account,
        "job_extra_directives": [*job.directives, *([f"--gres=gpu:{job.gpus}"] if job.gpus else [])] or None,
        "job_script_prologue": [*job.prologue] or None,
        "interface": job.interface,
        "local_directory": job.local_directory,
        "log_directory": job.log_directory,
        "python": job.python or sys.executable,
        "job_name": "eagbench",
        "worker_extra_args": extra,
    }


def script(job: SlurmJob, nodes: Sequence[StageNode]) -> str:
    """Write the script of a job, without submitting it."""
    given = arguments(job, nodes)
    from dask_jobqueue.slurm import SLURMJob as Job

    return str(Job(scheduler=_PLACE, name="worker", **given).job_script())
