"""What the stages of every method share: cases of a domain as inputs, and experts that are fitted once."""

from __future__ import annotations

from dataclasses import dataclass

from eagbench.contracts.records import Reads
from eagbench.contracts.stages import CasesInput, ComponentUse, Condition, StageNode, TrainingInput
from eagbench.planning.domains import Domain, Transfer
from eagbench.planning.stage_graph import StageGraph


@dataclass(frozen=True, slots=True)
class DomainStages:
    """Declares what methods see of each domain.

    Attributes:
        graph: The plan's stages.
        transfer: The plan's domains.
    """

    graph: StageGraph
    transfer: Transfer

    def trained_in(self, label: str, domain: Domain) -> str:
        """Labels a stage that trains in a domain; the domain is named where there are several."""
        return f"{label}, trained in {domain.name}" if self.transfer.is_crossed else label

    def held_out(self, domain: Domain, fold: int, condition: Condition, reads: Reads) -> CasesInput:
        """Shows held-out cases of a domain under a condition, for prediction, as a method may see them."""
        return CasesInput(domain.split, fold, "held_out", condition, self.transfer.concepts(reads))

    def tuning_cases(self, domain: Domain, fold: int, reads: Reads) -> CasesInput:
        """Shows tuning cases of a domain without labels, as a method may see them."""
        return CasesInput(domain.split, fold, "tuning", concepts=self.transfer.concepts(reads))

    def training(self, domain: Domain, fold: int, reads: Reads) -> TrainingInput:
        """Shows training and tuning cases of a domain with labels, as a method may see them."""
        return TrainingInput(domain.split, fold, self.transfer.concepts(reads))

    def training_cases(self, domain: Domain, fold: int, reads: Reads) -> CasesInput:
        """Shows training cases of a domain without labels, as a method may see them."""
        return CasesInput(domain.split, fold, "train", concepts=self.transfer.concepts(reads))

    def expert(self, use: ComponentUse, domain: Domain, fold: int, seed: int) -> StageNode:
        """Declares the stage that fits an expert; all that ask for the same one share it.

        An expert reads columns, whoever asks it: inside a method that reads text it is the expert that stands in the
        table by itself.
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
