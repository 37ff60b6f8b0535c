"""Read what a report needs from a run folder."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from eagbench.analysis.cells import CLEAN
from eagbench.analysis.metric_uses import MetricUse, traits_by_name
from eagbench.analysis.run_tables import ALL_CASES, MEAN_SEED
from eagbench.contracts.traits import MetricTraits
from eagbench.errors import UserError
from eagbench.metrics.number_names import RECALIBRATED, UNCORRECTED, without_unparsed_variant
from eagbench.runs.pooled_answers import Answers, pooled_answers
from eagbench.runs.predictions import has_predictions, predictions_path
from eagbench.runs.schema import (
    COMPARISON_COLUMNS,
    COST_COLUMNS,
    COUNTED_COLUMNS,
    DOMAIN_COLUMNS,
    DOMAINS,
    GAP_COLUMNS,
    GAPS,
    RESULT_COLUMNS,
    ROBUSTNESS_COLUMNS,
    read_manifest,
    reference_expert,
)
from eagbench.stages.parquet_files import read_parquet, rows_where

_HINT = "give the folder of a finished run (what `eagbench run --out` wrote)"


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """What rows must share to appear in one table: the question, the cases and their calibration."""

    benchmark: str
    task: str
    domain_train: str
    domain_eval: str
    split: str
    calibration: str
    subgroup: str


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One number of results.csv; `value` and the interval are NaN where the cell is empty."""

    group: Group
    method: str
    seed: str
    condition: str
    severity: float | None
    metric: str
    value: float
    ci_low: float
    ci_high: float
    n_cases: int
    n_positive: int
    n_unparsed: int
    status: str


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """One difference of comparisons.csv; numbers are NaN where the cell is empty."""

    task: str
    domain_train: str
    domain_eval: str
    family: str
    metric: str
    condition: str
    severity: float | None
    calibration: str
    method: str
    baseline: str
    difference: float
    ci_low: float
    ci_high: float
    relative_percent: float
    smallest_detectable: float
    p_value: float
    test: str
    p_corrected: float
    correction: str
    n_cases: int
    n_positive: int
    undefined_resamples: int


@dataclass(frozen=True, slots=True)
class RobustnessRow:
    """One number of robustness.csv; numbers are NaN where the cell is empty."""

    task: str
    domain_train: str
    domain_eval: str
    summary: str
    metric: str
    condition: str
    severity: float | None
    calibration: str
    method: str
    baseline: str
    value: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str
    p_corrected: float


@dataclass(frozen=True, slots=True)
class CostRow:
    """One stage's cost, and the texts without an answer because the model's thought was open or the prompt too long."""

    stage: str
    kind: str
    label: str
    seconds: float
    peak_memory_mb: float
    generated_tokens: int
    status: str
    truncated_thought: int
    too_long: int


Cell = tuple[str, str, float | None, str]  # method, condition, severity, metric


