"""A run read from the store, so that its tables can be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.analysis.cells import CellKey
from eagbench.analysis.comparisons import Claim
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_run import ScoredCell, ScoredDomain, ScoredRun
from eagbench.analysis.transfer import held_out_counts
from eagbench.contracts.stages import StageNode
from eagbench.execution.runner import RunResult
from eagbench.execution.store import Store
from eagbench.planning.domains import Domain
from eagbench.planning.plan import Cell, Plan
from eagbench.stages.cohort_files import read_facts
from eagbench.stages.domains import read_shift
from eagbench.stages.scored_files import read_cell
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.split import read_parts


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Probabilities that no method made, for one domain's held-out cases.

    Attributes:
        domain: The domain's name.
        name: Their name, for example `oracle`.
        cell: Their numbers.
        table: The scored table.
        node: The stage that scored them.
    """

    domain: str
    name: str
    cell: ScoredCell
    table: pa.Table
    node: StageNode


@dataclass(frozen=True, slots=True, eq=False)
class StoredRun:
    """The files that a run left in the store, each read once.

    Attributes:
        plan: The run's plan.
        result: The outcome of its stages.
        store: The store.
        metrics: The metrics.
        failed_metrics: Why metrics have no numbers, by cell; filled in as cells are read.
    """

    plan: Plan
    result: RunResult
    store: Store
    metrics: tuple[MetricUse, ...]
    failed_metrics: dict[CellKey, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, result: RunResult, store: Store) -> StoredRun:
        """Wrap a finished run."""
        return cls(plan, result, store, tuple(MetricUse.registered(use.name, use.params) for use in plan.metrics))

    def references(self) -> list[Reference]:
        """Read the probabilities that came with the data, by domain and name."""
        found = []
        for domain, node in zip(self.plan.transfer.evaluated, self.plan.references, strict=True):
            for folder in sorted(path for path in self.store.folder(node).iterdir() if path.is_dir()):
                found.append(Reference(domain.name, folder.name, *read_cell(folder, self.metrics), node))
        return found

    def cells(self, method: str) -> dict[CellKey, tuple[ScoredCell, pa.Table | None]]:
        """Read the cells of a method in the plan's order, each with its scored table if it has one."""
        return {cell.key: self._cell(cell) for cell in self.plan.cells if cell.method == method}

    def _cell(self, cell: Cell) -> tuple[ScoredCell, pa.Table | None]:
        status = self.result.cell_status(cell)
        if status != "ok" or cell.score is None:
            return ScoredCell(status), None
        found, table = read_cell(self.store.folder(cell.score), self.metrics)
        if found.numbers.failed:
            self.failed_metrics[cell.key] = found.numbers.failed
        return found, table

    def scored(self, references: Sequence[Reference], cells: Any) -> ScoredRun:
        """Return the scored run from which tables are made.

        Args:
            references: The result of `references`.
            cells: Returns the scored cells of a method, by key (`ScoredRun.cells`).
        """
        benchmark, transfer = self.plan.loaded.benchmark, self.plan.transfer
        shared = None
        if transfer.shared is not None:
            shared = SharedConcepts.read(self.store.folder(transfer.shared))
        claim = benchmark.comparisons
        return ScoredRun(
            benchmark=benchmark.name,
            split="out_of_fold" if benchmark.split.folds else "held_out",
            seeds=tuple(benchmark.seeds),
            methods=tuple(method.label for method in self.plan.methods),
            conditions=tuple((condition.name, condition.severity) for condition in self.plan.conditions),
            domains={domain.name: self._domain(domain) for domain in transfer.domains},
            pairs=tuple((pair.train.name, pair.evaluate.name) for pair in transfer.pairs),
            metrics=self.metrics,
            intervals=benchmark.intervals.model_dump(mode="json"),
            claim=None if claim is None else Claim(claim.method, claim.metric),
            recalibrated=benchmark.recalibrate,
            shared=shared,
            shifts=self._shifts(),
            references=[(reference.domain, reference.name, reference.cell) for reference in references],
            cells=cells,
        )

    def _domain(self, domain: Domain) -> ScoredDomain:
        facts = read_facts(self.store.folder(domain.cohort))
        parts = read_parts(self.store.folder(domain.split))
        return ScoredDomain(facts["task"]["name"], facts, domain.holds, parts, held_out_counts(parts))

    def _shifts(self) -> dict[tuple[str, str], Mapping[str, Any]]:
        return {
            (pair.train.name, pair.evaluate.name): read_shift(self.store.folder(pair.shift))
            for pair in self.plan.transfer.pairs
            if pair.shift is not None and self.result.outcome(pair.shift).is_finished
        }

    def recalibrations(self) -> list[tuple[dict[str, Any], Path]]:
        """List the folders of finished recalibration stages, once each, with the keys each was fitted for."""
        found: dict[tuple[Any, ...], tuple[dict[str, Any], Path]] = {}
        for cell in self.plan.cells:
            for fold, stages in enumerate(cell.folds):
                if stages.recalibration is not None and self.result.outcome(stages.recalibration).is_finished:
                    domain = cell.pair.train.name
                    keys = {"method": cell.method, "seed": cell.seed, "domain_train": domain, "fold": fold}
                    found[tuple(keys.values())] = keys, self.store.folder(stages.recalibration)
        return list(found.values())
