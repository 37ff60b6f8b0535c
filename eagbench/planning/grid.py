"""The cells of a benchmark's grid and the stages each one needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eagbench.analysis.cells import CellKey
from eagbench.contracts.records import Reads
from eagbench.contracts.stages import (
    CLEAN,
    CasesInput,
    ComponentUse,
    Condition,
    Input,
    LabelsInput,
    StageNode,
    StageOutput,
    StageOutputs,
    TrainingInput,
    closure,
)
from eagbench.planning.domain_stages import DomainStages
from eagbench.planning.domains import Domain, Pair
from eagbench.planning.method_plan import PlannedMethod, StagesOfMethod
from eagbench.planning.plan import Cell, FoldStages
from eagbench.stages.reread import ANSWERS, BASELINE, DONORS


@dataclass(frozen=True, slots=True)
class PlannedCondition:
    """A condition, and the kinds of methods it applies to."""

    condition: Condition
    applies_to: frozenset[Reads]

    @property
    def label(self) -> str:
        """The condition with its severity."""
        severity = self.condition.severity
        return self.condition.name if severity is None else f"{self.condition.name} {severity:g}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Lay out cells.

    Attributes:
        domains: The stages that all methods share.
        folds: Number of folds.
        conditions: The conditions, clean first.
        metrics: The metrics' components.
        attention_metrics: Names of the metrics that need the policy's own attention.
        reread_metrics: Names of the metrics that read answers about changed records, with the columns they read.
        reference_expert: The expert whose features the alignment metrics use; None without one.
    """

    domains: DomainStages
    folds: int
    conditions: Sequence[PlannedCondition]
    metrics: Sequence[ComponentUse]
    attention_metrics: Sequence[str]
    reread_metrics: Mapping[str, Sequence[str]]
    reference_expert: ComponentUse | None

    def cells(self, method: PlannedMethod, instance: Any, seed: int, domain: Domain) -> Iterator[Cell]:
        """Lay out the cells of a method trained in one domain: train once, evaluate in every domain paired with it."""
        asked = self.attention_metrics, tuple(self.reread_metrics)
        plans = (StagesOfMethod(self.domains, domain, method, k, seed, *asked) for k in range(self.folds))
        stages = [dict(instance.stages(plan)) for plan in plans]
        for of_fold in stages:
            for stage in of_fold.values():
                _refuse_foreign_cases(stage, method.label, domain)
        trained = _Trained(self, method, seed, domain, stages)
        for pair in self.domains.transfer.pairs:
            if pair.train is domain:
                yield from (trained.cell(pair, condition) for condition in self.conditions)

    def references(self) -> tuple[StageNode, ...]:
        """Declare, for each evaluated domain, the stage that scores the probabilities that came with the data."""
        transfer = self.domains.transfer
        return tuple(
            self.domains.graph.add(
                StageNode(
                    "references",
                    f"references, {domain.name}" if transfer.is_crossed else "references",
                    "eagbench.stages.score:references",
                    self.score_params(in_subgroups=True),
                    {"labels": LabelsInput(domain.split), **self.subgroups_input(domain)},
                )
            )
            for domain in transfer.evaluated
        )

    def subgroups(self, domain: Domain) -> StageNode | None:
        """Declare the stage that assigns cases to subgroups, reported separately; return None if there are none."""
        graph = self.domains.graph
        spec = graph.benchmark.subgroups
        if spec is None:
            return None
        params = {"by": list(spec.by), "age_bands": list(spec.age_bands)}
        cohort: dict[str, Input] = {"cohort": StageOutput(domain.cohort)}
        return graph.add(StageNode("subgroups", domain.data, "eagbench.stages.subgroups:assign", params, cohort))

    def subgroups_input(self, domain: Domain) -> dict[str, Input]:
        """Return the subgroups stage as an input, or no input if there is none."""
        stage = self.subgroups(domain)
        return {} if stage is None else {"subgroups": StageOutput(stage)}

    def score_params(self, *, in_subgroups: bool) -> dict[str, Any]:
        """Return the parameters of a scoring stage."""
        benchmark = self.domains.graph.benchmark
        spec = benchmark.subgroups
        minimum = (
            {"subgroups": {"minimum_cases": spec.minimum_cases, "minimum_positive": spec.minimum_positive}}
            if spec is not None and in_subgroups
            else {}
        )
        return {
            **minimum,
            "metrics": [{"name": use.name, "params": dict(use.params), "code": use.code} for use in self.metrics],
            "intervals": benchmark.intervals.model_dump(mode="json"),
        }


