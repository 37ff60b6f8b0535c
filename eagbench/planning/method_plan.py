"""The stages that a method can declare: `eagbench.contracts.method_plan` for one domain, fold and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eagbench.config.yaml_source import KeyPath
from eagbench.contracts.records import Reads
from eagbench.contracts.stages import CasesInput, ComponentUse, Input, StageNode, StageOutput, TrainingInput
from eagbench.contracts.traits import PolicyTraits, traits_of
from eagbench.errors import UserError
from eagbench.planning.attestation import refuse_unattested
from eagbench.planning.domain_stages import DomainStages
from eagbench.planning.domains import Domain


@dataclass(frozen=True, slots=True)
class PlannedMethod:
    """A method of the benchmark, as planned.

    Attributes:
        label: Its label.
        use: The component.
        reads: What it reads of a record.
        path: Its key path in the benchmark.
    """

    label: str
    use: ComponentUse
    reads: Reads
    path: KeyPath


@dataclass(frozen=True, slots=True)
class StagesOfMethod:
    """Declare the stages of one method in one domain, for one fold and one seed.

    Attributes:
        domains: The stages that all methods share.
        domain: Where the method is trained.
        method: The method.
        fold: The fold.
        seed: The seed of training, search and sampling.
        attention_metrics: Names of the benchmark's metrics that need the policy's attention.
        reread_metrics: Names of the benchmark's metrics that ask a method again, by expectation.
    """

    domains: DomainStages
    domain: Domain
    method: PlannedMethod
    fold: int
    seed: int
    attention_metrics: Sequence[str]
    reread_metrics: Sequence[str]

    @property
    def training(self) -> TrainingInput:
        """Training and tuning cases with labels, as an input of a stage."""
        return self.domains.training(self.domain, self.fold, self.method.reads)

    @property
    def training_cases(self) -> CasesInput:
        """Training cases without labels, as an input of a stage."""
        return self.domains.training_cases(self.domain, self.fold, self.method.reads)

    @property
    def answer_levels(self) -> tuple[float, ...]:
        """The probabilities that an answer can be."""
        return self.domains.graph.benchmark.answer.levels

    def component(self, kind: str, spec: str | Mapping[str, Any], key: str) -> ComponentUse:
        """Validate a component named in the method's parameters."""
        return self.domains.graph.named(kind, spec, (*self.method.path, key))

    def expert(self, use: ComponentUse) -> StageNode:
        """Declare the stage that fits an expert on this fold's training part."""
        return self.domains.expert(use, self.domain, self.fold, self.seed)

    def cross_fitted_salience(self, use: ComponentUse, folds: int = 5) -> StageNode:
        """Declare the stage that gives each training case the salience of an expert not trained on its patient."""
        return self._add(
            StageNode(
                "salience",
                self._trained(f"{use.name}, cross-fitted"),
                "eagbench.stages.salience:cross_fitted",
                {"folds": folds},
                {"training": self.domains.training(self.domain, self.fold, "columns")},
                seed=self.seed,
                component=use,
            )
        )

    def record_text(self) -> StageNode:
        """Declare the stage that fits how records are written as text."""
        return self._add(
            StageNode(
                "record_text",
                self._trained("record text"),
                "eagbench.stages.record_text:fit",
                self.domains.graph.benchmark.record_text.model_dump(mode="json"),
                {"cases": self.training_cases},
            )
        )

    def policy(self) -> StageNode:
        """Declare the stage that prepares the benchmark's base policy."""
        graph = self.domains.graph
        spec = graph.benchmark.policy
        if spec is None:
            raise UserError(
                f"the method '{self.method.label}' reads text and the benchmark names no policy",
                where=graph.place(self.method.path),
                hint="add `policy: {name: tiny}`, or `extends: [../configs/policies/tiny.yaml]`",
            )
        registered, params = graph.validated("policy", spec.name, spec.params, ("policy",))
        policy: Any = registered.component(params)
        traits = traits_of(policy, PolicyTraits)
        if traits.leaves_machine and self.domains.transfer.access == "credentialed":
            refuse_unattested(graph.loaded, f"the policy '{spec.name}' sends records", "policy")
        if self.attention_metrics and not traits.gives_attention:
            raise UserError(
                f"the policy '{spec.name}' does not give its attention, and {', '.join(self.attention_metrics)} can't "
                "do without it",
                where=graph.place(("metrics",)),
                hint="leave out what needs the policy's attention, or use the policy `tiny` or `hf`",
            )
        if graph.benchmark.answer.mode == "expectation" and not traits.gives_probabilities:
            raise UserError(
                f"the policy '{spec.name}' can't weigh levels by their probability as it is set up, and"
                " `answer: expectation` needs it",
                where=graph.place(("answer",)),
                hint="use `answer: greedy` or `mean_of_n`; docs/prompting.md has what a server needs for `expectation`",
            )
        if self.reread_metrics and not traits.gives_probabilities:
            raise UserError(
                f"the policy '{spec.name}' can't weigh levels by their probability as it is set up, and"
                f" {', '.join(self.reread_metrics)} asks again by expectation",
                where=graph.place(("metrics",)),
                hint="leave out what asks again, or use the policy `tiny` or `hf`",
            )
        content = policy.content()
        use = graph.use("policy", spec.name, spec.params, ("policy",), content=content is not None)
        return self._add(
            StageNode(
                "policy",
                self._trained(spec.name),
                "eagbench.stages.policy:prepare",
                {},
                {"cases": self.training_cases, "record_text": StageOutput(self.record_text())},
                seed=self.seed,
                component=use,
                content=content,
            )
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
        """Declare one of the method's own stages."""
        module, name = function.__module__, function.__qualname__
        return self._add(
            StageNode(
                kind,
                self._trained(label),
                f"{module}:{name}",
                dict(params),
                {key: StageOutput(v) if isinstance(v, StageNode) else v for key, v in inputs.items()},
                seed=self.seed,
                component=component,
            )
        )

    def _add(self, node: StageNode) -> StageNode:
        return self.domains.graph.add(node)

    def _trained(self, label: str) -> str:
        return self.domains.trained_in(label, self.domain)