class RunFolder:
    """A run folder, read once.

    Args:
        path: The folder.

    Raises:
        UserError: A file is missing, or does not have the columns that a run writes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: Mapping[str, Any] = read_manifest(path)
        self.results = tuple(_row(ResultRow, record) for record in _records(path / "results.csv", RESULT_COLUMNS))
        counted = dict.fromkeys(COUNTED_COLUMNS, "")  # absent where nothing was counted
        costs = _records(path / "costs.csv", COST_COLUMNS)
        self.costs = tuple(_row(CostRow, {**counted, **record}) for record in costs)

    @cached_property
    def comparisons(self) -> tuple[ComparisonRow, ...]:
        """Return the paired differences; none if the benchmark tests no method's claim."""
        if self.manifest.get("comparisons") is None:
            return ()
        records = _records(self.path / "comparisons.csv", COMPARISON_COLUMNS)
        return tuple(_row(ComparisonRow, record) for record in records)

    @cached_property
    def robustness(self) -> tuple[RobustnessRow, ...]:
        """Return the costs of perturbations; nothing for older run folders, which lack the file."""
        path = self.path / "robustness.csv"
        if not path.is_file():
            return ()
        return tuple(_row(RobustnessRow, record) for record in _records(path, ROBUSTNESS_COLUMNS))

    @cached_property
    def domains(self) -> tuple[Mapping[str, str], ...]:
        """Return the rows of domains.csv, which a run across domains has."""
        return tuple(_records(self.path / DOMAINS, DOMAIN_COLUMNS))

    @cached_property
    def gaps(self) -> tuple[Mapping[str, str], ...]:
        """Return the rows of gaps.csv, which a run across domains has."""
        return tuple(_records(self.path / GAPS, GAP_COLUMNS))

    @property
    def synthetic(self) -> bool:
        """Whether the numbers come from generated records."""
        return bool(self.manifest.get("synthetic"))

    @property
    def is_credentialed(self) -> bool:
        """Whether the records may not be shown one by one."""
        return self.manifest.get("access") == "credentialed"

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Return the groups of uncorrected probabilities on all cases, in order of first appearance."""
        return tuple(g for g in self.all_groups if g.calibration == UNCORRECTED and g.subgroup == ALL_CASES)

    @cached_property
    def all_groups(self) -> tuple[Group, ...]:
        """Return all groups, including corrected probabilities and subgroups, in order of first appearance."""
        return tuple(dict.fromkeys(row.group for row in self.results))

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Return labels of the compared methods, in the benchmark's order."""
        return tuple(str(method["label"]) for method in self.manifest["methods"])

    @cached_property
    def references(self) -> tuple[str, ...]:
        """Return the names of scored probabilities that no method made, for example the generator's own."""
        return tuple(dict.fromkeys(row.method for row in self.results if row.method not in self.methods))

    @property
    def reference_expert(self) -> str | None:
        """Name of the expert whose features the alignment metrics use, as in the benchmark; None without one."""
        return reference_expert(self.manifest)

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """Return names of the metrics without the variants for unparsed answers, in the order of results.csv."""
        return tuple(dict.fromkeys(row.metric for row in self.results if ":" not in row.metric))

    @cached_property
    def perturbations(self) -> Mapping[str, tuple[float | None, ...]]:
        """Return the rising severities of each condition but `clean`, in the benchmark's order."""
        seen: dict[str, set[float | None]] = {}
        ordered = [*self.manifest["conditions"], *({"name": r.condition, "severity": r.severity} for r in self.results)]
        for condition in ordered:
            if condition["name"] != CLEAN:
                seen.setdefault(str(condition["name"]), set()).add(_number_or_none(condition["severity"]))
        return {name: tuple(sorted(s, key=lambda v: -1.0 if v is None else v)) for name, s in seen.items()}

    def severity_unit(self, perturbation: str) -> str:
        """Say what the severity of a perturbation counts ("share of the times"); empty if unknown."""
        for condition in self.manifest["conditions"]:
            if condition["name"] == perturbation and condition["severity_unit"]:
                return str(condition["severity_unit"])
        return ""

    @cached_property
    def _traits(self) -> Mapping[str, MetricTraits]:
        return traits_by_name([MetricUse.recorded(record) for record in self.manifest["metrics"]])

    def declared(self, number: str) -> MetricTraits:
        """Return what the metric of a number declares.

        Args:
            number: A metric's name, possibly with the variant for unparsed answers (`auroc:parsed_only`).

        Raises:
            UserError: The run folder predates metric traits, and the metric is not installed.
        """
        return self._traits[without_unparsed_variant(number)]

    @property
    def level(self) -> float:
        """Nominal coverage of every interval."""
        return float(self.manifest["intervals"]["level"])

    def headline(self, group: Group) -> Mapping[Cell, ResultRow]:
        """Return the row that represents all seeds for each cell: the mean over seeds, or the only seed."""
        return self._headlines[group]

    @cached_property
    def _headlines(self) -> Mapping[Group, Mapping[Cell, ResultRow]]:
        by_cell: dict[Group, dict[Cell, list[ResultRow]]] = {}
        for row in self.results:
            cells = by_cell.setdefault(row.group, {})
            cells.setdefault((row.method, row.condition, row.severity, row.metric), []).append(row)
        has_one_seed = len(self.manifest["seeds"]) == 1
        chosen: dict[Group, dict[Cell, ResultRow]] = {group: {} for group in by_cell}
        for group, cells in by_cell.items():
            for cell, rows in cells.items():
                means = [row for row in rows if row.seed == MEAN_SEED]
                if means or (len(rows) == 1 and has_one_seed):
                    chosen[group][cell] = (means or rows)[0]
                elif len({row.status for row in rows}) == 1 and rows[0].status != "ok":
                    chosen[group][cell] = rows[0]
        return chosen

    def by_seed(self, group: Group, metric: str) -> Mapping[str, Mapping[str, ResultRow]]:
        """Return rows of single seeds under `clean`, by method and seed."""
        out: dict[str, dict[str, ResultRow]] = {}
        for row in self.results:
            if (row.group, row.metric, row.condition) == (group, metric, CLEAN) and row.seed != MEAN_SEED:
                out.setdefault(row.method, {})[row.seed] = row
        return out

    def answers(self, group: Group, method: str) -> Answers | None:
        """Return the predictions on unchanged records behind a table's row.

        Returns:
            None if the run left none, or none that could be read.
        """
        if method not in self._answers:
            self._answers[method] = self._read_answers(method)
        return self._answers[method].get((group.task, group.domain_train, group.domain_eval, group.split))

    @cached_property
    def _answers(self) -> dict[str, Mapping[tuple[str, ...], Answers]]:
        return {}

    def _read_answers(self, method: str) -> Mapping[tuple[str, ...], Answers]:
        """Read a method's file once, by task, domains and split."""
        if not has_predictions(self.path, method):
            return {}
        columns = ["seed", "fold", "patient_id", "probability", "label", "parsed", "cited_features", "teacher_features"]
        if self.manifest.get("recalibration"):
            columns.append(RECALIBRATED)
        keys = ("task", "domain_train", "domain_eval", "split")
        path = predictions_path(self.path, method)
        table = read_parquet(path, [*keys, "condition", *columns])
        rows = rows_where(table, "condition", CLEAN).to_pylist()
        by_place: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            by_place.setdefault(tuple(row[key] for key in keys), []).append(row)
        read = {place: found for place, found in by_place.items() if any(row["parsed"] for row in found)}
        return {place: pooled_answers(found) for place, found in read.items()}


