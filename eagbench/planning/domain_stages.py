"""The stages that all methods share: cases of a domain as inputs, and experts fitted once."""

from __future__ import annotations

from dataclasses import dataclass

from eagbench.contracts.records import Reads
from eagbench.contracts.stages import CasesInput, ComponentUse, Condition, StageNode, TrainingInput
from eagbench.planning.domains import Domain, Transfer
from eagbench.planning.stage_graph import StageGraph


@dataclass(frozen=True, slots=True)
class DomainStages:
    """Declare what methods see of each domain.

    Attributes:
        graph: The plan's stages.
        transfer: The plan's domains.
    """

    graph: StageGraph
    transfer: Transfer

    def trained_in(self, label: str, domain: Domain) -> str:
        """Label a stage that trains in a domain, naming the domain where there are several."""
        return f"{label}, trained in {domain.name}" if self.transfer.is_crossed else label

    def held_out(self, domain: Domain, fold: int, condition: Condition, reads: Reads) -> CasesInput:
        """Return held-out cases of a domain under a condition, for prediction, restricted to what a method may see."""
        return CasesInput(domain.split, fold, "held_out", condition, self.transfer.concepts(reads))

    def tuning_cases(self, domain: Domain, fold: int, reads: Reads) -> CasesInput:
        """Return tuning cases of a domain without labels, restricted to what a method may see."""
        return CasesInput(domain.split, fold, "tuning", concepts=self.transfer.concepts(reads))

    def training(self, domain: Domain, fold: int, reads: Reads) -> TrainingInput:
        """Return training and tuning cases of a domain with labels, restricted to what a method may see."""
        return TrainingInput(domain.split, fold, self.transfer.concepts(reads))

    def training_cases(self, domain: Domain, fold: int, reads: Reads) -> CasesInput:
        """Return training cases of a domain without labels, restricted to what a method may see."""
        return CasesInput(domain.split, fold, "train", concepts=self.transfer.concepts(reads))

    def expert(self, use: ComponentUse, domain: Domain, fold: int, seed: int) -> StageNode:
        """Declare the stage that fits an expert, shared by all that use the same one.

        An expert always reads columns: even inside a method that reads text, it is the same expert that the table lists
        as a method of its own.
        """
        return self.graph.add(
            StageNode(
                "expert",
                self.trained_in(use.name, domain),
                "eagbench.stages.expert:fit",
                {},
                {"training": self.training(domain, fold, "columns")},
                seed=seed,
                component=use,
            )
        )
