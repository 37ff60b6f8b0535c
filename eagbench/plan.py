"""From a benchmark to its plan: every stage with its fingerprint, every cell of the grid, before anything runs."""

from __future__ import annotations

import functools
import graphlib
import importlib.metadata
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import eagbench
from eagbench.config import LoadedBenchmark, validate_params
from eagbench.errors import UserError
from eagbench.expert_method import ExpertMethod
from eagbench.registry import Registered, Registry, code_version, source_hash
from eagbench.stage import (
    CLEAN,
    CasesInput,
    ComponentUse,
    Condition,
    Input,
    LabelsInput,
    StageNode,
    StageOutput,
    TrainingInput,
    content_hash,
)
from eagbench.store import Store
from eagbench.yaml_source import KeyPath

NUMERIC_LIBRARIES = (
    "accelerate", "lightgbm", "numpy", "pandas", "peft", "polars", "pyarrow", "pyhealth", "scikit-learn", "scipy",
    "tokenizers", "torch", "transformers", "trl",
)  # fmt: skip

# What of the core each of its stages depends on, as paths below eagbench/. A change there makes results anew.
_SHARED = ("types.py", "stage.py", "inputs.py", "cohort_files.py", "arrays.py")
_CODE: Mapping[str, tuple[str, ...]] = {
    "source": ("stages/cohort.py", "vocabulary"),
    "cohort": ("stages/cohort.py", "vocabulary"),
    "split": ("stages/split.py",),
    "expert": ("stages/expert.py",),
    "teacher": ("stages/salience.py",),
    "constant_list": ("stages/salience.py",),
    "salience": ("stages/salience.py",),
    "record_text": ("stages/record_text.py", "prompting"),
    "policy": ("stages/policy.py", "prompting"),
    "predict": ("stages/predict.py", "prompting"),
    "score": ("stages/score.py", "metrics", "stats"),
    "references": ("stages/score.py", "metrics", "stats"),
}


@dataclass(frozen=True, eq=False)
class Cell:
    """One method, seed and condition of the grid.

    Attributes:
        method: The method's label.
        seed: Its seed.
        condition: Clean, or a perturbation at a severity.
        score: The stage that gives its numbers; None where the condition means nothing for this kind of method.
    """

    method: str
    seed: int
    condition: Condition
    score: StageNode | None


@dataclass(frozen=True, slots=True)
class PlannedMethod:
    """A method of the benchmark, as planned."""

    label: str
    use: ComponentUse
    reads: str


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will do.

    Attributes:
        loaded: The benchmark and where each value of it stands.
        limit: Patients to take before the split, None for all.
        cohort: The stage that loads the data.
        split: The stage that divides the patients.
        references: The stage that scores probabilities that came with the data.
        methods: The methods in the benchmark's order.
        conditions: The conditions in order, clean first.
        cells: The grid.
        metrics: The metrics' components.
        trackers: The trackers' components.
        access: Access policy of the data.
        nodes: Every stage, each after those it needs.
    """

    loaded: LoadedBenchmark
    limit: int | None
    cohort: StageNode
    split: StageNode
    references: StageNode
    methods: tuple[PlannedMethod, ...]
    conditions: tuple[Condition, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[ComponentUse, ...]
    trackers: tuple[ComponentUse, ...]
    access: str
    nodes: tuple[StageNode, ...]

    def shared(self) -> frozenset[str]:
        """Fingerprints of the stages that every cell needs: if one of these fails there is no run."""
        return frozenset(node.fingerprint for node in _closure([self.references]))


@functools.cache
def environment() -> dict[str, str]:
    """What of the machine and its libraries changes numbers: versions, processor type, device."""
    import torch

    versions = {name: importlib.metadata.version(name) for name in NUMERIC_LIBRARIES}
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "cpu"
    python = ".".join(platform.python_version_tuple()[:2])
    return {**versions, "python": python, "machine": platform.machine(), "device": device}


@functools.cache
def core_code(kind: str) -> str:
    """Version of the core's code behind a kind of stage."""
    root = Path(eagbench.__file__).parent
    hashes = [source_hash(root / part) for part in (*_SHARED, *_CODE.get(kind, ()))]
    return f"eagbench=={eagbench.__version__}+{content_hash([hashes, environment()])[:16]}"


