"""Turn a benchmark into its plan: every stage with its fingerprint and every cell of the grid, before anything runs."""

from __future__ import annotations

import graphlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eagbench.analysis.comparisons import untested
from eagbench.config.benchmark import ComparisonSpec
from eagbench.config.loading import LoadedBenchmark
from eagbench.config.yaml_source import KeyPath
from eagbench.contracts.rereading import REREAD_COLUMNS
from eagbench.contracts.stages import CLEAN, ComponentUse, Condition, StageNode
from eagbench.contracts.traits import MethodTraits, MetricTraits, PerturbationTraits, PolicyTraits, traits_of
from eagbench.errors import UserError
from eagbench.planning.domain_stages import DomainStages
from eagbench.planning.domains import Transfer
from eagbench.planning.expert_method import ExpertMethod
from eagbench.planning.grid import Grid, PlannedCondition
from eagbench.planning.method_plan import PlannedMethod
from eagbench.planning.patient_split import BenchmarkSplit, ContentHashes, PatientSplit
from eagbench.planning.plan import Cell, Plan
from eagbench.planning.plan_transfer import plan_transfer
from eagbench.planning.rewording import refuse_unworded
from eagbench.planning.stage_graph import StageGraph
from eagbench.registry.blame import refusing
from eagbench.registry.import_closure import kept_code
from eagbench.registry.plugins import Registry


@refusing()
def make_plan(
    loaded: LoadedBenchmark,
    registry: Registry,
    contents: ContentHashes,
    *,
    limit: int | None = None,
    split: PatientSplit | None = None,
) -> Plan:
    """Validate every component and lay out all stages and cells.

    Args:
        loaded: The benchmark.
        registry: The components.
        contents: Hashes the files of data sets; usually the store.
        limit: Patients to take before the split; None for all.
        split: How to divide the patients; None for the benchmark's own split.

    Raises:
        UserError: A component is unknown, a parameter does not fit, or data or a local model are missing.
    """
    graph, benchmark = StageGraph(loaded, registry), loaded.benchmark
    division = split or BenchmarkSplit(benchmark.split, contents, limit)
    transfer = plan_transfer(graph, division, contents)
    metrics, claim, reference = _metrics(graph), _claim(graph), _reference_expert(graph)
    grid = Grid(
        domains=DomainStages(graph, transfer),
        folds=division.folds,
        conditions=_conditions(graph),
        metrics=metrics,
        # Without an expert to compare with, nothing reads the attention: save the cost of measuring it.
        attention_metrics=_attention_metrics(graph, metrics) if reference is not None else [],
        reread_metrics=_reread_metrics(graph, metrics) if reference is not None else {},
        reference_expert=reference,
    )
    methods = [_method(graph, index) for index in range(len(benchmark.methods))]
    refuse_unworded(graph, [method for method, _ in methods])
    cells = [
        cell
        for method, instance in methods
        for seed in benchmark.seeds
        for domain in transfer.trained
        for cell in grid.cells(method, instance, seed, domain)
    ]
    references = grid.references()
    subgroups = [stage for domain in transfer.evaluated if (stage := grid.subgroups(domain)) is not None]
    nodes = _ordered(_asked(transfer, references, cells))
    kept_code().save()
    return Plan(
        loaded=_with_claim(loaded, claim),
        limit=limit,
        transfer=transfer,
        references=references,
        subgroups=tuple(subgroups),
        methods=tuple(method for method, _ in methods),
        conditions=tuple(planned.condition for planned in grid.conditions),
        cells=tuple(cells),
        metrics=metrics,
        trackers=_trackers(graph),
        nodes=nodes,
        packages=dict(sorted(graph.packages.items())),
        notes=tuple(graph.notes),
        **(_told_by_policy(graph) if any(node.kind == "policy" for node in nodes) else {}),
    )


def _asked(transfer: Transfer, references: Sequence[StageNode], cells: Sequence[Cell]) -> list[StageNode]:
    """List the stages that a run exists to compute; all others only serve these."""
    shifts = [pair.shift for pair in transfer.pairs if pair.shift is not None]
    # Check domains in which nothing is evaluated with the others, before anything is trained.
    splits = [domain.split for domain in transfer.domains]
    return [*references, *splits, *shifts, *(cell.score for cell in cells if cell.score is not None)]


def _told_by_policy(graph: StageGraph) -> dict[str, str]:
    """Return what the policy declares about its weights and its setup, each in a sentence."""
    spec = graph.benchmark.policy
    assert spec is not None
    registered, params = graph.validated("policy", spec.name, spec.params, ("policy",))
    policy: Any = registered.component(params)
    traits = traits_of(policy, PolicyTraits)
    clauses = {"weights_note": traits.weights_note, "policy_setup": traits.setup}
    return {key: f"Policy {registered.name}: {clause}." for key, clause in clauses.items() if clause}


def _trackers(graph: StageGraph) -> tuple[ComponentUse, ...]:
    """Validate the trackers and return their components, with an empty code version.

    Trackers compute nothing, so no fingerprint includes their code; each one reports for itself what it lacks.
    """
    found = []
    for i, spec in enumerate(graph.benchmark.trackers):
        _, params = graph.validated("tracker", spec.name, spec.params, ("trackers", i))
        found.append(ComponentUse("tracker", spec.name, params.model_dump(mode="json"), code=""))
    return tuple(found)


def _metrics(graph: StageGraph) -> tuple[ComponentUse, ...]:
    benchmark = graph.benchmark
    return tuple(
        graph.use("metric", spec.name, spec.params, ("metrics", i)) for i, spec in enumerate(benchmark.metrics)
    )


