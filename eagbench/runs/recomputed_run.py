"""A run recomputed from the answers in a run folder, to make its tables again. Nothing comes from a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from eagbench.analysis.cells import CLEAN_KEY, CellKey, ConditionKey, DomainPair
from eagbench.analysis.comparisons import Claim
from eagbench.analysis.evaluation import Numbers, evaluate_answers, evaluate_subgroups
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.run_tables import MEAN_SEED
from eagbench.analysis.scored_run import ScoredCell, ScoredDomain, ScoredRun, answer_status
from eagbench.analysis.scored_table import answered, asked_columns
from eagbench.analysis.transfer import held_out_counts
from eagbench.runs.predictions import Place, Rows, Seeds, has_predictions, read_members, read_predictions
from eagbench.runs.schema import SUBGROUPS
from eagbench.stages.shared_concepts import SharedConcepts
from eagbench.stages.subgroups import members

# Computes a number from rows independently of its metric; None where there is no other way.
SecondOpinion = Callable[[str, Rows, Sequence[MetricUse]], float | None]

# Reads the answers of a method or reference in a folder, by place and seed.
ReadAnswers = Callable[[Path, str], Mapping[Place, Seeds]]


@dataclass(frozen=True, eq=False)
class RecomputedRun:
    """The run of a folder.

    Attributes:
        folder: The run folder.
        manifest: Its manifest.
        second_opinion: The source of point values where it has one; intervals are always the metrics' own.
        read: Reads the answers of a method or reference from the folder.
        shifts: How well a classifier told two domains apart, by pair, as far as it is known: none is trained again.
        failed_metrics: Why metrics have no numbers, by cell; filled in as cells are recomputed.
    """

    folder: Path
    manifest: Mapping[str, Any]
    second_opinion: SecondOpinion
    read: ReadAnswers = read_predictions
    shifts: Mapping[DomainPair, Mapping[str, Any]] = field(default_factory=dict)
    failed_metrics: dict[CellKey, Mapping[str, str]] = field(default_factory=dict)

    @cached_property
    def metrics(self) -> tuple[MetricUse, ...]:
        """Return the metrics."""
        return tuple(MetricUse.recorded(record) for record in self.manifest["metrics"])

    @cached_property
    def conditions(self) -> tuple[ConditionKey, ...]:
        """Return the conditions, clean first."""
        return tuple((condition["name"], condition["severity"]) for condition in self.manifest["conditions"])

    @cached_property
    def pairs(self) -> tuple[DomainPair, ...]:
        """Return where methods were trained and evaluated, in order."""
        return tuple((train, target) for train, target in self.manifest["transfer"]["pairs"])

    def scored(self) -> ScoredRun:
        """Return the scored run from which tables are made."""
        manifest = self.manifest
        shared, claim = manifest["transfer"]["shared"], manifest["comparisons"]
        return ScoredRun(
            benchmark=manifest["name"],
            split="out_of_fold" if manifest["split"].get("folds") else "held_out",
            seeds=tuple(manifest["seeds"]),
            methods=tuple(method["label"] for method in manifest["methods"]),
            conditions=self.conditions,
            domains={domain["name"]: self._domain(domain) for domain in manifest["transfer"]["domains"]},
            pairs=self.pairs,
            metrics=self.metrics,
            intervals=manifest["intervals"],
            claim=None if claim is None else Claim(claim["method"], claim["metric"]),
            recalibrated=bool(manifest["benchmark"].get("recalibrate")),
            shared=None
            if shared is None
            else SharedConcepts(*map(tuple, (shared["features"], shared["static_names"]))),
            shifts=self.shifts,
            references=list(self._references()),
            cells=self.cells,
        )

    def _domain(self, domain: Mapping[str, Any]) -> ScoredDomain:
        facts = self.manifest["data"][domain["data"]]
        parts = [part for part in self.manifest["parts"] if part["domain"] == domain["name"]]
        return ScoredDomain(facts["task"]["name"], facts, frozenset(domain["holds"]), parts, held_out_counts(parts))

    def cells(self, method: str) -> dict[CellKey, ScoredCell]:
        """Recompute the cells of a method."""
        found = {} if not has_predictions(self.folder, method) else self.read(self.folder, method)
        rows = {(place[0][1:], place[1], seed): mine for place, seeds in found.items() for seed, mine in seeds.items()}
        cells = {}
        for pair in self.pairs:
            for condition in self.conditions:
                for seed in self.manifest["seeds"]:
                    key = CellKey(method, seed, condition, pair)
                    mine = rows.get((pair, condition, str(seed)))
                    cells[key] = ScoredCell(self._status(key)) if mine is None else self._cell(mine, condition, pair[1])
                    if failed := cells[key].numbers.failed:
                        self.failed_metrics[key] = failed
        return cells

    def _status(self, key: CellKey) -> str:
        """Say why a cell has no answers; `missing` if the manifest gives no reason."""
        reads = next(m["reads"] for m in self.manifest["methods"] if m["label"] == key.method)
        [condition] = [c for c in self.manifest["conditions"] if (c["name"], c["severity"]) == key.condition]
        if reads not in condition["applies_to"]:
            return "not_applicable"
        failed = {
            (f["method"], f["seed"], (f["condition"], f["severity"]), (f["domain_train"], f["domain_eval"]))
            for f in self.manifest["failed"]
            if f["metric"] is None
        }
        return "failed" if (key.method, key.seed, key.condition, key.pair) in failed else "missing"

    def _references(self) -> list[tuple[str, str, ScoredCell]]:
        listed = [(reference["domain"], reference["name"]) for reference in self.manifest["references"]]
        found = {name: self.read(self.folder, name) for name in dict.fromkeys(name for _, name in listed)}
        references = []
        for domain, name in listed:
            for ((_, _, evaluated), condition), seeds in found[name].items():
                if evaluated == domain:
                    references.append((domain, name, self._cell(seeds[MEAN_SEED], condition, domain)))
        return references

    def _cell(self, rows: Rows, condition: ConditionKey, domain: str) -> ScoredCell:
        intervals, minimum = self.manifest["intervals"], self.manifest["subgroups"]
        subgroups = {}
        if minimum is not None and condition == CLEAN_KEY:
            groups = self._members(domain)
            found = evaluate_subgroups(rows, groups, self.metrics, intervals, minimum)
            for name, of_subgroup in found.items():
                mine = [row for row in rows if row["case_id"] in groups[name]]
                subgroups[name] = replace(of_subgroup, points=self._points(of_subgroup.points, mine))
        answers = answered(rows, asked_columns(self.metrics))
        numbers = evaluate_answers(answers, self.metrics, intervals)
        n_unparsed = sum(not row["parsed"] for row in rows)
        return ScoredCell(
            status=answer_status(len(rows), n_unparsed),
            n_unparsed=n_unparsed,
            numbers=Numbers(self._points(numbers.points, rows), numbers.draws, numbers.failed),
            answered=answers,
            subgroups=subgroups,
        )

    def _points(self, points: Mapping[str, float], rows: Rows) -> dict[str, float]:
        others = {name: self.second_opinion(name, rows, self.metrics) for name in points}
        return {name: value if (other := others[name]) is None else other for name, value in points.items()}

    def _members(self, domain: str) -> Mapping[str, frozenset[str]]:
        if domain not in self._members_of:
            self._members_of[domain] = members(read_members(self.folder, SUBGROUPS, domain))
        return self._members_of[domain]

    @cached_property
    def _members_of(self) -> dict[str, Mapping[str, frozenset[str]]]:
        return {}
