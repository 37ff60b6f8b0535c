"""The tables of a run: every row of results.csv, comparisons.csv, robustness.csv, domains.csv and gaps.csv.

All tables are made here, from a `ScoredRun`. Rows hold numbers as they are: NaN where a number is undefined, None for
an empty field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from eagbench.analysis.cells import CLEAN_KEY, CellKey, ConditionKey, DomainPair
from eagbench.analysis.comparisons import PRIMARY, SeedMeans, compare, correct_families, seed_means
from eagbench.analysis.evaluation import Numbers
from eagbench.analysis.intervals import metric_intervals
from eagbench.analysis.metric_uses import traits_by_name
from eagbench.analysis.robustness import correct_degradations, robustness
from eagbench.analysis.scored_run import OK, UNANSWERED, ScoredCell, ScoredRun, answer_status
from eagbench.analysis.silent_methods import LostTests
from eagbench.analysis.transfer import HeldOutCounts, domain_row, gaps
from eagbench.metrics.number_names import (
    RECALIBRATED,
    metric_and_calibration,
    qualified_name,
    without_unparsed_variant,
)

ALL_CASES = "all"
MEAN_SEED = "mean"
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunTables:
    """The rows of each table, by column. `domains` and `gaps` are empty for a run with one domain."""

    results: list[Row]
    comparisons: list[Row]
    robustness: list[Row]
    domains: list[Row]
    gaps: list[Row]


def run_tables(run: ScoredRun) -> RunTables:
    """Make every table of a run."""
    assembly = _Assembly(run)
    for method in run.methods:
        assembly.add(method, run.cells(method))
    compared, perturbed = assembly.differences()
    crossed = run.shared is not None
    return RunTables(
        results=list(assembly.results()),
        comparisons=compared,
        robustness=perturbed,
        domains=assembly.domains() if crossed else [],
        gaps=assembly.gaps() if crossed else [],
    )


class _Assembly:
    """Collects the rows of the methods added so far, and their means over seeds."""

    def __init__(self, run: ScoredRun) -> None:
        self.run = run
        self.traits = traits_by_name(run.metrics)
        self._rows: dict[tuple[DomainPair, str, ConditionKey], list[Row]] = {}
        self._means: dict[tuple[DomainPair, str, ConditionKey], SeedMeans] = {}
        self._silent: set[tuple[DomainPair, str, ConditionKey]] = set()
        # Means over seeds are formed for what compares them, and hold every answer.
        self._compares = run.claim is not None or len(run.conditions) > 1 or run.shared is not None

    def add(self, method: str, cells: Mapping[CellKey, ScoredCell]) -> None:
        """Add the cells of a method."""
        for pair in self.run.pairs:
            for condition in self.run.conditions:
                seeds = {seed: cells[CellKey(method, seed, condition, pair)] for seed in self.run.seeds}
                keys = self.keys(method, condition, pair)
                self._rows[pair, method, condition] = [
                    *(row for seed, cell in seeds.items() for row in self._cell_rows({**keys, "seed": seed}, [cell])),
                    *self._cell_rows({**keys, "seed": MEAN_SEED}, list(seeds.values())),
                ]
                statuses = {cell.status for cell in seeds.values()}
                if UNANSWERED in statuses <= {OK, UNANSWERED}:
                    self._silent.add((pair, method, condition))
                elif self._compares and statuses == {OK}:
                    self._means[pair, method, condition] = _means(list(seeds.values()))

    # results.csv

    def results(self) -> Iterator[Row]:
        """Yield the rows of results.csv: first the references, then by pair of domains, method and condition.

        Clean rows come first. Each condition has a row per seed, then their mean.
        """
        for domain, name, cell in self.run.references:
            keys = {**self.keys(name, CLEAN_KEY, (domain, domain)), "seed": MEAN_SEED}
            # A reference cites nothing and looks nowhere, in no subgroup.
            yield from (row for row in self._cell_rows(keys, [cell]) if row["status"] != "undefined")
        for pair in self.run.pairs:
            for method in self.run.methods:
                for condition in self.run.conditions:
                    yield from self._rows[pair, method, condition]

    def keys(self, method: str, condition: ConditionKey, pair: DomainPair) -> Row:
        """Return the key columns of a row, without its seed."""
        return {
            "benchmark": self.run.benchmark,
            "task": self.run.domains[pair[1]].task,
            "domain_train": pair[0],
            "domain_eval": pair[1],
            "split": self.run.split,
            "method": method,
            "seed": None,
            "condition": condition[0],
            "severity": condition[1],
        }

    def _row(self, keys: Row, name: str, counted: _Counted, value: float, interval: tuple[float, float]) -> Row:
        """Make one row of results.csv, by the qualified name of its number."""
        metric, calibration = metric_and_calibration(name)
        return {
            **keys,
            "calibration": calibration,
            "subgroup": counted.subgroup,
            "metric": metric,
            "value": value,
            "ci_low": interval[0],
            "ci_high": interval[1],
            "n_cases": counted.n_cases,
            "n_positive": counted.n_positive,
            "n_unparsed": counted.n_unparsed,
            "status": "undefined" if counted.status == "ok" and np.isnan(value) else counted.status,
        }

    def _empty_row(self, keys: Row, name: str, counted: _Counted) -> Row:
        return self._row(keys, name, counted, float("nan"), (float("nan"), float("nan")))

    def _empty_rows(self, keys: Row, counted: _Counted) -> list[Row]:
        """Make a row without a number for each metric."""
        return [self._empty_row(keys, use.name, counted) for use in self.run.metrics]

    def _counted(self, keys: Row, n_unparsed: int | None, status: str) -> _Counted:
        held_out = self.run.domains[keys["domain_eval"]].held_out
        return _Counted(ALL_CASES, held_out.n_cases, held_out.n_positive, n_unparsed, status)

    def _cell_rows(self, keys: Row, cells: Sequence[ScoredCell]) -> list[Row]:
        """Make the rows of one seed (or of a reference), or of the mean over seeds.

        The intervals of a mean come from resamples of patients that all seeds share; its `n_unparsed` counts the
        unparsed answers of all seeds.
        """
        statuses = {cell.status for cell in cells}
        n_unparsed = sum(cell.n_unparsed or 0 for cell in cells)
        if statuses != {OK}:
            status = next((name for name in ("failed", UNANSWERED) if name in statuses), "not_applicable")
            return self._empty_rows(keys, self._counted(keys, n_unparsed if status == UNANSWERED else None, status))
        counted = self._counted(keys, n_unparsed, "ok")
        rows = list(self._number_rows(keys, [cell.numbers for cell in cells], counted))
        rows += self._failed_rows(keys, cells, counted)
        rows += self._not_recalibrated(keys, rows, n_unparsed)
        return [*rows, *self._subgroup_rows(keys, cells)]

    def _failed_rows(self, keys: Row, cells: Sequence[ScoredCell], counted: _Counted) -> list[Row]:
        """Make a row without a number for each metric that failed in one of the seeds."""
        names = {name for cell in cells for name in cell.numbers.failed}
        failed = replace(counted, status="failed")
        return [self._empty_row(keys, use.name, failed) for use in self.run.metrics if use.name in names]

    def _number_rows(self, keys: Row, seeds: Sequence[Numbers], counted: _Counted) -> Iterator[Row]:
        found = []
        for name in mean_names([list(numbers.points) for numbers in seeds]):
            points = [numbers.points[_or_plain(name, numbers.points)] for numbers in seeds]
            draws = [numbers.draws[_or_plain(name, numbers.draws)] for numbers in seeds]
            found.append((name, float(np.mean(points)), np.mean(draws, axis=0) if len(draws) > 1 else draws[0]))
        if len(seeds) == 1 and seeds[0].intervals.keys() >= {name for name, _, _ in found}:
            intervals = [seeds[0].intervals[name] for name, _, _ in found]
        else:
            intervals = metric_intervals(found, self.run.intervals, counted.n_cases, counted.n_positive)
        for (name, value, _), interval in zip(found, intervals, strict=True):
            yield self._row(keys, name, counted, value, interval)

    def _not_recalibrated(self, keys: Row, rows: Sequence[Row], n_unparsed: int) -> list[Row]:
        """Make rows without a number if recalibration was requested but not possible; the manifest says why."""
        is_method = keys["method"] in self.run.methods
        if not self.run.recalibrated or not is_method or any(row["calibration"] == RECALIBRATED for row in rows):
            return []
        counted = self._counted(keys, n_unparsed, "not_applicable")
        return [
            self._empty_row(keys, qualified_name(use.name, RECALIBRATED), counted)
            for use in self.run.metrics
            if use.traits.reads_probability
        ]

    def _subgroup_rows(self, keys: Row, cells: Sequence[ScoredCell]) -> list[Row]:
        """Make the rows of each subgroup, of one seed or as a mean over all."""
        rows: list[Row] = []
        for subgroup in cells[0].subgroups:
            seeds = [cell.subgroups[subgroup] for cell in cells]
            n_unparsed = sum(seed.n_unparsed for seed in seeds)
            silent = UNANSWERED in {answer_status(seed.n_cases, seed.n_unparsed) for seed in seeds}
            status = UNANSWERED if silent else OK if seeds[0].points else "too_few"
            counted = _Counted(subgroup, seeds[0].n_cases, seeds[0].n_positive, n_unparsed, status)
            if status != OK:
                rows += self._empty_rows(keys, counted)
            else:
                numbers = [Numbers(seed.points, seed.draws, intervals=seed.intervals) for seed in seeds]
                rows += self._number_rows(keys, numbers, counted)
        return rows

    # The other tables

    def differences(self) -> tuple[list[Row], list[Row]]:
        """Make the rows of comparisons.csv and of robustness.csv, both from the same means over seeds.

        The first are paired differences between the method whose claim is tested and the others; none without a claim.
        The second say what perturbations cost each method; none if every condition is clean. A family of tests spans
        all pairs of domains.
        """
        run = self.run
        compared: list[tuple[DomainPair, Row]] = []
        perturbed: list[tuple[DomainPair, Row]] = []
        for pair in run.pairs:
            means = {(m, c): found for (p, m, c), found in self._means.items() if p == pair}
            silent = {(m, c) for p, m, c in self._silent if p == pair}
            lost = LostTests(run.conditions, means, silent, self.traits)
            tested = None if run.claim is None else run.claim.method
            others = [label for label in run.methods if label != tested]
            if run.claim is not None:
                level = float(run.intervals["level"])
                found = compare(run.claim, others, run.conditions, means, self.traits, level)
                found += _of(pair, lost.differences(run.claim, others))
                compared += [(pair, row) for row in sorted(found, key=lambda row: bool(row["family"] != PRIMARY))]
            degraded = robustness(self.traits, run.methods, run.conditions, means, run.intervals, tested)
            if tested is not None:
                degraded += _of(pair, lost.degradations(tested, others))
            perturbed += [(pair, row) for row in degraded]
        correct_families([row for _, row in compared])
        correct_degradations([row for _, row in perturbed])
        return [self._of_pair(*row) for row in compared], [self._of_pair(*row) for row in perturbed]

    def _of_pair(self, pair: DomainPair, row: Mapping[str, Any]) -> Row:
        """Add the columns that all rows of a pair of domains share."""
        return {**self._pair_keys(pair), **self._counts(pair[1]), **row}

    def _counts(self, domain: str) -> Row:
        held_out: HeldOutCounts = self.run.domains[domain].held_out
        return {"n_cases": held_out.n_cases, "n_positive": held_out.n_positive, "n_seeds": len(self.run.seeds)}

    def _pair_keys(self, pair: DomainPair) -> Row:
        keys = {"benchmark": self.run.benchmark, "task": self.run.domains[pair[1]].task}
        return {**keys, "domain_train": pair[0], "domain_eval": pair[1]}

    def domains(self) -> list[Row]:
        """Make a row for each pair of domains: what they share, and how far cases and records differ."""
        assert self.run.shared is not None
        rows = []
        for pair in self.run.pairs:
            train, target = (self.run.domains[name] for name in pair)
            shift = self.run.shifts.get(pair)
            row = domain_row(train.facts, target.facts, self.run.shared, train.parts, target.held_out, shift)
            rows.append({**self._pair_keys(pair), **row})
        return rows

    def gaps(self) -> list[Row]:
        """Make the rows of gaps.csv: how much worse each method is where it was not trained."""
        run = self.run
        clean = run.conditions[0]
        means = {(m, *pair): found for (pair, m, c), found in self._means.items() if c == clean}
        means |= {(m, *pair): SeedMeans({}, {}) for pair, m, c in self._silent if c == clean}
        holds = {name: domain.holds for name, domain in run.domains.items()}
        rows = gaps(run.methods, run.pairs, holds, means, self.traits, float(run.intervals["level"]))
        return [self._of_pair((row["domain_train"], row["domain_eval"]), row) for row in rows]


@dataclass(frozen=True, slots=True)
class _Counted:
    """The cases behind a number, and its status."""

    subgroup: str
    n_cases: int
    n_positive: int
    n_unparsed: int | None
    status: str


def _of(pair: DomainPair, rows: Sequence[Row]) -> list[Row]:
    """Tell tests without answers of one pair of domains from those of another."""
    return [{**row, "test": f"{row['test']}, {pair[0]} to {pair[1]}"} for row in rows]


def _means(cells: Sequence[ScoredCell]) -> SeedMeans:
    return seed_means([cell.numbers for cell in cells], [cell.answered for cell in cells if cell.answered is not None])


def mean_names(names: Sequence[Sequence[str]]) -> list[str]:
    """List every number that has a mean over seeds, in order.

    A seed without unparsed answers has no variants; its plain number then stands in for the variant. A corrected
    number has a mean if every seed has it.
    """
    seen: dict[str, None] = {}
    for listed in names:
        seen.update(dict.fromkeys(listed))
    return [name for name in seen if all(_or_plain(name, listed) in listed for listed in names)]


def _or_plain(name: str, available: Any) -> str:
    """Return the variant's name, or the plain number's for a seed in which every answer was parsed.

    The two numbers are equal in such a seed.
    """
    return name if name in available else without_unparsed_variant(name)
