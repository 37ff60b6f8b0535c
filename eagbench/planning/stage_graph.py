"""The stages and components of a plan in the making: each stage once, each component validated and versioned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eagbench.config.benchmark import Benchmark
from eagbench.config.loading import LoadedBenchmark, validate_params
from eagbench.config.secrets import apart
from eagbench.config.yaml_source import KeyPath
from eagbench.contracts.stages import ComponentUse, StageNode, StageOutput, StageOutputs
from eagbench.contracts.traits import Traits, traits_of
from eagbench.errors import UserError
from eagbench.registry.code_versions import CodeVersion, code_version
from eagbench.registry.plugins import Registered, Registry

# This module turns declared inputs into cases, labels and perturbed records before a stage's function is called.
_RESOLVES_INPUTS = "eagbench.execution.resolve"
# Reading and dividing records is not done again with another number of threads.
_COMPUTE_NOTHING = frozenset({"source", "cohort", "split", "domain", "shared_concepts"})


def modules_of(node: StageNode) -> tuple[str, ...]:
    """Name the modules whose code is that of a stage, its component's apart."""
    module = node.function.partition(":")[0]
    reads_records = any(not isinstance(value, StageOutput | StageOutputs) for value in node.inputs.values())
    return (module, _RESOLVES_INPUTS) if reads_records else (module,)


class StageGraph:
    """Make the components and stages of one plan.

    Args:
        loaded: The benchmark.
        registry: The installed components.

    Attributes:
        packages: Third-party distributions that the plan's numbers depend on so far, with their versions.
        notes: Things to tell the user, for example that a component has been renamed; each once.
    """

    def __init__(self, loaded: LoadedBenchmark, registry: Registry) -> None:
        self.loaded, self.registry = loaded, registry
        self.packages: dict[str, str] = {}
        self.notes: dict[str, None] = dict.fromkeys(loaded.source.notes)
        self._nodes: dict[str, StageNode] = {}

    @property
    def benchmark(self) -> Benchmark:
        """The validated benchmark."""
        return self.loaded.benchmark

    def place(self, path: KeyPath) -> str:
        """Say where in the user's file a value is."""
        return self.loaded.source.place(path)

    def validated(self, kind: str, name: str, params: Mapping[str, Any], path: KeyPath) -> tuple[Registered, BaseModel]:
        """Look up a component and validate its parameters.

        Raises:
            UserError: The component is unknown, or a parameter does not fit.
        """
        registered = self.found(kind, name, (*path, "name"))
        model: type[BaseModel] = registered.component.Params  # type: ignore[attr-defined]
        return registered, validate_params(model, params, self.loaded.source, path)

    def found(self, kind: str, name: str, path: KeyPath) -> Registered:
        """Look up a component, and note if it has been renamed.

        Raises:
            UserError: No component has that name.
        """
        registered = self.registry.get(kind, name, where=self.place(path))
        if registered.name != name:
            self.notes[f"{self.place(path)}: the {kind} '{name}' is called '{registered.name}' now"] = None
        return registered

    def use(
        self, kind: str, name: str, params: Mapping[str, Any], path: KeyPath, *, content: bool = False
    ) -> ComponentUse:
        """Validate a component's parameters and record the version of its code.

        With `content`, parameters that are paths are kept apart: the hash of the files there represents them in the
        fingerprint. So are parameters that hold a secret, which is masked in the fingerprint and in what is written:
        the same work with another key is the same work. A component made of others declares them in its traits
        (`parts`): they are validated too, and their code counts with its own.
        """
        registered, model = self.validated(kind, name, params, path)
        values = model.model_dump(mode="json")
        places = [key for key in values if content and isinstance(getattr(model, key), Path)]
        component = registered.component
        whose = f"the {kind} '{registered.name}'"
        needed = code_version(component.__module__).require(whose, self.place((*path, "name")))
        versions = [self._noted(needed)]
        for key, part in traits_of(component(model), Traits).parts.items():
            parts = [self.named(part, spec, (*path, key, i)) for i, spec in enumerate(getattr(model, key))]
            versions.extend(use.code for use in parts)
        kept, secrets = apart({key: value for key, value in values.items() if key not in places})
        if secrets and kind == "policy":  # its folder holds its parameters: later stages open it from there
            raise UserError(
                f"the policy's parameter '{next(iter(secrets))}' holds a secret, which would be written to the store",
                where=self.place((*path, next(iter(secrets)))),
                hint="give the name of the environment variable that holds it, as `api_key_env` of the policy openai",
            )
        return ComponentUse(
            kind=kind,
            name=registered.name,
            params=kept,
            code=";".join(versions),
            locations={**{key: values[key] for key in places}, **secrets},
        )

    def named(self, kind: str, spec: str | Mapping[str, Any], path: KeyPath) -> ComponentUse:
        """Validate a component given as its name, or as a mapping with `name` and parameters."""
        mapping = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = mapping.pop("name", None)
        if not isinstance(name, str):
            raise UserError(f"a {kind} is a name, or a mapping with `name:` and its parameters", where=self.place(path))
        return self.use(kind, name, mapping, path)

    def add(self, node: StageNode) -> StageNode:
        """Add a stage with the version of the code behind it and its number of threads.

        Returns:
            The same object for the same fingerprint.

        Parameters that hold a secret are kept apart, as in `use`.

        Raises:
            UserError: Its code needs a package that is not installed.
        """
        code = code_version(*modules_of(node)).require(f"the stage {node.kind} '{node.label}'")
        threads = None if node.kind in _COMPUTE_NOTHING else self.benchmark.threads
        kept, secrets = apart(node.params)
        locations = {**node.locations, **secrets}
        versioned = replace(node, params=kept, locations=locations, code=self._noted(code), threads=threads)
        return self._nodes.setdefault(versioned.fingerprint, versioned)

    def _noted(self, code: CodeVersion) -> str:
        self.packages.update(code.packages)
        return code.version
