"""Report what methods find at thresholds: read off the held-out curve, and fixed on tuning cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eagbench.analysis.cells import CLEAN
from eagbench.contracts.records import BoolArray, FloatArray, IntArray
from eagbench.contracts.traits import MetricTraits
from eagbench.report import tables, wording
from eagbench.report.figures.estimates import Estimate
from eagbench.report.method_curves import CRITERIA, FOUND, MethodCurves, SeedAnswers, by_seed, n_resamples, resampled
from eagbench.report.tables import Entry, Line, Table
from eagbench.runs.pooled_answers import Answers
from eagbench.runs.reader import Group, RunFolder
from eagbench.runs.schema import TUNING_PREDICTIONS
from eagbench.stages.parquet_files import read_parquet
from eagbench.stats.bootstrap import percentile_interval
from eagbench.stats.operating_points import Counts
from eagbench.stats.weighted import ratio

Criterion = tuple[str, float]
Thresholds = Mapping[tuple[str, int], float]  # by seed and fold
_SHARE, _ALERTS = MetricTraits(better="neither"), MetricTraits(better="neither", decimals=1)
_COLUMNS = ("Method", "At", "Sensitivity", "Specificity", "PPV", "Alerts per 100", "Threshold")


def held_out_thresholds(run: RunFolder, found: Mapping[str, MethodCurves], counts: str) -> Table:
    """Tabulate thresholds that are chosen on the held-out cases themselves.

    Args:
        run: The run.
        found: The curves of each method.
        counts: The sentence with the number of cases and events.
    """
    lines = [
        Line(method, _entries(criterion, its.points[criterion], its.thresholds[criterion]), method in run.references)
        for method, its in found.items()
        for criterion in CRITERIA
    ]
    caption = (
        "Points of the ROC curves: the threshold with the highest sensitivity among those with at least the stated "
        "specificity, and the reverse. Read off the held-out curve, so it is an optimistic description; a threshold "
        f"for use must be fixed on other patients. {_words(run)} Each resample finds its own threshold. {counts}"
    )
    return Table(caption, _COLUMNS, tuple(lines))


def tuned_thresholds(run: RunFolder, group: Group, answers: Mapping[str, Answers]) -> Table | None:
    """Tabulate what thresholds find on held-out cases that were fixed on tuning cases.

    Returns:
        None if the run folder has no answers to tuning cases: only a run that recalibrates has them.
    """
    path = run.path / TUNING_PREDICTIONS
    if not path.is_file():
        return None
    tuning = [row for row in read_parquet(path).to_pylist() if row["domain_train"] == group.domain_train]
    lines: list[Line] = []
    for method, its in answers.items():
        rows = [row for row in tuning if row["method"] == method]
        seeds = by_seed(its)
        used = sorted({(s.seed, int(fold)) for s in seeds for fold in its.fold[s.at]})
        fixed = [_fixed(rows, criterion) for criterion in CRITERIA]
        if all(key in fixed[0] for key in used):
            found = _found(run, its, seeds, fixed)
            values = [np.array([thresholds[key] for key in used]) for thresholds in fixed]
            lines += [Line(method, _entries(*each)) for each in zip(CRITERIA, found, values, strict=True)]
    if not lines:
        return None
    cases = {(row["fold"], row["case_id"]): row["label"] for row in tuning}
    row = next((r for r in run.headline(group).values() if r.condition == CLEAN and r.n_cases), None)
    caption = (
        "Thresholds fixed on each model's answers to tuning cases "
        f"({wording.several(len(cases), 'case')}, {wording.several(sum(cases.values()), 'event')}), by the same rule "
        "as above, and applied to the held-out cases: what is reached there, not what was aimed at. "
        f"{_words(run)} The thresholds stay the same in all resamples. {tables.counts_words([row] if row else [])}"
    )
    return Table(caption, _COLUMNS, tuple(lines))


def _words(run: RunFolder) -> str:
    return f"{tables.seeds_words(run)}, with the {tables.percentile_words(run, n_resamples(run))}."


def _fixed(rows: Sequence[Mapping[str, object]], criterion: Criterion) -> Thresholds:
    """Choose a threshold for each seed and fold with tuning cases of both classes."""
    found: dict[tuple[str, int], float] = {}
    for seed, fold in dict.fromkeys((row["seed"], row["fold"]) for row in rows):
        mine = [row for row in rows if (row["seed"], row["fold"]) == (seed, fold)]
        probability = np.array([row["probability"] for row in mine], dtype=np.float64)
        label: IntArray = np.array([row["label"] for row in mine], dtype=np.int64)
        if len(np.unique(label)) == 2:
            counts = Counts.of(probability, label, np.ones((1, len(label))))
            found[str(seed), int(str(fold))] = float(counts.at(*criterion).threshold[0])
    return found


def _found(
    run: RunFolder, answers: Answers, seeds: Sequence[SeedAnswers], fixed: Sequence[Thresholds]
) -> list[Mapping[str, Estimate]]:
    """Apply the thresholds of each criterion, and average what is found over the seeds."""
    flagged = [
        [s.probability >= np.array([each[s.seed, int(fold)] for fold in answers.fold[s.at]]) for each in fixed]
        for s in seeds
    ]

    def statistic(weights: FloatArray) -> FloatArray:
        of_seeds = [
            np.concatenate([_numbers(s.label == 1, is_flagged, weights[:, s.at]) for is_flagged in of_criteria])
            for s, of_criteria in zip(seeds, flagged, strict=True)
        ]
        return np.asarray(np.mean(of_seeds, axis=0), dtype=np.float64)

    values = statistic(np.ones((1, len(answers.label))))[:, 0]
    draws = resampled(run, answers, statistic)
    estimates = [Estimate(float(v), *percentile_interval(d, run.level)) for v, d in zip(values, draws, strict=True)]
    n = len(FOUND)
    return [dict(zip(FOUND, estimates[n * i : n * (i + 1)], strict=True)) for i in range(len(fixed))]


def _numbers(is_event: BoolArray, is_flagged: BoolArray, weights: FloatArray) -> FloatArray:
    """Compute the numbers of `FOUND` under weights (b, N), shape (4, b)."""
    true, false, missed, spared = (
        weights @ (here & there).astype(np.float64)
        for here, there in (
            (is_flagged, is_event),
            (is_flagged, ~is_event),
            (~is_flagged, is_event),
            (~is_flagged, ~is_event),
        )
    )
    cases = true + false + missed + spared
    return np.stack(
        [
            ratio(true, true + missed),
            ratio(spared, spared + false),
            ratio(true, true + false),
            100 * ratio(true + false, cases),
        ]
    )


def _entries(criterion: Criterion, found: Mapping[str, Estimate], thresholds: FloatArray) -> tuple[Entry, ...]:
    what, least = criterion
    named = [_entry(found[name], _ALERTS if name == "alerts" else _SHARE) for name in FOUND]
    return (Entry(f"{what} \u2265 {least:.2f}"), *named, _threshold(thresholds))


def _entry(found: Estimate, traits: MetricTraits) -> Entry:
    if np.isnan(found.value):
        return Entry("undefined", quiet=True)
    note = (
        ""
        if np.isnan(found.low)
        else f"{wording.number(found.low, traits)}{wording.EN_DASH}{wording.number(found.high, traits)}"
    )
    return Entry(wording.number(found.value, traits), note)


def _threshold(thresholds: FloatArray) -> Entry:
    """Write a threshold, or the range of several models'."""
    low, high = float(thresholds.min()), float(thresholds.max())
    if np.isinf(high):
        return Entry("none" if np.isinf(low) else "none in some models", quiet=True)
    if low == high:
        return Entry(wording.number(low))
    return Entry(f"{wording.number(low)}{wording.EN_DASH}{wording.number(high)}", "over models")
