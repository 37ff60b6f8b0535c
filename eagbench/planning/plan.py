"""A plan as data: the cells of the grid and the stages behind them, printable before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eagbench.analysis.cells import CellKey
from eagbench.config.loading import LoadedBenchmark
from eagbench.contracts.records import Access
from eagbench.contracts.stages import ComponentUse, Condition, StageNode, closure
from eagbench.planning.domains import Pair, Transfer
from eagbench.planning.method_plan import PlannedMethod


@dataclass(frozen=True, slots=True, eq=False)
class FoldStages:
    """The stages of one fold from which a cell is scored.

    Attributes:
        predict: Answers to held-out cases.
        reference_salience: The reference expert's weights on the same cases; None without a reference expert.
        frequency_baseline: The features that most often rank top in training; None without a reference expert.
        recalibration: The curve fitted on the method's answers to tuning cases; None if the benchmark wants none.
        reread: Answers about the same cases with changed records; None if no metric asks for them.
    """

    predict: StageNode
    reference_salience: StageNode | None
    frequency_baseline: StageNode | None
    recalibration: StageNode | None
    reread: StageNode | None = None


@dataclass(frozen=True, eq=False)
class Cell:
    """One cell of the grid: a method, seed, condition and pair of domains.

    Attributes:
        key: Identifies it among the cells.
        condition: Clean, or a perturbation at a severity.
        pair: Where the method was trained and where it is evaluated.
        score: The stage that computes its numbers; None where the condition does not apply to this kind of method.
        folds: The stages that `score` reads, by fold; empty where `score` is None.
    """

    key: CellKey
    condition: Condition
    pair: Pair
    score: StageNode | None
    folds: tuple[FoldStages, ...] = ()

    @property
    def method(self) -> str:
        """The method's label."""
        return self.key.method

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.key.seed


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will do.

    Attributes:
        loaded: The benchmark, and the place in its files of each value.
        limit: Patients to take before the split; None for all.
        transfer: The domains, and where methods are trained and evaluated.
        references: For each evaluated domain, in order, the stage that scores probabilities that came with its data.
        subgroups: For each evaluated domain, in order, the stage that assigns cases to subgroups; empty if the
            benchmark names no facts to divide them by.
        methods: The methods in the benchmark's order.
        conditions: The conditions in order, clean first.
        cells: The grid.
        metrics: The metrics' components.
        trackers: The trackers' components.
        nodes: Every stage, each after those it needs.
        packages: Third-party distributions that its numbers depend on, with their versions.
        notes: Things to tell the user, for example that a component has been renamed.
        weights_note: What readers of the results must know about the policy's weights; empty if nothing, or if no stage
            uses the policy.
        policy_setup: What the policy settled for this machine, its precision for example; empty like `weights_note`.
    """

    loaded: LoadedBenchmark
    limit: int | None
    transfer: Transfer
    references: tuple[StageNode, ...]
    subgroups: tuple[StageNode, ...]
    methods: tuple[PlannedMethod, ...]
    conditions: tuple[Condition, ...]
    cells: tuple[Cell, ...]
    metrics: tuple[ComponentUse, ...]
    trackers: tuple[ComponentUse, ...]
    nodes: tuple[StageNode, ...]
    packages: Mapping[str, str]
    notes: tuple[str, ...] = ()
    weights_note: str = ""
    policy_setup: str = ""

    @property
    def access(self) -> Access:
        """The strictest access policy of the data."""
        return self.transfer.access

    @property
    def is_synthetic(self) -> bool:
        """Whether any of its numbers come from generated records: true if at least one domain is synthetic."""
        return any(domain.access == "synthetic" for domain in self.transfer.domains)

    def shared(self) -> frozenset[str]:
        """Return the fingerprints of the stages that every cell needs: if one of them fails, there is no run."""
        transfer = self.transfer
        stages = [*self.references, *(domain.split for domain in transfer.domains)]
        if transfer.shared is not None:
            stages.append(transfer.shared)
        return frozenset(node.fingerprint for node in closure(stages))
