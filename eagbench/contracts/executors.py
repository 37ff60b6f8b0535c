"""What an executor must do: compute stages, in this process, in others or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel

from eagbench.contracts.stages import StageNode


class ComputeStage(Protocol):
    """Computes one stage, or finds it done; an executor gets it and calls it. It can be pickled."""

    @property
    def folder(self) -> Path:
        """The folder of finished stages; whichever process calls it must see it at this path, and write there."""
        ...

    def __call__(self, node: StageNode) -> object:
        """Return the stage's outcome; an error of the stage is an outcome."""
        ...


@runtime_checkable
class Executor(Protocol):
    """Computes stages: in this process, in others, or on a cluster.

    Every executor leaves the same bytes: it only decides when and where the work runs. Its parameters come from the
    command line (`--executor-option key=value`); `--workers` sets a parameter called `workers`, and `--stage-timeout`
    one called `stage_timeout`, in seconds or as `30m`.
    """

    name: ClassVar[str]
    Params: ClassVar[type[BaseModel]]

    def __init__(self, params: Any) -> None: ...

    def execute(
        self,
        nodes: Sequence[StageNode],
        compute: ComputeStage,
        done: Callable[[StageNode, object], bool],
    ) -> None:
        """Compute every stage, each after the stages it needs.

        Args:
            nodes: The stages, each listed after the stages it needs (`StageNode.upstream`).
            compute: Computes one stage, or finds it done, and returns its outcome. It can be pickled and may be called
                in another process that sees the same `compute.folder`. It never raises for an error of the stage.
            done: Called with each outcome, in this process; with a `StageLost` for a stage whose process died or was
                ended. Returns whether stages that need this one may go on. If not, they are not computed, and `done`
                gets them with the outcome None. An exception from it ends the run.
        """
        ...


@runtime_checkable
class SubmitsJobs(Protocol):
    """An executor that submits jobs to a batch system."""

    def job_script(self, nodes: Sequence[StageNode]) -> str:
        """Write the script of one of its jobs, for `eagbench run --plan`. Nothing is submitted."""
        ...