def make_plan(loaded: LoadedBenchmark, registry: Registry, store: Store, *, limit: int | None = None) -> Plan:
    """Validates every component and lays out all stages and cells.

    Raises:
        UserError: A component is unknown, a parameter does not fit, data or a local model is missing.
    """
    return _Planner(loaded, registry, store, limit).plan()


class _Planner:
    def __init__(self, loaded: LoadedBenchmark, registry: Registry, store: Store, limit: int | None) -> None:
        self.loaded, self.registry, self.store, self.limit = loaded, registry, store, limit
        self.benchmark = loaded.benchmark
        self._nodes: dict[str, StageNode] = {}
        self.cohort, self.access = self._cohort()
        self.split = self.node(
            "split",
            "split",
            "eagbench.stages.split:assign",
            {**self.benchmark.split.model_dump(mode="json"), "limit": limit},
            {"cohort": StageOutput(self.cohort)},
        )
        self.metrics = tuple(
            self.use("metric", spec.name, spec.params, ("metrics", i)) for i, spec in enumerate(self.benchmark.metrics)
        )
        # Without an expert to compare with, nothing reads the attention, and its measurement is not paid for.
        self.measures_attention = self.benchmark.reference_expert is not None and any(
            getattr(self.registry.get("metric", use.name).component, "needs_attention", False) for use in self.metrics
        )
        self.reference_expert = None
        if self.benchmark.reference_expert is not None:
            spec = self.benchmark.reference_expert
            self.reference_expert = self.use("expert", spec.name, spec.params, ("reference_expert",))

    # Components

    def use(
        self, kind: str, name: str, params: Mapping[str, Any], path: KeyPath, *, content: bool = False
    ) -> ComponentUse:
        """Validates a component's parameters and notes the version of its code.

        With `content`, parameters that are paths are kept apart: the hash of what lies there stands for them.
        """
        registered, model = self.validated(kind, name, params, path)
        values = model.model_dump(mode="json")
        places = [key for key in values if content and isinstance(getattr(model, key), Path)]
        return ComponentUse(
            kind=kind,
            name=name,
            params={key: value for key, value in values.items() if key not in places},
            code=code_version(registered.component, registered.distribution),
            locations={key: values[key] for key in places},
        )

    def validated(self, kind: str, name: str, params: Mapping[str, Any], path: KeyPath) -> tuple[Registered, BaseModel]:
        """The registered component and its validated parameters."""
        where = self.loaded.source.place((*path, "name"))
        registered = self.registry.get(kind, name, where=where)
        model: type[BaseModel] = registered.component.Params  # type: ignore[attr-defined]
        return registered, validate_params(model, params, self.loaded.source, path)

    # Stages

    def node(
        self,
        kind: str,
        label: str,
        function: str,
        params: Mapping[str, Any],
        inputs: Mapping[str, Input],
        *,
        seed: int | None = None,
        component: ComponentUse | None = None,
        content: str | None = None,
        code: str | None = None,
    ) -> StageNode:
        """A stage; the same object for the same fingerprint."""
        made = StageNode(
            kind, label, function, dict(params), dict(inputs), code or core_code(kind), seed, component, content
        )
        return self._nodes.setdefault(made.fingerprint, made)

    def _cohort(self) -> tuple[StageNode, str]:
        spec = self.benchmark.data
        registered, params = self.validated("dataset", spec.name, spec.params, ("data",))
        dataset: Any = registered.component(params)
        files = list(dataset.files())
        use = self.use("dataset", spec.name, spec.params, ("data",), content=bool(files))
        inputs: dict[str, Input] = {}
        if not files:
            source = self.node("source", spec.name, "eagbench.stages.cohort:generate", {}, {}, component=use)
            inputs["source"] = StageOutput(source)
        cohort = self.node(
            "cohort",
            spec.name,
            "eagbench.stages.cohort:load",
            {},
            inputs,
            component=use,
            content=self.store.content_hash(files) if files else None,
        )
        return cohort, dataset.access()

    def held_out(self, fold: int, condition: Condition) -> CasesInput:
        """Held-out cases under a condition, for prediction."""
        return CasesInput(self.split, fold, "held_out", condition)

    def expert(self, use: ComponentUse, fold: int, seed: int) -> StageNode:
        """The stage that fits an expert; shared by all that ask for the same one."""
        return self.node(
            "expert",
            use.name,
            "eagbench.stages.expert:fit",
            {},
            {"training": TrainingInput(self.split, fold)},
            seed=seed,
            component=use,
        )

    # The plan

    def plan(self) -> Plan:
        """All stages and cells."""
        conditions = self._conditions()
        methods = tuple(self._method(i) for i in range(len(self.benchmark.methods)))
        cells: list[Cell] = []
        for method, instance in methods:
            for seed in self.benchmark.seeds:
                cells.extend(self._cells(method, instance, seed, conditions))
        references = self.node(
            "references",
            "references",
            "eagbench.stages.score:references",
            self._score_params(),
            {"labels": LabelsInput(self.split)},
        )
        scores = [cell.score for cell in cells if cell.score is not None]
        return Plan(
            loaded=self.loaded,
            limit=self.limit,
            cohort=self.cohort,
            split=self.split,
            references=references,
            methods=tuple(method for method, _ in methods),
            conditions=tuple(condition for condition, _ in conditions),
            cells=tuple(cells),
            metrics=self.metrics,
            trackers=tuple(
                self.use("tracker", spec.name, spec.params, ("trackers", i))
                for i, spec in enumerate(self.benchmark.trackers)
            ),
            access=self.access,
            nodes=_ordered([references, *scores]),
        )

    def _conditions(self) -> list[tuple[Condition, frozenset[str]]]:
        result: list[tuple[Condition, frozenset[str]]] = []
        for i, spec in enumerate(self.benchmark.conditions):
            if spec.name == "clean":
                result.append((CLEAN, frozenset({"columns", "text"})))
                continue
            path: KeyPath = ("conditions", i)
            registered, params = self.validated("perturbation", spec.name, spec.params, path)
            perturbation: Any = registered.component(params)
            use = self.use("perturbation", spec.name, spec.params, path)
            levels = [perturbation.levels[level - 1] for level in spec.level or ()]
            for severity in sorted({*(spec.severity or ()), *levels}):
                try:
                    perturbation.check_severity(severity)
                except ValueError as error:
                    raise UserError(
                        f"{spec.name} has no severity {severity:g}: {error}",
                        where=self.loaded.source.place((*path, "severity")),
                    ) from error
                result.append((Condition(spec.label, severity, use), perturbation.applies_to))
        return result

    def _method(self, index: int) -> tuple[PlannedMethod, Any]:
        spec = self.benchmark.methods[index]
        path: KeyPath = ("methods", index)
        has_method, has_expert = (self.registry.has(kind, spec.name) for kind in ("method", "expert"))
        if has_expert and not has_method:
            use = self.use("expert", spec.name, spec.params, path)
            return PlannedMethod(spec.label, use, ExpertMethod.reads), ExpertMethod(use)
        if not has_method:
            where = self.loaded.source.place((*path, "name"))
            raise self.registry.unknown("method or expert", ("method", "expert"), spec.name, where)
        registered, params = self.validated("method", spec.name, spec.params, path)
        use = self.use("method", spec.name, spec.params, path)
        instance: Any = registered.component(params)
        return PlannedMethod(spec.label, use, instance.reads), instance

    def _cells(
        self, method: PlannedMethod, instance: Any, seed: int, conditions: Sequence[tuple[Condition, frozenset[str]]]
    ) -> Iterator[Cell]:
        folds = range(self.benchmark.split.folds or 1)
        path: KeyPath = ("methods", [m.label for m in self.benchmark.methods].index(method.label))
        stages = {fold: dict(instance.stages(MethodPlan(self, fold, seed, method.label, path))) for fold in folds}
        for fold in folds:
            for stage in stages[fold].values():
                _refuse_held_out(stage, method.label)
        for condition, applies_to in conditions:
            if method.reads not in applies_to:
                yield Cell(method.label, seed, condition, None)
                continue
            inputs: dict[str, Input] = {}
            for fold in folds:
                predict = self._predict(method, stages[fold], fold, seed, condition)
                inputs[f"predict{fold}"] = StageOutput(predict)
                if self.reference_expert is not None:
                    inputs[f"teacher{fold}"] = StageOutput(self._teacher(fold, seed, condition))
                    inputs[f"constant{fold}"] = StageOutput(self._constant_list(fold, seed))
            inputs["labels"] = LabelsInput(self.split)
            label = f"{method.label}, seed {seed}, {_condition_label(condition)}"
            score = self.node("score", label, "eagbench.stages.score:score", self._score_params(), inputs)
            yield Cell(method.label, seed, condition, score)

    def _predict(
        self, method: PlannedMethod, stages: Mapping[str, StageNode], fold: int, seed: int, condition: Condition
    ) -> StageNode:
        is_expert = method.use.kind == "expert"
        params = {"answer": self.benchmark.answer.model_dump(mode="json"), "attention": self.measures_attention}
        inputs: dict[str, Input] = {name: StageOutput(stage) for name, stage in stages.items()}
        inputs["cases"] = self.held_out(fold, condition)
        return self.node(
            "predict",
            f"{method.label}, {_condition_label(condition)}",
            f"eagbench.stages.predict:{'by_expert' if is_expert else 'by_method'}",
            {} if is_expert else params,
            inputs,
            seed=seed,
            component=method.use,
        )

    def _teacher(self, fold: int, seed: int, condition: Condition) -> StageNode:
        assert self.reference_expert is not None
        expert = self.expert(self.reference_expert, fold, seed)
        return self.node(
            "teacher",
            f"{self.reference_expert.name}, {_condition_label(condition)}",
            "eagbench.stages.salience:teacher",
            {"k": self.benchmark.teacher_features},
            {"expert": StageOutput(expert), "cases": self.held_out(fold, condition)},
            component=self.reference_expert,
        )

    def _constant_list(self, fold: int, seed: int) -> StageNode:
        assert self.reference_expert is not None
        return self.node(
            "constant_list",
            self.reference_expert.name,
            "eagbench.stages.salience:constant_list",
            {"k": self.benchmark.teacher_features},
            {
                "expert": StageOutput(self.expert(self.reference_expert, fold, seed)),
                "cases": CasesInput(self.split, fold, "train"),
            },
            component=self.reference_expert,
        )

    def _score_params(self) -> dict[str, Any]:
        return {
            "metrics": [{"name": use.name, "params": dict(use.params), "code": use.code} for use in self.metrics],
            "intervals": self.benchmark.intervals.model_dump(mode="json"),
        }


