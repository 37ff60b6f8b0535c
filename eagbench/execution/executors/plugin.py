"""The core's executors, registered as a third party would register its own."""

from __future__ import annotations

from eagbench.contracts.hooks import Register, hookimpl
from eagbench.execution.executors.dask import Dask
from eagbench.execution.executors.local import Local
from eagbench.execution.executors.slurm import Slurm


@hookimpl
def register_executors(register: Register) -> None:
    """Register the executors of this machine and of clusters."""
    register(Local)
    register(Dask)
    register(Slurm)