def _records(path: Path, columns: Iterable[str]) -> Iterator[dict[str, str]]:
    if not path.is_file():
        raise UserError(f"there is no {path.name}", where=str(path.parent), hint=_HINT)
    with path.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise UserError(f"it lacks the columns {', '.join(missing)}", where=str(path), hint=_HINT)
        yield from reader


def _row[Row](kind: type[Row], record: Mapping[str, str]) -> Row:
    """Convert a record to a row: each attribute is the cell of its name, parsed by the attribute's type."""
    return kind(**{name: _cell(hint, name, record) for name, hint in _ATTRIBUTES[kind].items()})


def _cell(hint: Any, name: str, record: Mapping[str, str]) -> Any:
    return _row(Group, record) if hint is Group else _READ[hint](record[name])


# Look annotations up once: it takes longer than reading the cells of a row.
_ATTRIBUTES: Mapping[Any, Mapping[str, Any]] = {
    kind: get_type_hints(kind) for kind in (Group, ResultRow, ComparisonRow, RobustnessRow, CostRow)
}


def _number(text: str) -> float:
    return float(text) if text else math.nan


def _number_or_none(value: Any) -> float | None:
    return None if value is None or value == "" else float(value)


def _count(text: str) -> int:
    # Counts of a mean over seeds may be floats, and those of a failed cell are empty.
    return round(float(text)) if text else 0


_READ: Mapping[Any, Callable[[str], Any]] = {
    str: str,
    float: _number,
    int: _count,
    float | None: _number_or_none,
}
