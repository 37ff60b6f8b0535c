"""The stages and components of a plan under way: each stage once, each component validated and with its version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eagbench.config.benchmark import Benchmark
from eagbench.config.loading import LoadedBenchmark, validate_params
from eagbench.config.yaml_source import KeyPath
from eagbench.contracts.stages import ComponentUse, StageNode
from eagbench.contracts.traits import Traits, traits_of
from eagbench.errors import UserError
from eagbench.registry.code_versions import code_version, core_code
from eagbench.registry.plugins import Registered, Registry


class StageGraph:
    """Makes the components and stages of one plan.

    Args:
        loaded: The benchmark.
        registry: The installed components.
    """

    def __init__(self, loaded: LoadedBenchmark, registry: Registry) -> None:
        self.loaded, self.registry = loaded, registry
        self._nodes: dict[str, StageNode] = {}

    @property
    def benchmark(self) -> Benchmark:
        """The validated benchmark."""
        return self.loaded.benchmark

    def place(self, path: KeyPath) -> str:
        """Says where a value stands in the user's file."""
        return self.loaded.source.place(path)

    def validated(self, kind: str, name: str, params: Mapping[str, Any], path: KeyPath) -> tuple[Registered, BaseModel]:
        """Looks a component up and validates its parameters.

        Raises:
            UserError: The component is unknown, or a parameter does not fit.
        """
        registered = self.registry.get(kind, name, where=self.place((*path, "name")))
        model: type[BaseModel] = registered.component.Params  # type: ignore[attr-defined]
        return registered, validate_params(model, params, self.loaded.source, path)

    def use(
        self, kind: str, name: str, params: Mapping[str, Any], path: KeyPath, *, content: bool = False
    ) -> ComponentUse:
        """Validates a component's parameters and notes the version of its code.

        With `content`, parameters that are paths are kept apart: the hash of what lies there stands for them. A
        component that is made of others says so in its traits (`parts`): they are validated as well, and their code
        counts with its own.
        """
        registered, model = self.validated(kind, name, params, path)
        values = model.model_dump(mode="json")
        places = [key for key in values if content and isinstance(getattr(model, key), Path)]
        versions = [code_version(registered.component, registered.distribution)]
        for key, part in traits_of(registered.component(model), Traits).parts.items():
            parts = [self.named(part, spec, (*path, key, i)) for i, spec in enumerate(getattr(model, key))]
            versions.extend(use.code for use in parts)
        return ComponentUse(
            kind=kind,
            name=name,
            params={key: value for key, value in values.items() if key not in places},
            code=";".join(versions),
            locations={key: values[key] for key in places},
        )

    def named(self, kind: str, spec: str | Mapping[str, Any], path: KeyPath) -> ComponentUse:
        """Validates a component given as its name, or as a mapping with `name` and parameters."""
        mapping = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = mapping.pop("name", None)
        if not isinstance(name, str):
            raise UserError(f"a {kind} is a name, or a mapping with `name:` and its parameters", where=self.place(path))
        return self.use(kind, name, mapping, path)

    def add(self, node: StageNode) -> StageNode:
        """Adds a stage, with the version of its function's code; returns the same object for the same fingerprint."""
        versioned = node if node.code else replace(node, code=core_code(node.kind))
        return self._nodes.setdefault(versioned.fingerprint, versioned)
