"""A sweep as the user writes it: its benchmark, what varies, what is optimised, and how Optuna searches."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from eagbench.config.benchmark import ComponentSpec
from eagbench.config.loading import validation_error
from eagbench.config.secrets import note_secrets
from eagbench.config.strict import Strict
from eagbench.config.yaml_source import Source, read_yaml
from eagbench.sweep.folder import Direction

ROUNDING = 1e-9  # of a step


class DistributionSpec(Strict):
    """Where the values of a path come from: `int`, `float` or `categorical`.

    Attributes:
        integer: Lowest and highest whole number (`int` in the file).
        real: Lowest and highest number (`float` in the file).
        categorical: The values, each a plain one or a whole component.
        log: Draw on the logarithmic scale.
        step: Distance between neighbouring values.
        when: Draw only where other paths of the space hold these values (one, or any of a list).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=False)

    integer: tuple[builtins.int, builtins.int] | None = Field(default=None, alias="int")
    real: tuple[builtins.float, builtins.float] | None = Field(default=None, alias="float")
    categorical: tuple[Any, ...] | None = Field(default=None, min_length=1)
    log: bool = False
    step: builtins.float | None = Field(default=None, gt=0)
    when: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> DistributionSpec:
        if sum(given is not None for given in (self.integer, self.real, self.categorical)) != 1:
            raise ValueError("give one of `int: [low, high]`, `float: [low, high]` and `categorical: [...]`")
        if self.categorical is not None and (self.log or self.step is not None):
            raise ValueError("`log` and `step` are for numbers")
        if self.log and self.step is not None:
            raise ValueError("`log` and `step` can't be combined")
        bounds = self.integer or self.real
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"the lower bound {bounds[0]:g} is not below the upper one {bounds[1]:g}")
        if bounds is not None and self.log and bounds[0] <= 0:
            raise ValueError("on the logarithmic scale the lower bound is above 0")
        if self.integer is not None and self.step is not None and self.step != builtins.int(self.step):
            raise ValueError("the step of whole numbers is a whole number")
        if bounds is not None and self.step is not None:
            steps = (bounds[1] - bounds[0]) / self.step
            if abs(steps - round(steps)) > ROUNDING or round(steps) == 0:
                raise ValueError(f"steps of {self.step:g} do not lead from {bounds[0]:g} to {bounds[1]:g}")
        return self

    @property
    def key(self) -> str:
        """The key of the bounds or values in the file."""
        return "int" if self.integer is not None else "float" if self.real is not None else "categorical"


class ObjectiveSpec(Strict):
    """One number to optimise, measured on tuning cases: `metric`, `degradation` or `cost`.

    Attributes:
        metric: A metric, on unchanged records.
        degradation: A metric, as the difference between unchanged records and those under `condition`.
        cost: `seconds` of training and prediction, or the `generated_tokens` of both.
        method: Label of the method; not needed if there is only one.
        condition: A condition of the benchmark, or any perturbation by name.
        severity: Its severity.
        direction: `maximize` or `minimize`, for a metric that has no better end.
        name: Its name in tables; derived from the other fields if not given.
    """

    metric: str | None = None
    degradation: str | None = None
    cost: Literal["generated_tokens", "seconds"] | None = None
    method: str | None = None
    condition: str | None = None
    severity: float | None = None
    direction: Direction | None = None
    split: Literal["tuning"] = "tuning"
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_held_out_cases(cls, value: Any) -> Any:
        # Before anything else, so that whatever names them gets this answer.
        texts = [str(part) for item in value.items() for part in item] if isinstance(value, Mapping) else [str(value)]
        if any("held_out" in text.lower().replace("-", "_").replace(" ", "_") for text in texts):
            raise ValueError(
                "the held-out cases can't be an objective: trials are measured on tuning cases. The best trial is "
                "evaluated on held-out cases once, at the end, with --evaluate-best"
            )
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> ObjectiveSpec:
        if sum(given is not None for given in (self.metric, self.degradation, self.cost)) != 1:
            raise ValueError("give one of `metric`, `degradation` and `cost`")
        if (self.degradation is None) != (self.condition is None and self.severity is None) or (
            self.degradation is not None and (self.condition is None or self.severity is None)
        ):
            raise ValueError("`degradation` needs `condition` and `severity`, and nothing else takes them")
        if self.metric is None and self.direction == "maximize":
            raise ValueError("less degradation and less cost are better: leave `direction` out")
        return self


class SweepFile(Strict):
    """A sweep.

    Attributes:
        name: The sweep's name, and that of its study.
        description: For people.
        benchmark: The benchmark's file, relative to the folder of this one.
        profile: One of its profiles.
        set: Assignments to it, as with `--set`.
        seeds: Seeds of each trial, instead of the benchmark's own.
        limit: Patients to take before the split.
        space: Where the values of each varied path of the benchmark come from.
        objectives: What to optimise; several give a Pareto set.
        sampler: One of Optuna's samplers.
        pruner: One of Optuna's pruners.
        rungs: What grows from rung to rung of a trial, `training_share` or one path of a method, and its values.
        trials: Number of finished trials.
        fixed_trials: Trials to start with, after the benchmark as written.
        tuning_folds: Number of cross-validation folds if the tuning part is too small.
        storage: Where the study is stored, if not in the sweep's folder: `sqlite:///...`, `postgresql://...`, or a
            journal file, relative to the folder of this file. `--storage` goes before it.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    description: str = ""
    benchmark: str
    profile: str | None = None
    set: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = Field(default=None, min_length=1)
    limit: int | None = Field(default=None, ge=1)
    space: dict[str, DistributionSpec] = Field(min_length=1)
    objectives: tuple[ObjectiveSpec, ...] = Field(min_length=1)
    sampler: ComponentSpec = ComponentSpec(name="TPESampler")
    pruner: ComponentSpec = ComponentSpec(name="NopPruner")
    rungs: dict[str, tuple[Any, ...]] | None = None
    trials: int = Field(ge=1)
    fixed_trials: tuple[dict[str, Any], ...] = ()
    tuning_folds: int = Field(default=3, ge=2, le=20)
    storage: str | None = None

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if seeds is not None and len({*seeds}) < len(seeds):
            raise ValueError("a seed appears here twice")
        return seeds


@dataclass(frozen=True, slots=True)
class LoadedSweep:
    """A validated sweep, the place of every value in it, and its file."""

    sweep: SweepFile
    source: Source
    path: Path

    def place(self, *path: str | int) -> str:
        """Return a value's place in the user's file."""
        return self.source.place(tuple(path))

    @property
    def storage(self) -> str | None:
        """Where the study is stored, as an address or a path; None for the sweep's own folder."""
        given = self.sweep.storage
        return given if given is None or "://" in given else str(self.path.parent / given)

    @property
    def benchmark(self) -> Path:
        """The benchmark's file."""
        return self.path.parent / self.sweep.benchmark


def load_sweep(path: Path) -> LoadedSweep:
    """Read and validate a sweep's file.

    Raises:
        UserError: Something in it is wrong; the message names file and line.
    """
    source = read_yaml(path)
    note_secrets(source.tree)
    try:
        sweep = SweepFile.model_validate(source.tree)
    except ValidationError as error:
        raise validation_error(error, SweepFile, source, ()) from error
    return LoadedSweep(sweep, source, path)
