"""`eagbench compare`: paired differences between two runs on the same cases, from their run folders alone.

It reads nothing from a store: it recomputes both runs' metrics from predictions/*.parquet, on the same resamples of the
shared patients. `agreement` checks what the runs must have in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eagbench.analysis.comparisons import (
    PRIMARY,
    Claim,
    Contrast,
    SeedMeans,
    correct_families,
    paired_rows,
    seed_means,
    untested,
)
from eagbench.analysis.evaluation import answered_nothing, evaluate
from eagbench.analysis.metric_uses import MetricUse, present_name, traits_by_name
from eagbench.analysis.scored_run import UNANSWERED
from eagbench.analysis.scored_table import answered, asked_columns
from eagbench.analysis.silent_methods import LostTests
from eagbench.contracts.traits import MetricTraits
from eagbench.errors import UserError
from eagbench.runs.agreement import (
    check_cases,
    check_places,
    check_records,
    check_settings,
    is_same_yardstick,
    methods_words,
    shared_metrics,
)
from eagbench.runs.compared_run import Answers, ComparedRun
from eagbench.runs.predictions import SETTING, Place, Seeds

Runs = tuple[ComparedRun, ComparedRun]

COLUMNS = (
    "task", "domain_train", "domain_eval", "family", "metric", "condition", "severity", "calibration", "first",
    "second", "difference", "ci_low", "ci_high", "relative_percent", "standard_error", "smallest_detectable", "p_value",
    "test", "p_corrected", "correction", "n_cases", "n_positive", "n_seeds_first", "n_seeds_second",
    "undefined_resamples", "delong_standard_error", "delong_p_value",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """Differences between two runs.

    Attributes:
        first: The run whose methods are compared.
        second: The run they are compared with; its numbers are subtracted.
        metric: The metric of the primary family.
        traits: What each metric of both runs declares.
        level: Nominal coverage of the intervals.
        is_synthetic: Whether one of the runs is on generated records.
        left_out: Metrics of both runs that are not compared, because for at least one pair of methods they measure the
            distance to different lists of features.
        rows: One per difference, with the columns `COLUMNS`, the primary family first.
    """

    first: Path
    second: Path
    metric: str
    traits: Mapping[str, MetricTraits]
    level: float
    is_synthetic: bool
    left_out: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def compare_runs(
    first: Path, second: Path, *, metric: str | None = None, pairs: Sequence[str] = (), conditions: Sequence[str] = ()
) -> Comparison:
    """Compute paired differences, first run minus second.

    Args:
        first: A run folder.
        second: Another, on the same cases.
        metric: The metric of the primary family; if None, that of the first run's own comparisons, or the first
            testable metric that both have.
        pairs: The methods to compare, as `first_label=second_label`; if empty, every label that both have.
        conditions: Names of the conditions to compare; if empty, all.

    Raises:
        UserError: A folder is not a run folder; nothing can be paired; cases, labels, conditions or metrics differ; or
            the primary metric is left out or can't be tested.
    """
    runs = ComparedRun.read(first), ComparedRun.read(second)
    check_settings(*runs)
    metrics = shared_metrics(*runs)
    chosen = _primary_metric(runs, metrics, metric)
    traits = traits_by_name(metrics)
    aligned = [use.name for use in metrics if use.traits.needs_reference_expert]
    level = float(runs[0].manifest["intervals"]["level"])
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for labels in _pairs(runs, pairs):
        answers = [_only(run.answers(label), conditions) for run, label in zip(runs, labels, strict=True)]
        check_places(labels, answers)
        check_records(runs, labels, answers[0])
        for place, mine in answers[0].items():
            check_cases(labels, place, mine, answers[1][place])
        if aligned and not all(is_same_yardstick(mine, answers[1][place]) for place, mine in answers[0].items()):
            _refuse_left_out(runs, labels, chosen, aligned, answers)
            left_out = aligned
        for place, mine in answers[0].items():
            theirs = answers[1][place]
            ours, others = (_means(seeds, metrics, runs[0].manifest["intervals"]) for seeds in (mine, theirs))
            cases = next(iter(mine.values()))
            shared = {
                **dict(zip(SETTING, place[0], strict=True)),
                "n_cases": len(cases),
                "n_positive": sum(row["label"] for row in cases),
                "n_seeds_first": len(mine),
                "n_seeds_second": len(theirs),
            }
            contrast = Contrast(*labels, place[1], ours, others)
            found = paired_rows(contrast, chosen, traits, level)
            found += _lost_tests(contrast, (mine, theirs), chosen, traits)
            # In another setting it is another test.
            rows.extend({**shared, **row, "test": _of(place, row["test"])} for row in found)
    rows = [row for row in rows if row["metric"] not in left_out]
    if not rows:
        raise UserError("no number is defined in both runs", where=f"{first}, {second}")
    rows.sort(key=lambda row: row["family"] != PRIMARY)
    correct_families(rows)
    ordered = tuple({column: renamed[column] for column in COLUMNS} for renamed in map(_renamed, rows))
    is_synthetic = any(run.manifest.get("synthetic") for run in runs)
    return Comparison(first, second, chosen, traits, level, is_synthetic, tuple(left_out), ordered)


def _lost_tests(
    contrast: Contrast, sides: tuple[Seeds, Seeds], metric: str, traits: Mapping[str, MetricTraits]
) -> list[dict[str, Any]]:
    """Make a row with p = 1 for each test that is lost because a side answered nothing."""
    condition = contrast.condition
    keys = (("first", condition), ("second", condition))  # the methods may have one and the same label
    silent = {key for key, side in zip(keys, sides, strict=True) if any(map(answered_nothing, side.values()))}
    both = zip(keys, (contrast.mine, contrast.other), strict=True)
    means = {key: found for key, found in both if key not in silent}
    rows = LostTests([condition], means, silent, traits).differences(Claim("first", metric), ["second"])
    return [{**row, "method": contrast.method, "baseline": contrast.baseline} for row in rows]


def _of(place: Place, test: str) -> str:
    """Tell tests without answers, which have no resamples to tell them apart, by their setting."""
    return f"{test}, {' '.join(place[0])}" if test.startswith(UNANSWERED) else test


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    renamed = dict(row)
    renamed["first"], renamed["second"] = renamed.pop("method"), renamed.pop("baseline")
    return renamed


def _primary_metric(runs: Runs, metrics: Sequence[MetricUse], asked: str | None) -> str:
    tested = [use for use in metrics if use.traits.is_tested]
    # Only the predictions show whether alignment can be compared, so its metrics come last.
    testable = [use.name for use in sorted(tested, key=lambda use: use.traits.needs_reference_expert)]
    where = f"{runs[0].folder}, {runs[1].folder}" if asked is None else "--metric"
    hint = (
        f"name another one: --metric {' or '.join(testable)}"
        if testable
        else "run one of them again with the other's `metrics`"
    )
    named = asked or (runs[0].manifest.get("comparisons") or {}).get("metric")
    wanted = None if named is None else present_name(named)
    if wanted is None:
        if not testable:
            raise UserError("the two runs share no metric whose difference can be tested", where=where, hint=hint)
        return testable[0]
    if wanted not in [use.name for use in metrics]:
        raise UserError(f"the metric '{wanted}' is not in both runs", where=where, hint=hint)
    if wanted not in testable:
        raise untested(wanted, where, hint)
    return str(wanted)


def _refuse_left_out(
    runs: Runs, labels: tuple[str, str], metric: str, left_out: Sequence[str], answers: Sequence[Answers]
) -> None:
    if metric in left_out:
        seeds = [sorted({seed for of_place in side.values() for seed in of_place}) for side in answers]
        here, there = (f"{run.reference}, seeds {', '.join(s)}" for run, s in zip(runs, seeds, strict=True))
        raise UserError(
            f"'{metric}' compares with lists of features that differ between the runs: {here} here, {there} there",
            where=methods_words(labels),
            hint="name another metric (--metric), or run one of them again with the other's reference expert and seeds",
        )


def _pairs(runs: Runs, asked: Sequence[str]) -> list[tuple[str, str]]:
    """Return the methods to compare, as labels in the first and the second run."""
    if not asked:
        shared = [(label, label) for label in runs[0].labels if label in runs[1].labels]
        if not shared:
            raise UserError(
                "no method has the same label in both runs: "
                f"{', '.join(runs[0].labels)} here, {', '.join(runs[1].labels)} there",
                where=f"{runs[0].folder}, {runs[1].folder}",
                hint="name the pair: --pair FIRST=SECOND",
            )
        return shared
    found = []
    for text in asked:
        labels = tuple(text.split("="))
        if len(labels) != 2:
            raise UserError(f"{text!r} is not a pair", where="--pair", hint="write FIRST=SECOND, two methods' labels")
        for label, run in zip(labels, runs, strict=True):
            if label not in run.labels:
                raise UserError(
                    f"there are no predictions of a method '{label}'",
                    where=str(run.folder),
                    hint=f"choices: {', '.join(run.labels)}",
                )
        found.append((labels[0], labels[1]))
    return found


def _only(answers: Answers, conditions: Sequence[str]) -> Answers:
    """Keep the answers under the named conditions, or all if none is named."""
    missing = [name for name in conditions if name not in {key[0] for _, key in answers}]
    if missing:
        names = sorted({key[0] for _, key in answers})
        raise UserError(
            f"there are no predictions under {', '.join(missing)}",
            where="--condition",
            hint=f"choices: {', '.join(names)}",
        )
    return {place: seeds for place, seeds in answers.items() if not conditions or place[1][0] in conditions}


def _means(seeds: Seeds, metrics: Sequence[MetricUse], intervals: Mapping[str, Any]) -> SeedMeans:
    columns = asked_columns(metrics)
    return seed_means(
        [evaluate(rows, metrics, intervals) for rows in seeds.values()],
        [answered(rows, columns) for rows in seeds.values()],
    )
