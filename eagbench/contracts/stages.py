"""A stage: a pure function of parameters, inputs and seed, named by its fingerprint.

A stage never guesses another stage's folder. It declares inputs, and the runner passes it the data behind them:
labelled training data, unlabelled cases, or the folder of an upstream stage. Only `score` can declare held-out labels
as an input.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal


def content_hash(value: Any) -> str:
    """Hash a JSON value with SHA-256, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ComponentUse:
    """A registered component with the parameters that the benchmark gives it.

    Attributes:
        kind: `dataset`, `expert`, `policy`, ...
        name: The name it is registered under.
        params: Its validated parameters, as JSON values, defaults included.
        code: Version of the code behind it (see `registry.code_version`).
        locations: Parameters that give a path only. The hash of the content at that path replaces them.
    """

    kind: str
    name: str
    params: Mapping[str, Any]
    code: str
    locations: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """Return the values that enter a fingerprint."""
        return {"kind": self.kind, "name": self.name, "params": dict(self.params), "code": self.code}


@dataclass(frozen=True, slots=True)
class Condition:
    """A perturbation at one severity, or `clean` (no perturbation)."""

    name: str
    severity: float | None = None
    perturbation: ComponentUse | None = None

    def identity(self) -> dict[str, Any]:
        """Return the values that enter a fingerprint."""
        use = None if self.perturbation is None else self.perturbation.identity()
        return {"severity": self.severity, "perturbation": use}


CLEAN = Condition("clean")


@dataclass(frozen=True, slots=True)
class TrainingInput:
    """Training and tuning cases of one fold, with labels. Arrives as `TrainingData`.

    With `concepts`, a `shared_concepts` stage, the records hold only the concepts that stage lists.
    """

    split: StageNode
    fold: int
    concepts: StageNode | None = None

    def identity(self) -> list[Any]:
        """Return the values that enter a fingerprint."""
        return ["training", self.split.fingerprint, self.fold, *_fingerprints(self.concepts)]

    def upstream(self) -> tuple[StageNode, ...]:
        """List the stages whose folders this input is read from."""
        return (self.split, *_given(self.concepts))


@dataclass(frozen=True, slots=True)
class CasesInput:
    """Cases of one part of one fold, without labels, under a condition. Arrives as `Cases`.

    Held-out cases may enter prediction stages only; the plan refuses them elsewhere. With `concepts`, a
    `shared_concepts` stage, the records hold only the concepts that stage lists.
    """

    split: StageNode
    fold: int
    part: Literal["train", "tuning", "held_out"]
    condition: Condition = CLEAN
    concepts: StageNode | None = None

    def identity(self) -> list[Any]:
        """Return the values that enter a fingerprint."""
        declared = ["cases", self.split.fingerprint, self.fold, self.part, self.condition.identity()]
        return [*declared, *_fingerprints(self.concepts)]

    def upstream(self) -> tuple[StageNode, ...]:
        """List the stages whose folders this input is read from."""
        return (self.split, *_given(self.concepts))


@dataclass(frozen=True, slots=True)
class StageOutput:
    """The folder that another stage wrote. Arrives as a `Path`; read only."""

    stage: StageNode

    def identity(self) -> list[Any]:
        """Return the values that enter a fingerprint."""
        return ["stage", self.stage.fingerprint]

    def upstream(self) -> tuple[StageNode, ...]:
        """List the stages whose folders this input is read from."""
        return (self.stage,)


@dataclass(frozen=True, slots=True)
class StageOutputs:
    """The folders that several stages wrote, one per fold. Arrives as a tuple of `Path`s, in the order of the folds."""

    stages: tuple[StageNode, ...]

    def identity(self) -> list[Any]:
        """Return the values that enter a fingerprint."""
        return ["stages", *(stage.fingerprint for stage in self.stages)]

    def upstream(self) -> tuple[StageNode, ...]:
        """List the stages whose folders this input is read from."""
        return self.stages


@dataclass(frozen=True, slots=True)
class LabelsInput:
    """Labels of all held-out cases, by case id, with each fold's training prevalence. Only `score` may declare it.

    Arrives as `HeldOutLabels`. If the method was trained on another split than that of the evaluated cases,
    `trained_on`, the prevalence is that of the training split.
    """

    split: StageNode
    trained_on: StageNode | None = None

    def identity(self) -> list[Any]:
        """Return the values that enter a fingerprint."""
        return ["labels", self.split.fingerprint, *_fingerprints(self.trained_on)]

    def upstream(self) -> tuple[StageNode, ...]:
        """List the stages whose folders this input is read from."""
        return (self.split, *_given(self.trained_on))