@dataclass(frozen=True, slots=True)
class _Trained:
    """A method trained in one domain with one seed.

    Attributes:
        grid: The grid.
        method: The method.
        seed: The seed.
        domain: Where it is trained.
        stages: For each fold, the stages whose folders its `predict` needs.
    """

    grid: Grid
    method: PlannedMethod
    seed: int
    domain: Domain
    stages: Sequence[Mapping[str, StageNode]]

    def cell(self, pair: Pair, planned: PlannedCondition) -> Cell:
        """Lay out one cell."""
        condition = planned.condition
        names = pair.train.name, pair.evaluate.name
        key = CellKey(self.method.label, self.seed, (condition.name, condition.severity), names)
        if self.method.reads not in planned.applies_to:
            return Cell(key, condition, pair, None)
        folds = tuple(self._fold(pair, planned, fold) for fold in range(len(self.stages)))
        inputs: dict[str, Input] = {
            name: StageOutputs(found)
            for name in ("predict", "reference_salience", "frequency_baseline", "recalibration", "reread")
            if (found := tuple(stage for fold in folds if (stage := getattr(fold, name)) is not None))
        }
        inputs["labels"] = LabelsInput(pair.evaluate.split, None if pair.train is pair.evaluate else pair.train.split)
        in_subgroups = condition is CLEAN
        if in_subgroups:
            inputs |= self.grid.subgroups_input(pair.evaluate)
        score = StageNode(
            "score",
            f"{self.method.label}, seed {self.seed}, {self._asked(planned, pair)}",
            "eagbench.stages.score:score",
            self.grid.score_params(in_subgroups=in_subgroups),
            inputs,
        )
        return Cell(key, condition, pair, self._add(score), folds)

    def _fold(self, pair: Pair, planned: PlannedCondition, fold: int) -> FoldStages:
        domains, condition, reads = self.grid.domains, planned.condition, self.method.reads
        asked = self._asked(planned, pair)
        held_out = domains.held_out(pair.evaluate, fold, condition, reads)
        salience = baseline = recalibration = reread = None
        if self.grid.reference_expert is not None:
            salience = self._reference_salience(pair, fold, condition, asked)
            baseline = self._frequency_baseline(fold)
        if domains.graph.benchmark.recalibrate:
            recalibration = self._recalibration(fold)
        predict = self._predict(fold, held_out, f"{self.method.label}, {asked}")
        if self.grid.reread_metrics and condition is CLEAN and baseline is not None:
            reread = self._reread(fold, predict, baseline)
        return FoldStages(predict, salience, baseline, recalibration, reread)

    def _asked(self, planned: PlannedCondition, pair: Pair) -> str:
        crossed = self.grid.domains.transfer.is_crossed
        return f"{planned.label}, {pair.train.name} to {pair.evaluate.name}" if crossed else planned.label

    def _predict(self, fold: int, cases: CasesInput, label: str) -> StageNode:
        is_expert = self.method.use.kind == "expert"
        params = {
            "answer": self.grid.domains.graph.benchmark.answer.model_dump(mode="json"),
            # Nothing reads the attention to tuning cases.
            "attention": bool(self.grid.attention_metrics) and cases.part == "held_out",
        }
        inputs: dict[str, Input] = {name: StageOutput(stage) for name, stage in self.stages[fold].items()}
        inputs["cases"] = cases
        function = f"eagbench.stages.predict:{'by_expert' if is_expert else 'by_method'}"
        return self._add(
            StageNode(
                "predict",
                label,
                function,
                {} if is_expert else params,
                inputs,
                seed=self.seed,
                component=self.method.use,
            )
        )

    def _reread(self, fold: int, predict: StageNode, baseline: StageNode) -> StageNode:
        """Declare the stage that asks again what `predict` was asked, about changed records."""
        domains, is_expert = self.grid.domains, self.method.use.kind == "expert"
        benchmark = domains.graph.benchmark
        asked = dict.fromkeys(column for columns in self.grid.reread_metrics.values() for column in columns)
        params: dict[str, Any] = {"readings": sorted(asked), "record_seed": benchmark.split.seed}
        if is_expert:
            params["k"] = benchmark.reference_features
        else:
            answer = benchmark.answer.model_copy(update={"mode": "expectation"})
            params |= {"answer": answer.model_dump(mode="json"), "attention": False}
        inputs: dict[str, Input] = {
            **predict.inputs,
            ANSWERS: StageOutput(predict),
            DONORS: domains.training_cases(self.domain, fold, self.method.reads),
            BASELINE: StageOutput(baseline),
        }
        function = f"eagbench.stages.reread:{'by_expert' if is_expert else 'by_method'}"
        use = self.method.use
        return self._add(StageNode("reread", predict.label, function, params, inputs, seed=self.seed, component=use))

    def _reference_salience(self, pair: Pair, fold: int, condition: Condition, asked: str) -> StageNode:
        use, domains = self.grid.reference_expert, self.grid.domains
        assert use is not None
        expert = domains.expert(use, self.domain, fold, self.seed)
        return self._add(
            StageNode(
                "reference_salience",
                f"{use.name}, {asked}",
                "eagbench.stages.salience:reference",
                {"k": domains.graph.benchmark.reference_features},
                {
                    "expert": StageOutput(expert),
                    "cases": domains.held_out(pair.evaluate, fold, condition, "columns"),
                },
                component=use,
            )
        )

    def _frequency_baseline(self, fold: int) -> StageNode:
        use, domains = self.grid.reference_expert, self.grid.domains
        assert use is not None
        return self._add(
            StageNode(
                "frequency_baseline",
                domains.trained_in(use.name, self.domain),
                "eagbench.stages.salience:frequency_baseline",
                {"k": domains.graph.benchmark.reference_features},
                {
                    "expert": StageOutput(domains.expert(use, self.domain, fold, self.seed)),
                    "cases": domains.training_cases(self.domain, fold, "columns"),
                },
                component=use,
            )
        )

    def _recalibration(self, fold: int) -> StageNode:
        """Declare the curve fitted on the method's answers to tuning cases of the domain it was trained in."""
        domains, reads = self.grid.domains, self.method.reads
        tuning = domains.tuning_cases(self.domain, fold, reads)
        label = domains.trained_in(f"{self.method.label}, tuning cases", self.domain)
        return self._add(
            StageNode(
                "recalibration",
                domains.trained_in(f"{self.method.label}, seed {self.seed}", self.domain),
                "eagbench.stages.recalibration:fit",
                {},
                {
                    "predictions": StageOutput(self._predict(fold, tuning, label)),
                    "training": domains.training(self.domain, fold, reads),
                },
            )
        )

    def _add(self, node: StageNode) -> StageNode:
        return self.grid.domains.graph.add(node)


def _refuse_foreign_cases(node: StageNode, method: str, domain: Domain) -> None:
    """Refuse a method whose stages see held-out cases, or cases of a domain other than the one it is trained in."""
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
