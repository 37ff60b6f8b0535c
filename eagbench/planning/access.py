"""What a benchmark's data sets say of their access, before anything is planned, read or written."""

from __future__ import annotations

from typing import Any

from eagbench.config.benchmark import ComponentSpec
from eagbench.config.loading import LoadedBenchmark
from eagbench.config.yaml_source import KeyPath
from eagbench.planning.stage_graph import StageGraph
from eagbench.registry.plugins import Registry


def is_credentialed(loaded: LoadedBenchmark, registry: Registry) -> bool:
    """Say whether one of a benchmark's data sets is credentialed.

    Raises:
        UserError: A data set is unknown, or a parameter does not fit.
    """
    graph, benchmark = StageGraph(loaded, registry), loaded.benchmark
    specs: list[tuple[KeyPath, ComponentSpec]] = [(("domains", name), spec) for name, spec in benchmark.domains.items()]
    if benchmark.data is not None:
        specs.append((("data",), benchmark.data))
    made: list[Any] = []
    for path, spec in specs:
        registered, params = graph.validated("dataset", spec.name, spec.params, path)
        component: Any = registered.component
        made.append(component(params))
    return any(dataset.access() == "credentialed" for dataset in made)