def _with_claim(loaded: LoadedBenchmark, claim: ComparisonSpec | None) -> LoadedBenchmark:
    """Write the claim into a benchmark, also where it is the default one: a run's manifest says what was compared."""
    tree = loaded.source.tree
    if claim is not None and "comparisons" not in tree:
        tree = {**tree, "comparisons": claim.model_dump()}
    benchmark = loaded.benchmark.model_copy(update={"comparisons": claim})
    return replace(loaded, benchmark=benchmark, source=replace(loaded.source, tree=tree))


def _claim(graph: StageGraph) -> ComparisonSpec | None:
    """Return the claim to test, with its metric under its present name.

    A benchmark that says nothing about it compares its last method (by custom the one it is about) with every other.
    """
    benchmark = graph.benchmark
    spec = benchmark.comparisons
    if "comparisons" not in benchmark.model_fields_set and len(benchmark.methods) > 1:
        names = [graph.found("metric", use.name, ("metrics", i)).name for i, use in enumerate(benchmark.metrics)]
        tested = [name for name in names if _is_tested(graph, name)]
        return ComparisonSpec(method=benchmark.methods[-1].label, metric=tested[0]) if tested else None
    if spec is None:
        return None
    registered = graph.found("metric", spec.metric, ("comparisons", "metric"))
    if not _is_tested(graph, registered.name):
        raise untested(
            registered.name,
            where=graph.place(("comparisons", "metric")),
            hint="take a proper one (auroc, auprc, brier) and list the other among `metrics`",
        )
    return spec.model_copy(update={"metric": registered.name})


def _is_tested(graph: StageGraph, metric: str) -> bool:
    return traits_of(graph.registry.get("metric", metric).component, MetricTraits).is_tested


def _attention_metrics(graph: StageGraph, metrics: Sequence[ComponentUse]) -> list[str]:
    """Name the metrics that need the policies' own attention."""
    declared = ((use.name, graph.registry.get("metric", use.name).component) for use in metrics)
    return [name for name, component in declared if traits_of(component, MetricTraits).needs_attention]


def _reread_metrics(graph: StageGraph, metrics: Sequence[ComponentUse]) -> dict[str, tuple[str, ...]]:
    """Return the metrics that read answers about changed records, and which of these each reads."""
    declared = {use.name: graph.registry.get("metric", use.name).component for use in metrics}
    read = {name: traits_of(component, MetricTraits).columns for name, component in declared.items()}
    return {
        name: asked for name, columns in read.items() if (asked := tuple(c for c in columns if c in REREAD_COLUMNS))
    }


def _reference_expert(graph: StageGraph) -> ComponentUse | None:
    spec = graph.benchmark.reference_expert
    return None if spec is None else graph.use("expert", spec.name, spec.params, ("reference_expert",))


def _conditions(graph: StageGraph) -> list[PlannedCondition]:
    found: list[PlannedCondition] = []
    for i, spec in enumerate(graph.benchmark.conditions):
        if spec.name == CLEAN.name:
            found.append(PlannedCondition(CLEAN, frozenset({"columns", "text"})))
            continue
        path: KeyPath = ("conditions", i)
        registered, params = graph.validated("perturbation", spec.name, spec.params, path)
        perturbation: Any = registered.component(params)
        use = graph.use("perturbation", spec.name, spec.params, path)
        traits = traits_of(perturbation, PerturbationTraits)
        levels = [traits.levels[level - 1] for level in spec.level or ()]
        for severity in sorted({*(spec.severity or ()), *levels}):
            try:
                perturbation.check_severity(severity)
            except ValueError as error:
                raise UserError(
                    f"{spec.name} has no severity {severity:g}: {error}", where=graph.place((*path, "severity"))
                ) from error
            found.append(PlannedCondition(Condition(spec.label, severity, use), traits.applies_to))
    return found


def _method(graph: StageGraph, index: int) -> tuple[PlannedMethod, Any]:
    """Plan a method of the benchmark, or an expert under its own name, and return it with its instance."""
    spec = graph.benchmark.methods[index]
    path: KeyPath = ("methods", index)
    has_method, has_expert = (graph.registry.has(kind, spec.name) for kind in ("method", "expert"))
    if has_expert and not has_method:
        use = graph.use("expert", spec.name, spec.params, path)
        return PlannedMethod(spec.label, use, ExpertMethod.traits.reads, path), ExpertMethod(use)
    if not has_method:
        where = graph.place((*path, "name"))
        raise graph.registry.unknown("method or expert", ("method", "expert"), spec.name, where)
    registered, params = graph.validated("method", spec.name, spec.params, path)
    use = graph.use("method", spec.name, spec.params, path)
    instance: Any = registered.component(params)
    return PlannedMethod(spec.label, use, traits_of(instance, MethodTraits).reads, path), instance


def _ordered(targets: Sequence[StageNode]) -> tuple[StageNode, ...]:
    by_fingerprint: dict[str, StageNode] = {}
    waiting = list(reversed(targets))
    graph: dict[str, list[str]] = {}
    while waiting:
        node = waiting.pop()
        if node.fingerprint in graph:
            continue
        by_fingerprint[node.fingerprint] = node
        graph[node.fingerprint] = [up.fingerprint for up in node.upstream()]
        waiting.extend(reversed(node.upstream()))
    return tuple(by_fingerprint[f] for f in graphlib.TopologicalSorter(graph).static_order())
