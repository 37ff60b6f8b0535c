"""The values of a benchmark as written, including the defaults of its components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eagbench.config.loading import LoadedBenchmark
from eagbench.config.yaml_source import item_label
from eagbench.registry.plugins import KINDS, Registry
from eagbench.sweep.space import Space


def default_drawn(space: Space, loaded: LoadedBenchmark, registry: Registry) -> dict[str, Any]:
    """Return the parameters that a study would hold for the benchmark as written.

    Raises:
        ValueError: The benchmark as written is not in the space; the message says why.
    """
    drawn: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for parameter in space:
        if not space.is_active(parameter, values):
            continue
        try:
            value = value_at(parameter.path, loaded, registry)
        except LookupError as error:
            raise ValueError(f"{parameter.path} has no default value") from error
        try:
            drawn[parameter.path] = parameter.drawn_of(value)
        except ValueError as error:
            raise ValueError(f"{parameter.path}: {error}") from error
        values[parameter.path] = parameter.value_of(drawn[parameter.path])
    return drawn


def value_at(path: str, loaded: LoadedBenchmark, registry: Registry) -> Any:
    """Return the value at a path, defaults included.

    Raises:
        LookupError: The path has no value.
    """
    root, *rest = path.split(".")
    benchmark = loaded.benchmark
    if root == "methods":
        items = loaded.source.tree["methods"]
        labels = [item_label(item) for item in items]
        index = labels.index(rest[0]) if rest[0] in labels else int(rest[0])
        if len(rest) == 1:
            return items[index]
        spec = benchmark.methods[index]
        kind = "method" if registry.has("method", spec.name) else "expert"
        return _below(_params(kind, spec.name, spec.params, registry), rest[1:], registry)
    if root in ("data", "policy"):
        component = benchmark.data if root == "data" else benchmark.policy
        if component is None:
            raise LookupError(path)
        kind = "dataset" if root == "data" else "policy"
        return _below(_params(kind, component.name, component.params, registry), rest, registry)
    return _below(benchmark.model_dump(mode="json")[root], rest, registry)


def _below(value: Any, segments: Sequence[str], registry: Registry) -> Any:
    for before, segment in zip([None, *segments], segments, strict=False):
        name = value if isinstance(value, str) else value.get("name") if isinstance(value, Mapping) else None
        if before is not None and before in KINDS and isinstance(name, str):
            given = {} if isinstance(value, str) else {key: v for key, v in value.items() if key != "name"}
            value = _params(before, name, given, registry)
        if not isinstance(value, Mapping) or segment not in value:
            raise LookupError(segment)
        value = value[segment]
    return value


def _params(kind: str, name: str, given: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    return {"name": name, **registry.params(kind, name, given).model_dump(mode="json")}
