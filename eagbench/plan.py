"""From a benchmark to its plan: every stage with its fingerprint, every cell of the grid, before anything runs."""

from __future__ import annotations

import graphlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from eagbench.code_versions import core_code
from eagbench.config import ComponentSpec, LoadedBenchmark, validate_params
from eagbench.domains import Domain, Pair, Transfer, plan_transfer
from eagbench.errors import UserError
from eagbench.expert_method import ExpertMethod
from eagbench.metrics.registered import check_tested, needs_attention
from eagbench.patient_split import BenchmarkSplit, PatientSplit
from eagbench.registry import Registered, Registry, code_version
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
)
from eagbench.store import Store
from eagbench.types import Access, Reads
from eagbench.yaml_source import KeyPath


@dataclass(frozen=True, eq=False)
class Cell:
    """One method, seed, condition and pair of domains of the grid.

    Attributes:
        method: The method's label.
        seed: Its seed.
        condition: Clean, or a perturbation at a severity.
        score: The stage that gives its numbers; None where the condition means nothing for this kind of method.
        pair: Where the method was trained and where it is evaluated.
    """

    method: str
    seed: int
    condition: Condition
    score: StageNode | None
    pair: Pair


@dataclass(frozen=True, slots=True)
class PlannedMethod:
    """A method of the benchmark, as planned."""

    label: str
    use: ComponentUse
    reads: Reads


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will do.

    Attributes:
        loaded: The benchmark and where each value of it stands.
        limit: Patients to take before the split, None for all.
        transfer: The domains, and where methods are trained and evaluated.
        references: For each evaluated domain, in order, the stage that scores probabilities that came with the data.
        methods: The methods in the benchmark's order.
        conditions: The conditions in order, clean first.
        cells: The grid.
        metrics: The metrics' components.
        trackers: The trackers' components.
        nodes: Every stage, each after those it needs.
    """

    loaded: LoadedBenchmark
    limit: int | None
    transfer: Transfer
    references: tuple[StageNode, ...]
    methods: tuple[PlannedMethod, ...]
    conditions: tuple[Condition, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[ComponentUse, ...]
    trackers: tuple[ComponentUse, ...]
    nodes: tuple[StageNode, ...]

    @property
    def access(self) -> Access:
        """The strictest access policy of the data."""
        return self.transfer.access

    @property
    def is_synthetic(self) -> bool:
        """Whether numbers come from generated records, in one domain at least."""
        return any(domain.access == "synthetic" for domain in self.transfer.domains)

    def shared(self) -> frozenset[str]:
        """Fingerprints of the stages that every cell needs: if one of these fails there is no run."""
        transfer = self.transfer
        stages = [*self.references, *(domain.split for domain in transfer.domains)]
        if transfer.shared is not None:
            stages.append(transfer.shared)
        return frozenset(node.fingerprint for node in closure(stages))


def make_plan(
    loaded: LoadedBenchmark,
    registry: Registry,
    store: Store,
    *,
    limit: int | None = None,
    split: PatientSplit | None = None,
) -> Plan:
    """Validates every component and lays out all stages and cells.

    Args:
        loaded: The benchmark.
        registry: The components.
        store: Where the hashes of data files are remembered.
        limit: Patients to take before the split, None for all.
        split: Who divides the patients; None is the benchmark's own split.

    Raises:
        UserError: A component is unknown, a parameter does not fit, data or a local model is missing.
    """
    return _Planner(loaded, registry, store, limit, split or BenchmarkSplit(loaded.benchmark.split, limit)).plan()


class _Planner:
    def __init__(
        self, loaded: LoadedBenchmark, registry: Registry, store: Store, limit: int | None, split: PatientSplit
    ) -> None:
        self.loaded, self.registry, self.store, self.limit = loaded, registry, store, limit
        self.benchmark = loaded.benchmark
        self._nodes: dict[str, StageNode] = {}
        self.patient_split = split
        self.transfer = plan_transfer(self)
        self.metrics = tuple(
            self.use("metric", spec.name, spec.params, ("metrics", i)) for i, spec in enumerate(self.benchmark.metrics)
        )
        compared = self.benchmark.comparisons
        if compared is not None:
            check_tested(
                compared.metric,
                where=loaded.place("comparisons", "metric"),
                mend="take a proper one (auroc, auprc, brier) and list the other among `metrics`",
            )
        # Without an expert to compare with, nothing reads the attention, and its measurement is not paid for.
        has_expert = self.benchmark.reference_expert is not None
        self.attention_metrics = tuple(use.name for use in self.metrics if has_expert and needs_attention(use.name))
        self.reference_expert = None
        if self.benchmark.reference_expert is not None:
            spec = self.benchmark.reference_expert
            self.reference_expert = self.use("expert", spec.name, spec.params, ("reference_expert",))

    # Components

    def use(
        self, kind: str, name: str, params: Mapping[str, Any], path: KeyPath, *, content: bool = False
    ) -> ComponentUse:
        """Validates a component's parameters and notes the version of its code.

        With `content`, parameters that are paths are kept apart: the hash of what lies there stands for them. A
        component that is made of others says so in a class attribute `components`, the kind by the parameter that lists
        them: they are validated as well, and their code counts with its own.
        """
        registered, model = self.validated(kind, name, params, path)
        values = model.model_dump(mode="json")
        places = [key for key in values if content and isinstance(getattr(model, key), Path)]
        versions = [code_version(registered.component, registered.distribution)]
        for key, part in getattr(registered.component, "components", {}).items():
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
        """A component given as its name, or as a mapping with `name` and parameters."""
        mapping = {"name": spec} if isinstance(spec, str) else dict(spec)
        name = mapping.pop("name", None)
        if not isinstance(name, str):
            raise UserError(
                f"a {kind} is a name, or a mapping with `name:` and its parameters",
                where=self.loaded.source.place(path),
            )
        return self.use(kind, name, mapping, path)

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
        return self.known(made)

    def known(self, made: StageNode) -> StageNode:
        """The stage of that fingerprint which was declared first."""
        return self._nodes.setdefault(made.fingerprint, made)

    def cohort(self, spec: ComponentSpec, path: KeyPath) -> tuple[StageNode, Any]:
        """The stage that loads a data set, and the data set's component."""
        registered, params = self.validated("dataset", spec.name, spec.params, path)
        dataset: Any = registered.component(params)
        files = list(dataset.files())
        use = self.use("dataset", spec.name, spec.params, path, content=bool(files))
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
        return cohort, dataset

    def trained_in(self, label: str, domain: Domain) -> str:
        """The label of a stage that trains in a domain, which is named where there are several."""
        return f"{label}, trained in {domain.name}" if self.transfer.is_crossed else label

    def held_out(self, domain: Domain, fold: int, condition: Condition, reads: Reads) -> CasesInput:
        """Held-out cases of a domain under a condition, for prediction, as a method may see them."""
        return CasesInput(domain.split, fold, "held_out", condition, self.transfer.concepts(reads))

    def training(self, domain: Domain, fold: int, reads: Reads) -> TrainingInput:
        """Training and tuning cases of a domain with labels, as a method may see them."""
        return TrainingInput(domain.split, fold, self.transfer.concepts(reads))

    def training_cases(self, domain: Domain, fold: int, reads: Reads) -> CasesInput:
        """Training cases of a domain without labels, as a method may see them."""
        return CasesInput(domain.split, fold, "train", concepts=self.transfer.concepts(reads))

    def expert(self, use: ComponentUse, domain: Domain, fold: int, seed: int) -> StageNode:
        """The stage that fits an expert; shared by all that ask for the same one.

        An expert reads columns, whoever asks it: inside a method that reads text it is the expert that stands in the
        table by itself.
        """
        return self.node(
            "expert",
            self.trained_in(use.name, domain),
            "eagbench.stages.expert:fit",
            {},
            {"training": self.training(domain, fold, "columns")},
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
                for domain in self.transfer.trained:
                    cells.extend(self._cells(method, instance, seed, domain, conditions))
        references = tuple(
            self.node(
                "references",
                f"references, {domain.name}" if self.transfer.is_crossed else "references",
                "eagbench.stages.score:references",
                self._score_params(in_subgroups=True),
                {"labels": LabelsInput(domain.split), **self._subgroups(domain)},
            )
            for domain in self.transfer.evaluated
        )
        shifts = [pair.shift for pair in self.transfer.pairs if pair.shift is not None]
        # A domain in which nothing is evaluated is checked with the others, before anything is trained.
        splits = [domain.split for domain in self.transfer.domains]
        scores = [cell.score for cell in cells if cell.score is not None]
        return Plan(
            loaded=self.loaded,
            limit=self.limit,
            transfer=self.transfer,
            references=references,
            methods=tuple(method for method, _ in methods),
            conditions=tuple(condition for condition, _ in conditions),
            cells=tuple(cells),
            metrics=self.metrics,
            trackers=tuple(
                self.use("tracker", spec.name, spec.params, ("trackers", i))
                for i, spec in enumerate(self.benchmark.trackers)
            ),
            nodes=_ordered([*references, *splits, *shifts, *scores]),
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
        self,
        method: PlannedMethod,
        instance: Any,
        seed: int,
        domain: Domain,
        conditions: Sequence[tuple[Condition, frozenset[str]]],
    ) -> Iterator[Cell]:
        """The cells of a method trained in one domain: it is trained once, and evaluated in every domain asked for."""
        folds = range(self.patient_split.folds)
        path: KeyPath = ("methods", [m.label for m in self.benchmark.methods].index(method.label))
        stages = {fold: dict(instance.stages(MethodPlan(self, domain, fold, seed, method, path))) for fold in folds}
        for fold in folds:
            for stage in stages[fold].values():
                _refuse_foreign_cases(stage, method.label, domain)
        for pair in self.transfer.pairs:
            if pair.train is not domain:
                continue
            for condition, applies_to in conditions:
                if method.reads not in applies_to:
                    yield Cell(method.label, seed, condition, None, pair)
                    continue
                inputs: dict[str, Input] = {}
                for fold in folds:
                    predict = self._predict(method, stages[fold], pair, fold, seed, condition)
                    inputs[f"predict{fold}"] = StageOutput(predict)
                    if self.reference_expert is not None:
                        inputs[f"teacher{fold}"] = StageOutput(self._teacher(pair, fold, seed, condition))
                        inputs[f"constant{fold}"] = StageOutput(self._constant_list(pair.train, fold, seed))
                    if self.benchmark.recalibrate:
                        curve = self._recalibration(method, stages[fold], pair.train, fold, seed)
                        inputs[f"recalibration{fold}"] = StageOutput(curve)
                trained_on = None if pair.train is pair.evaluate else pair.train.split
                inputs["labels"] = LabelsInput(pair.evaluate.split, trained_on)
                label = f"{method.label}, seed {seed}, {self._evaluated(condition, pair)}"
                in_subgroups = condition is CLEAN
                if in_subgroups:
                    inputs |= self._subgroups(pair.evaluate)
                params = self._score_params(in_subgroups=in_subgroups)
                score = self.node("score", label, "eagbench.stages.score:score", params, inputs)
                yield Cell(method.label, seed, condition, score, pair)

    def _evaluated(self, condition: Condition, pair: Pair) -> str:
        label = _condition_label(condition)
        return f"{label}, {pair.train.name} to {pair.evaluate.name}" if self.transfer.is_crossed else label

    def _predict(
        self,
        method: PlannedMethod,
        stages: Mapping[str, StageNode],
        pair: Pair,
        fold: int,
        seed: int,
        condition: Condition,
    ) -> StageNode:
        cases = self.held_out(pair.evaluate, fold, condition, method.reads)
        return self._predict_cases(method, stages, cases, f"{method.label}, {self._evaluated(condition, pair)}", seed)

    def _predict_cases(
        self, method: PlannedMethod, stages: Mapping[str, StageNode], cases: CasesInput, label: str, seed: int
    ) -> StageNode:
        is_expert = method.use.kind == "expert"
        params = {
            "answer": self.benchmark.answer.model_dump(mode="json"),
            # The attention to tuning cases is read by nobody.
            "attention": bool(self.attention_metrics) and cases.part == "held_out",
        }
        inputs: dict[str, Input] = {name: StageOutput(stage) for name, stage in stages.items()}
        inputs["cases"] = cases
        return self.node(
            "predict",
            label,
            f"eagbench.stages.predict:{'by_expert' if is_expert else 'by_method'}",
            {} if is_expert else params,
            inputs,
            seed=seed,
            component=method.use,
        )

    def _teacher(self, pair: Pair, fold: int, seed: int, condition: Condition) -> StageNode:
        assert self.reference_expert is not None
        expert = self.expert(self.reference_expert, pair.train, fold, seed)
        return self.node(
            "teacher",
            f"{self.reference_expert.name}, {self._evaluated(condition, pair)}",
            "eagbench.stages.salience:teacher",
            {"k": self.benchmark.teacher_features},
            {"expert": StageOutput(expert), "cases": self.held_out(pair.evaluate, fold, condition, "columns")},
            component=self.reference_expert,
        )

    def _constant_list(self, domain: Domain, fold: int, seed: int) -> StageNode:
        assert self.reference_expert is not None
        return self.node(
            "constant_list",
            self.trained_in(self.reference_expert.name, domain),
            "eagbench.stages.salience:constant_list",
            {"k": self.benchmark.teacher_features},
            {
                "expert": StageOutput(self.expert(self.reference_expert, domain, fold, seed)),
                "cases": self.training_cases(domain, fold, "columns"),
            },
            component=self.reference_expert,
        )

    def _tuning_predictions(
        self, method: PlannedMethod, stages: Mapping[str, StageNode], domain: Domain, fold: int, seed: int
    ) -> StageNode:
        """The method's answers to the tuning cases of the domain in which it was trained."""
        return self._predict_cases(
            method,
            stages,
            CasesInput(domain.split, fold, "tuning", concepts=self.transfer.concepts(method.reads)),
            self.trained_in(f"{method.label}, tuning cases", domain),
            seed,
        )

    def _recalibration(
        self, method: PlannedMethod, stages: Mapping[str, StageNode], domain: Domain, fold: int, seed: int
    ) -> StageNode:
        return self.node(
            "recalibration",
            self.trained_in(f"{method.label}, seed {seed}", domain),
            "eagbench.stages.recalibration:fit",
            {},
            {
                "predictions": StageOutput(self._tuning_predictions(method, stages, domain, fold, seed)),
                "training": self.training(domain, fold, method.reads),
            },
        )

    def _subgroups(self, domain: Domain) -> dict[str, Input]:
        """The stage that says which cases are reported apart, as an input; none if the benchmark names no facts."""
        spec = self.benchmark.subgroups
        if spec is None:
            return {}
        params = {"by": list(spec.by), "age_bands": list(spec.age_bands)}
        node = self.node(
            "subgroups",
            domain.data,
            "eagbench.stages.subgroups:assign",
            params,
            {"cohort": StageOutput(domain.cohort)},
        )
        return {"subgroups": StageOutput(node)}

    def _score_params(self, *, in_subgroups: bool) -> dict[str, Any]:
        spec = self.benchmark.subgroups
        minimum = (
            {"subgroups": {"minimum_cases": spec.minimum_cases, "minimum_positive": spec.minimum_positive}}
            if spec is not None and in_subgroups
            else {}
        )
        return {
            **minimum,
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

    def __init__(
        self, planner: _Planner, domain: Domain, fold: int, seed: int, method: PlannedMethod, path: KeyPath
    ) -> None:
        self._planner = planner
        self._domain = domain
        self._method = method
        self._path = path
        self.fold = fold
        self.seed = seed
        self.training = planner.training(domain, fold, method.reads)
        self.training_cases = planner.training_cases(domain, fold, method.reads)

    def component(self, kind: str, spec: str | Mapping[str, Any], key: str) -> ComponentUse:
        """A component that the method was given in its parameters, validated.

        Args:
            kind: For example `search`.
            spec: A name, or a mapping with `name` and parameters.
            key: The parameter of the method that holds it, for error messages.
        """
        return self._planner.named(kind, spec, (*self._path, key))

    def expert(self, use: ComponentUse) -> StageNode:
        """The stage that fits an expert on this fold's training part, on what methods that read columns may see.

        Asked about cases with further features, it finds its own by name.
        """
        return self._planner.expert(use, self._domain, self.fold, self.seed)

    def cross_fitted_salience(self, use: ComponentUse, folds: int = 5) -> StageNode:
        """The stage that gives each training case the salience of an expert that was not trained on its patient.

        The weights are of the features that methods which read columns may see: in a benchmark across domains those
        that all share, which may be fewer than stand in the method's own training cases.
        """
        return self._planner.node(
            "salience",
            self._planner.trained_in(f"{use.name}, cross-fitted", self._domain),
            "eagbench.stages.salience:cross_fitted",
            {"folds": folds},
            {"training": self._planner.training(self._domain, self.fold, "columns")},
            seed=self.seed,
            component=use,
        )

    def record_text(self) -> StageNode:
        """The stage that fits how records become text; the same for all methods."""
        params = self._planner.benchmark.record_text.model_dump(mode="json")
        return self._planner.node(
            "record_text",
            self._planner.trained_in("record text", self._domain),
            "eagbench.stages.record_text:fit",
            params,
            {"cases": self.training_cases},
        )

    def policy(self) -> StageNode:
        """The stage that prepares the benchmark's base policy.

        Raises:
            UserError: The benchmark names no policy, one that would send credentialed records to another machine, or
                one that does not give the attention that a metric needs.
        """
        spec = self._planner.benchmark.policy
        if spec is None:
            raise UserError(
                f"the method '{self._method.label}' reads text and the benchmark names no policy",
                where=self._planner.loaded.source.place(self._path),
                mend="add `policy: {name: tiny}`, or `extends: [../configs/policies/tiny.yaml]`",
            )
        registered, params = self._planner.validated("policy", spec.name, spec.params, ("policy",))
        policy: Any = registered.component(params)
        if getattr(policy, "leaves_machine", False) and self._planner.transfer.access == "credentialed":
            refuse_unattested(self._planner.loaded, f"the policy '{spec.name}' sends records", "policy")
        needing = self._planner.attention_metrics
        if needing and not getattr(policy, "gives_attention", True):
            raise UserError(
                f"the policy '{spec.name}' does not give its attention, and {', '.join(needing)} can't do without it",
                where=self._planner.loaded.place("metrics"),
                mend="leave out what needs the policy's attention, or use the policy `tiny` or `hf`",
            )
        content = policy.content()
        use = self._planner.use("policy", spec.name, spec.params, ("policy",), content=content is not None)
        return self._planner.node(
            "policy",
            self._planner.trained_in(spec.name, self._domain),
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
            kind,
            self._planner.trained_in(label, self._domain),
            f"{module}:{name}",
            params,
            given,
            seed=self.seed,
            component=component,
            code=code,
        )


def refuse_unattested(loaded: LoadedBenchmark, what: str, *path: str | int) -> None:
    """Keeps what comes from credentialed data on this machine, unless the benchmark says by what right it may leave.

    Args:
        loaded: The benchmark.
        what: Who sends what.
        path: Where that component stands in the benchmark.

    Raises:
        UserError: The benchmark carries no attestation.
    """
    if loaded.benchmark.attestation is None:
        raise UserError(
            f"{what} to another machine, and the data are credentialed",
            where=loaded.place(*path),
            mend="take one that keeps to this machine; if the data's owners permit it, say so under `attestation:`",
        )


def _condition_label(condition: Condition) -> str:
    return condition.name if condition.severity is None else f"{condition.name} {condition.severity:g}"


def _refuse_foreign_cases(node: StageNode, method: str, domain: Domain) -> None:
    """Refuses a method whose stages see held-out cases, or cases of another domain than that which trains it."""
    for stage in closure([node]):
        for value in stage.inputs.values():
            if isinstance(value, LabelsInput) or (isinstance(value, CasesInput) and value.part == "held_out"):
                raise ValueError(
                    f"the method '{method}' declares a {stage.kind} stage that sees held-out cases; "
                    "only `predict` is given those, by the core"
                )
            if isinstance(value, TrainingInput | CasesInput) and value.split.fingerprint != domain.split.fingerprint:
                raise ValueError(
                    f"the method '{method}' declares a {stage.kind} stage that sees cases of no domain of its own"
                )


def closure(nodes: Sequence[StageNode]) -> list[StageNode]:
    """The given stages and all that they need."""
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