class MethodPlan:
    """What a method is given to declare its stages with, for one fold and one seed.

    Attributes:
        fold: The fold.
        seed: The seed of training, search and sampling.
        training: Training and tuning cases with labels, as an input of a stage.
        training_cases: Training cases without labels, as an input of a stage.
    """

    def __init__(self, planner: _Planner, fold: int, seed: int, label: str, path: KeyPath) -> None:
        self._planner = planner
        self._label = label
        self._path = path
        self.fold = fold
        self.seed = seed
        self.training = TrainingInput(planner.split, fold)
        self.training_cases = CasesInput(planner.split, fold, "train")

    def component(self, kind: str, spec: str | Mapping[str, Any], key: str) -> ComponentUse:
        """A component that the method was given in its parameters, validated.

        Args:
            kind: For example `search`.
            spec: A name, or a mapping with `name` and parameters.
            key: The parameter of the method that holds it, for error messages.
        """
        mapping = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = mapping.pop("name", None)
        path = (*self._path, key)
        if not isinstance(name, str):
            raise UserError(
                f"a {kind} is a name, or a mapping with `name:` and its parameters",
                where=self._planner.loaded.source.place(path),
            )
        return self._planner.use(kind, name, mapping, path)

    def expert(self, use: ComponentUse) -> StageNode:
        """The stage that fits an expert on this fold's training part."""
        return self._planner.expert(use, self.fold, self.seed)

    def cross_fitted_salience(self, use: ComponentUse, folds: int = 5) -> StageNode:
        """The stage that gives each training case the salience of an expert that was not trained on its patient."""
        return self._planner.node(
            "salience",
            f"{use.name}, cross-fitted",
            "eagbench.stages.salience:cross_fitted",
            {"folds": folds},
            {"training": self.training},
            seed=self.seed,
            component=use,
        )

    def record_text(self) -> StageNode:
        """The stage that fits how records become text; the same for all methods."""
        params = self._planner.benchmark.record_text.model_dump(mode="json")
        return self._planner.node(
            "record_text",
            "record text",
            "eagbench.stages.record_text:fit",
            params,
            {"cases": self.training_cases},
        )

    def policy(self) -> StageNode:
        """The stage that prepares the benchmark's base policy.

        Raises:
            UserError: The benchmark names no policy.
        """
        spec = self._planner.benchmark.policy
        if spec is None:
            raise UserError(
                f"the method '{self._label}' reads text and the benchmark names no policy",
                where=self._planner.loaded.source.place(self._path),
                mend="add `policy: {name: tiny}`, or `extends: [../configs/policies/tiny.yaml]`",
            )
        registered, params = self._planner.validated("policy", spec.name, spec.params, ("policy",))
        content = registered.component(params).content()
        use = self._planner.use("policy", spec.name, spec.params, ("policy",), content=content is not None)
        return self._planner.node(
            "policy",
            spec.name,
            "eagbench.stages.policy:prepare",
            {},
            {"cases": self.training_cases, "record_text": StageOutput(self.record_text())},
            seed=self.seed,
            component=use,
            content=content,
        )

    def stage(
        self,
        kind: str,
        label: str,
        function: Callable[..., None],
        params: Mapping[str, Any],
        inputs: Mapping[str, Input | StageNode],
        *,
        component: ComponentUse | None = None,
    ) -> StageNode:
        """A stage of the method's own.

        Args:
            kind: What it makes, for example `trajectories` or `sft`.
            label: For people.
            function: A module-level function that takes a `StageRun`.
            params: JSON values.
            inputs: Training data, unlabelled cases, or other stages.
            component: The component that does the work, if it is one component's.
        """
        module, name = function.__module__, function.__qualname__
        given = {key: StageOutput(v) if isinstance(v, StageNode) else v for key, v in inputs.items()}
        distribution = self._planner.registry.distribution_of(module)
        code = f"{core_code(kind)};{code_version(function, distribution)}"
        return self._planner.node(
            kind, label, f"{module}:{name}", params, given, seed=self.seed, component=component, code=code
        )


def _condition_label(condition: Condition) -> str:
    return condition.name if condition.severity is None else f"{condition.name} {condition.severity:g}"


def _refuse_held_out(node: StageNode, method: str) -> None:
    for stage in _closure([node]):
        for value in stage.inputs.values():
            if isinstance(value, LabelsInput) or (isinstance(value, CasesInput) and value.part == "held_out"):
                raise ValueError(
                    f"the method '{method}' declares a {stage.kind} stage that sees held-out cases; "
                    "only `predict` is given those, by the core"
                )


def _closure(nodes: Sequence[StageNode]) -> list[StageNode]:
    found: dict[str, StageNode] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node.fingerprint not in found:
            found[node.fingerprint] = node
            waiting.extend(node.upstream())
    return list(found.values())


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
