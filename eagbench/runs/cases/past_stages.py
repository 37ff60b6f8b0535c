"""The stages of a finished run, rebuilt from the store, so that their inputs can be read again.

A run folder names its stages by fingerprint, and the store holds what each was asked. That suffices to resolve the
inputs of a stage again, perturbed records included, without the benchmark's file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from eagbench.contracts.stages import (
    CasesInput,
    ComponentUse,
    Condition,
    Input,
    LabelsInput,
    StageNode,
    StageOutput,
    StageOutputs,
    TrainingInput,
)
from eagbench.execution.stage_files import MANIFEST, read_manifest


class MissingStageError(Exception):
    """Something can't be shown, because the store lacks a stage or a plugin is gone; the message says which."""


@dataclass(frozen=True, eq=False)
class PastStage(StageNode):
    """A stage as the store describes it, under the fingerprint that it had in the run.

    Attributes:
        recorded: The fingerprint.
    """

    recorded: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint that the stage had in the run."""
        return self.recorded


class PastStages:
    """The stages of a run by fingerprint.

    Args:
        manifest: The run's manifest.
        root: The store.
    """

    def __init__(self, manifest: Mapping[str, Any], root: Path) -> None:
        self.root = root
        self.listed: Mapping[str, Mapping[str, Any]] = {
            stage["fingerprint"]: stage for stage in manifest["stages"] if "inputs" in stage
        }
        self._nodes: dict[str, PastStage] = {}

    def of_kind(self, kind: str) -> list[str]:
        """List the fingerprints of a kind of stages, in the run's order."""
        return [fingerprint for fingerprint, stage in self.listed.items() if stage["kind"] == kind]

    def folder(self, node: StageNode) -> Path:
        """Return the folder of a stage.

        Raises:
            MissingStageError: The store does not hold it.
        """
        folder = self.root / node.kind / node.fingerprint
        if not (folder / MANIFEST).is_file():
            raise MissingStageError(f"the store lacks {node.kind} {node.label} ({node.fingerprint[:12]})")
        return folder

    def node(self, fingerprint: str) -> PastStage:
        """Rebuild a stage with all stages it needs; one that the store lacks has neither inputs nor parameters."""
        if fingerprint not in self._nodes:
            self._nodes[fingerprint] = self._rebuilt(fingerprint)
        return self._nodes[fingerprint]

    def _rebuilt(self, fingerprint: str) -> PastStage:
        listed = self.listed.get(fingerprint, {"kind": "unknown", "label": "stage", "seed": None})
        kind, label, seed = str(listed["kind"]), str(listed["label"]), listed["seed"]
        folder = self.root / kind / fingerprint
        if not (folder / MANIFEST).is_file():
            return PastStage(kind, label, "", {}, {}, seed=seed, recorded=fingerprint)
        said = read_manifest(folder)
        return PastStage(
            kind=kind,
            label=label,
            function=said["function"],
            params=said["params"],
            inputs={name: self._input(identity) for name, identity in said["inputs"].items()},
            code=said["code"],
            seed=seed,
            component=_use(said["component"]),
            recorded=fingerprint,
        )

    def _input(self, identity: Sequence[Any]) -> Input:
        """Rebuild an input from the values that entered the fingerprint (`Input.identity`)."""
        shows, *rest = identity
        if shows == "stage":
            return StageOutput(self.node(rest[0]))
        if shows == "stages":
            return StageOutputs(tuple(map(self.node, rest)))
        split = self.node(rest[0])
        if shows == "labels":
            return LabelsInput(split, *map(self.node, rest[1:]))
        if shows == "training":
            return TrainingInput(split, rest[1], *map(self.node, rest[2:]))
        return CasesInput(split, rest[1], rest[2], _condition(rest[3]), *map(self.node, rest[4:]))


def _use(identity: Mapping[str, Any] | None) -> ComponentUse | None:
    if identity is None:
        return None
    return ComponentUse(identity["kind"], identity["name"], identity["params"], identity["code"])


def _condition(identity: Mapping[str, Any]) -> Condition:
    use = _use(identity["perturbation"])
    return Condition("clean" if use is None else use.name, identity["severity"], use)
