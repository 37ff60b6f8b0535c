"""What a sweep optimises: which numbers, in which direction, and where to read them after a trial."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eagbench.analysis.scored_run import UNANSWERED, answer_status
from eagbench.config.loading import LoadedBenchmark
from eagbench.config.yaml_source import item_label
from eagbench.contracts.stages import StageNode, closure
from eagbench.contracts.traits import MetricTraits, traits_of
from eagbench.errors import UserError
from eagbench.execution.runner import RunResult
from eagbench.execution.store import Store
from eagbench.metrics.number_names import without_unparsed_variant
from eagbench.planning.plan import Cell, Plan
from eagbench.registry.plugins import Registry
from eagbench.stages.scored_files import read_values
from eagbench.sweep.file import LoadedSweep, ObjectiveSpec
from eagbench.sweep.folder import Direction, ObjectiveRecord
from eagbench.sweep.space import Space

_DIRECTIONS: Mapping[str, Direction] = {"higher": "maximize", "lower": "minimize"}
# What all methods share is no method's cost.
_NO_METHODS_COST = frozenset({"source", "cohort", "split"})


@dataclass(frozen=True, slots=True)
class Objective:
    """One number to optimise.

    Attributes:
        record: Its description in `sweep.json`.
        place: Its place in the sweep's file.
        metric: The metric as the benchmark would name it, None for a cost.
        condition: The condition as the benchmark would name it, for a degradation.
        loss_sign: 1 where a lower metric under the condition is a loss, -1 where a higher one is.
    """

    record: ObjectiveRecord
    place: str
    metric: Any = None
    condition: Mapping[str, Any] | None = None
    loss_sign: int = 1

    def value(self, plan: Plan, result: RunResult, store: Store) -> float:
        """Compute the objective for a trial's plan, which has one seed.

        Raises:
            UserError: It is undefined on these cases, or a stage whose cost counts is no longer in the store.
        """
        if self.record.kind == "cost":
            return self._cost(plan, result, store)
        clean = self._metric(plan, store, None)
        value = (
            clean if self.record.kind == "metric" else self.loss_sign * (clean - self._metric(plan, store, self.record))
        )
        if not math.isfinite(value):
            raise UserError(f"'{self.record.name}' is undefined on this trial's cases", where=self.place)
        return value

    def cell(self, plan: Plan, degradation: ObjectiveRecord | None) -> Cell:
        """Return the cell of the method, on unchanged records or under a degradation's condition."""
        wanted = ("clean", None) if degradation is None else (degradation.condition, degradation.severity)
        [cell] = [
            c
            for c in plan.cells
            if c.method == self.record.method and (c.condition.name, c.condition.severity) == wanted
        ]
        return cell

    def _metric(self, plan: Plan, store: Store, degradation: ObjectiveRecord | None) -> float:
        score = self.cell(plan, degradation).score
        assert score is not None
        values = read_values(store.folder(score))
        if answer_status(values["n_cases"], values["n_unparsed"]) == UNANSWERED:
            raise UserError(f"'{self.record.method}' gave no answer that could be read", where=self.place)
        metrics = values["metrics"]
        # A variant for unparsed answers is absent, and equal, where all answers were parsed.
        name = self.record.of if self.record.of in metrics else without_unparsed_variant(self.record.of)
        if name not in metrics:
            raise UserError(
                f"the method '{self.record.method}' has no '{self.record.of}'",
                where=self.place,
                hint=f"it has: {', '.join(metrics)}",
            )
        return float(metrics[name]["value"])

    def _cost(self, plan: Plan, result: RunResult, store: Store) -> float:
        cell = self.cell(plan, None)
        assert cell.score is not None
        predictions = [node for node in cell.score.upstream() if node.kind == "predict"]
        nodes = [node for node in closure(predictions) if node.kind not in _NO_METHODS_COST]
        return math.fsum(self._amount(node, result, store) for node in nodes)

    def _amount(self, node: StageNode, result: RunResult, store: Store) -> float:
        if result.outcomes[node.fingerprint].status == "not_needed":
            raise UserError(
                f"what the stage {node.kind} '{node.label}' cost is not known any more: it is gone from the store",
                where=str(store.folder(node)),
                hint="set EAGBENCH_STORE to another folder, so that the trial's stages are computed anew",
            )
        facts = store.manifest(node)
        return float(facts["seconds"] if self.record.of == "seconds" else facts["costs"].get(self.record.of, 0.0))


