"""A run as the tables need it: its settings, and the results of every cell of the grid.

The run's writer builds one from the store, `verify` from a run folder. `run_tables` works with either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eagbench.analysis.cells import CellKey, ConditionKey, DomainPair
from eagbench.analysis.comparisons import Claim
from eagbench.analysis.evaluation import Numbers, SubgroupNumbers
from eagbench.analysis.metric_uses import MetricUse
from eagbench.analysis.scored_table import Answered
from eagbench.analysis.transfer import HeldOutCounts, SharedNames

OK, UNANSWERED = "ok", "unanswered"


def answer_status(n_cases: int, n_unparsed: int) -> str:
    """Return the status of cases that were answered: `unanswered` if none of the answers could be read, else `ok`."""
    return UNANSWERED if 0 < n_cases == n_unparsed else OK


@dataclass(frozen=True, slots=True, eq=False)
class ScoredCell:
    """The results of one cell of the grid.

    Attributes:
        status: `ok`, `failed`, `unanswered` if no answer could be read, or `not_applicable` if the condition means
            nothing to the method.
        n_unparsed: Number of answers that could not be parsed; None for a cell without numbers.
        numbers: Every metric's value and resamples.
        answered: The answers themselves; None for a cell without numbers.
        subgroups: The same within each subgroup; empty if none was requested.
    """

    status: str
    n_unparsed: int | None = None
    numbers: Numbers = field(default_factory=lambda: Numbers({}, {}))
    answered: Answered | None = None
    subgroups: Mapping[str, SubgroupNumbers] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ScoredDomain:
    """A domain of a run.

    Attributes:
        task: Name of its task.
        facts: Its cohort's `features`, `static_names` and `task`.
        holds: Names of the domains whose cases it holds.
        parts: Its split's parts, with their counts.
        held_out: Number of its held-out cases and events, over all folds.
    """

    task: str
    facts: Mapping[str, Any]
    holds: frozenset[str]
    parts: Sequence[Mapping[str, Any]]
    held_out: HeldOutCounts


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRun:
    """The data behind the tables of a run.

    Attributes:
        benchmark: The benchmark's name.
        split: `held_out`, or `out_of_fold`.
        seeds: The training seeds.
        methods: Labels of the methods, in the benchmark's order.
        conditions: The conditions, clean first.
        domains: The domains by name.
        pairs: Where methods were trained and evaluated, in order.
        metrics: The metrics.
        intervals: The bootstrap: `resamples`, `level`, `seed`, `auroc`.
        claim: Whose claim is tested; None without a claim.
        recalibrated: Whether recalibrated numbers were requested.
        shared: What all domains share; None for a run with one domain.
        shifts: How well a classifier told two domains apart, by pair. A pair is absent if its domains share cases or
            if the comparison failed.
        references: Probabilities that no method made, in order: the domain, their name and their results.
        cells: Returns the cells of one method. It is called once per method, in order. It may read from disk, so that
            only one method's answers are in memory at a time.
    """

    benchmark: str
    split: str
    seeds: tuple[int, ...]
    methods: tuple[str, ...]
    conditions: tuple[ConditionKey, ...]
    domains: Mapping[str, ScoredDomain]
    pairs: tuple[DomainPair, ...]
    metrics: tuple[MetricUse, ...]
    intervals: Mapping[str, Any]
    claim: Claim | None
    recalibrated: bool
    shared: SharedNames | None
    shifts: Mapping[DomainPair, Mapping[str, Any]]
    references: Sequence[tuple[str, str, ScoredCell]]
    cells: Callable[[str], Mapping[CellKey, ScoredCell]]