def _given(stage: StageNode | None) -> tuple[StageNode, ...]:
    return () if stage is None else (stage,)


def _fingerprints(stage: StageNode | None) -> list[str]:
    # Nothing where there is no such stage: what is computed without one keeps its fingerprint.
    return [] if stage is None else [stage.fingerprint]


Input = TrainingInput | CasesInput | StageOutput | StageOutputs | LabelsInput


@dataclass(frozen=True, eq=False)
class StageNode:
    """One stage of a plan. Two nodes with the same fingerprint are the same work.

    Attributes:
        kind: `cohort`, `split`, `expert`, `salience`, `policy`, `trajectories`, `sft`, `predict`, `score`, ...
        label: Display name that tells it from others of its kind; not part of the fingerprint.
        function: The function that does the work, `module:name`; it takes a `StageRun` and returns nothing.
        params: JSON values.
        inputs: Named inputs.
        seed: Seed of training, search or sampling; None for a stage that draws nothing.
        code: Version of the function's code; the plan fills it in.
        component: The component that does the work, if there is one.
        content: Hash of outside content that the stage reads (the data set's files), if any.
        locations: Further parameters of the function that only say where that content is. The hash of the content
            replaces them in the fingerprint.
        threads: How many threads it computes with, or None if their number changes nothing; it then has one. The plan
            fills it in.
    """

    kind: str
    label: str
    function: str
    params: Mapping[str, Any]
    inputs: Mapping[str, Input]
    code: str = ""
    seed: int | None = None
    component: ComponentUse | None = None
    content: str | None = None
    locations: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that determines the stage's output."""
        return content_hash(
            {
                "kind": self.kind,
                "function": self.function,
                "params": dict(self.params),
                "inputs": {name: value.identity() for name, value in self.inputs.items()},
                "seed": self.seed,
                "code": self.code,
                "component": None if self.component is None else self.component.identity(),
                "content": self.content,
                **({} if self.threads is None else {"threads": self.threads}),
            }
        )

    def upstream(self) -> tuple[StageNode, ...]:
        """List the stages that must be complete before this one."""
        return tuple(node for value in self.inputs.values() for node in value.upstream())


def no_progress[Item](items: Iterable[Item], label: str, total: int | None = None) -> Iterable[Item]:
    """Return the items as they are, without showing progress."""
    del label, total
    return items


@dataclass(slots=True)
class StageRun:
    """The argument of a stage's function.

    Attributes:
        params: The node's parameters.
        inputs: For each declared input its value: `TrainingData`, `Cases`, `Path`, or a tuple of paths.
        seed: The node's seed (0 if it has none).
        out: Folder to write into. It survives a kill, so a long stage may find its own earlier work in `checkpoints`.
        component: The instance of the node's component, if there is one.
        component_params: The validated parameters of that instance.
        progress: Wraps an iterable with a progress bar: `run.progress(batches, "fit", total)`.
        costs: Amounts to add to costs.csv, by name (for example `generated_tokens`).
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, Any]
    seed: int
    out: Path
    component: Any = None
    component_params: Any = None
    progress: Callable[..., Iterable[Any]] = no_progress
    costs: dict[str, float] = field(default_factory=dict)

    @property
    def checkpoints(self) -> Path:
        """Folder for work in progress; removed when the stage is complete."""
        folder = self.out / "checkpoints"
        folder.mkdir(exist_ok=True)
        return folder

    def add_cost(self, name: str, amount: float) -> None:
        """Add to an amount in costs.csv."""
        self.costs[name] = self.costs.get(name, 0.0) + amount


@dataclass(frozen=True, slots=True)
class StageLost:
    """What an executor reports of a stage that its process did not finish: the process died or took too long.

    Attributes:
        reason: What happened, for example `the process that computed it died of signal 9`.
        details: More of it for the log, for example where in its code the process was.
    """

    reason: str
    details: str = ""


def closure(nodes: Sequence[StageNode]) -> list[StageNode]:
    """Return the given stages and all stages they need."""
    found: dict[str, StageNode] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.fingerprint not in found:
            found[node.fingerprint] = node
            waiting.extend(node.upstream())
    return list(found.values())