def resolve_objectives(
    loaded: LoadedSweep, benchmark: LoadedBenchmark, space: Space, registry: Registry
) -> tuple[Objective, ...]:
    """Resolve the sweep's objectives on its benchmark.

    Raises:
        UserError: A metric, a method or a condition is unknown, or a path varies in a method that no objective
            measures.
    """
    objectives = tuple(
        _resolve(spec, loaded.place("objectives", i), benchmark, space, registry)
        for i, spec in enumerate(loaded.sweep.objectives)
    )
    names = [objective.record.name for objective in objectives]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise UserError(
                f"the objective '{name}' appears here twice",
                where=objectives[i].place,
                hint="tell them apart with `name`",
            )
    measured = {objective.record.method for objective in objectives}
    for parameter in space:
        method = swept_method(parameter.path, benchmark)
        if method is not None and method not in measured:
            raise UserError(
                f"'{parameter.path}' varies, and no objective is measured on the method '{method}'",
                where=parameter.place,
                hint=f"give an objective `method: {method}`",
            )
    return objectives


def swept_method(path: str, benchmark: LoadedBenchmark) -> str | None:
    """Return the label of the method that a path leads into, or None if it leads into no method."""
    root, *rest = path.split(".")
    labels = [method.label for method in benchmark.benchmark.methods]
    if root != "methods":
        return None
    if rest[0] in labels:
        return rest[0]
    return labels[int(rest[0])] if rest[0].isdigit() and int(rest[0]) < len(labels) else None


def _resolve(
    spec: ObjectiveSpec, place: str, benchmark: LoadedBenchmark, space: Space, registry: Registry
) -> Objective:
    method = _method(spec, place, benchmark, space)
    if spec.cost is not None:
        record = ObjectiveRecord(spec.name or spec.cost, "minimize", "cost", spec.cost, method)
        return Objective(record, place)
    of = spec.metric or spec.degradation or ""
    # `brier@prior_corrected` and `auroc:worst_case` are numbers of the metrics brier and auroc.
    written = of.partition(":")[0].partition("@")[0]
    registered = registry.get("metric", written, where=place)
    of = of.replace(written, registered.name, 1)
    better = traits_of(registered.component, MetricTraits).better
    names = {registered.name, *registered.former_names}
    metric = next((m for m in benchmark.source.tree["metrics"] if item_label(m) in names), registered.name)
    if spec.degradation is None:
        direction = spec.direction or _DIRECTIONS.get(better)
        if direction is None:
            raise UserError(
                f"neither more nor less of '{of}' is better",
                where=place,
                hint="say `direction: maximize` or `minimize`",
            )
        if direction != _DIRECTIONS.get(better, direction):
            raise UserError(f"'{of}' is better when {better}", where=place, hint="leave `direction` out")
        return Objective(ObjectiveRecord(spec.name or of, direction, "metric", of, method), place, metric)
    if better not in _DIRECTIONS:
        raise UserError(f"neither more nor less of '{of}' is better, so it can't degrade", where=place)
    assert spec.condition is not None
    assert spec.severity is not None
    name = spec.name or f"{of} lost to {spec.condition} {spec.severity:g}"
    record = ObjectiveRecord(name, "minimize", "degradation", of, method, spec.condition, spec.severity)
    condition = _condition(spec.condition, spec.severity, place, benchmark, registry)
    return Objective(record, place, metric, condition, 1 if better == "higher" else -1)


def _method(spec: ObjectiveSpec, place: str, benchmark: LoadedBenchmark, space: Space) -> str:
    labels = [method.label for method in benchmark.benchmark.methods]
    swept = {swept_method(parameter.path, benchmark) for parameter in space} - {None}
    if spec.method is not None:
        if spec.method in labels:
            return spec.method
        near = difflib.get_close_matches(spec.method, labels, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"the benchmark has no method '{spec.method}'", where=place, hint=f"{hint}choices: {', '.join(labels)}"
        )
    if len(labels) == 1 or len(swept) == 1:
        return labels[0] if len(labels) == 1 else str(next(iter(swept)))
    raise UserError("say which method this is measured on", where=place, hint=f"`method:` one of {', '.join(labels)}")


def _condition(
    label: str, severity: float, place: str, benchmark: LoadedBenchmark, registry: Registry
) -> Mapping[str, Any]:
    written = {
        item_label(item): item for item in benchmark.source.tree.get("conditions", []) if item_label(item) != "clean"
    }
    if label in written:
        return {**{key: v for key, v in written[label].items() if key != "level"}, "severity": [severity]}
    if not registry.has("perturbation", label):
        raise registry.unknown("condition of the benchmark, nor perturbation,", ("perturbation",), label, place)
    return {"name": label, "severity": [severity]}


def conditions_of(objectives: Sequence[Objective]) -> list[Any]:
    """List the conditions that objectives are measured under, each perturbation with all its severities."""
    found: dict[str, dict[str, Any]] = {}
    for objective in objectives:
        if objective.condition is not None:
            item = found.setdefault(item_label(objective.condition), {**objective.condition, "severity": []})
            item["severity"] = sorted({*item["severity"], *objective.condition["severity"]})
    return ["clean", *found.values()]
