"""The curves of a method's answers over all thresholds, for each training seed and on average, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eagbench.contracts.records import FloatArray, IntArray
from eagbench.report.figures.estimates import Estimate
from eagbench.report.wording import several
from eagbench.runs.pooled_answers import Answers
from eagbench.runs.reader import RunFolder
from eagbench.stats.bootstrap import bootstrap, can_resample, percentile_interval
from eagbench.stats.curves import Curve, corners, mean_curve, precision_recall, roc
from eagbench.stats.operating_points import Counts

# Where thresholds are read off the held-out curve: at least this specificity or sensitivity.
CRITERIA: tuple[tuple[str, float], ...] = (
    ("specificity", 0.9),
    ("specificity", 0.95),
    ("sensitivity", 0.8),
    ("sensitivity", 0.9),
)
FOUND = ("sensitivity", "specificity", "precision", "alerts")
# A band of so many pixels needs no more; they are the first of those of all other intervals.
MOST_RESAMPLES = 500
# Between two points that are drawn and written. With credentialed records no step of a single case is shown.
STEPS, STEPS_OF_CREDENTIALED = 100, 20
_CHUNK = 2**20  # elements of one (rows, cases) array of weights


@dataclass(frozen=True, slots=True, eq=False)
class SeedAnswers:
    """The answers of one trained model, or of one model per fold.

    Attributes:
        seed: Its training seed.
        at: Their places among the method's answers, shape (N,).
        probability: Shape (N,); the training prevalence where an answer could not be read, as in all results.
        label: Shape (N,), 0 or 1.
    """

    seed: str
    at: IntArray
    probability: FloatArray
    label: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class SeedCurves:
    """One kind of curve of a method.

    Attributes:
        of_seeds: The curve of each training seed, by its name.
        mean: Their vertical mean.
        at: The x at which there are intervals, shape (G,).
        value: The mean there, shape (G,).
        low: Lower end of the mean's interval, shape (G,); NaN where undefined.
        high: Upper end.
    """

    of_seeds: Mapping[str, Curve]
    mean: Curve
    at: FloatArray
    value: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class MethodCurves:
    """All curves of a method, and what it finds at thresholds.

    Attributes:
        roc: True positive rate over false positive rate.
        precision_recall: Precision over recall.
        decision: Net benefit over threshold probability.
        points: By criterion and by name of the number (`FOUND`).
        thresholds: The thresholds of the seeds at each criterion; infinite where nothing is flagged.
    """

    roc: SeedCurves
    precision_recall: SeedCurves
    decision: SeedCurves
    points: Mapping[tuple[str, float], Mapping[str, Estimate]]
    thresholds: Mapping[tuple[str, float], FloatArray]


def by_seed(answers: Answers) -> list[SeedAnswers]:
    """Divide answers by training seed; a seed of which no answer can be read has no curve, as it has no results."""
    found = []
    for seed in dict.fromkeys(answers.seed):
        at = np.flatnonzero(np.array([each == seed for each in answers.seed]))
        if answers.parsed[at].any():
            found.append(SeedAnswers(seed, at, answers.probability[at], answers.label[at]))
    return found


def seeds_lacking(run: RunFolder, method: str, there: int) -> str:
    """Say of how many of its training seeds a method has curves, if some have no answer that could be read."""
    wanted = 1 if method in run.references else len(run.manifest["seeds"])
    return f"{there} of {several(wanted, 'seed')}" if there < wanted else ""


def method_curves(run: RunFolder, answers: Answers) -> MethodCurves | None:
    """Compute the curves of a method; None if its cases are of one class."""
    seeds = by_seed(answers)
    if not seeds or any(len(np.unique(seed.label)) < 2 for seed in seeds):
        return None
    steps = STEPS_OF_CREDENTIALED if run.is_credentialed else STEPS
    counts = [Counts.of(seed.probability, seed.label, np.ones((1, len(seed.label)))) for seed in seeds]
    values = np.concatenate([_values(count, steps) for count in counts])  # (S, Q)
    draws = _draws(run, answers, seeds, steps)  # (Q, B)
    intervals = _intervals(draws, run.level)  # (Q, 2)
    curves = {}
    for kind, (at, place) in _layout(steps).items():
        value = values[:, place].mean(axis=0)
        if kind == "decision" or run.is_credentialed:
            of_seeds = [Curve(at, of_seed[place]) for of_seed in values]
            mean = Curve(at, value)
        else:
            of_seeds = [corners(_EXACT[kind](seed.probability, seed.label)) for seed in seeds]
            mean = corners(mean_curve(of_seeds))
        named = dict(zip([seed.seed for seed in seeds], of_seeds, strict=True))
        curves[kind] = SeedCurves(named, mean, at, value, *intervals[place].T)
    n = place.stop
    estimates = [
        Estimate(float(v), float(lo), float(hi))
        for v, (lo, hi) in zip(values[:, n:].mean(axis=0), intervals[n:], strict=True)
    ]
    each = len(FOUND)
    return MethodCurves(
        **curves,
        points={c: dict(zip(FOUND, estimates[each * i : each * (i + 1)], strict=True)) for i, c in enumerate(CRITERIA)},
        thresholds={c: np.concatenate([count.at(*c).threshold for count in counts]) for c in CRITERIA},
    )


_EXACT = {"roc": roc, "precision_recall": precision_recall}


def _layout(steps: int) -> dict[str, tuple[FloatArray, slice]]:
    """Return the x of each kind of curve, and the place of its values in a row of `_values`."""
    xs = np.arange(steps + 1) / steps
    grids = {"roc": xs, "precision_recall": xs[1:], "decision": xs[1:-1]}
    ends = np.cumsum([0, *map(len, grids.values())])
    return {kind: (at, slice(ends[i], ends[i + 1])) for i, (kind, at) in enumerate(grids.items())}


def _values(counts: Counts, steps: int) -> FloatArray:
    """Compute everything that has an interval: the curves in the order of `_layout`, then the criteria's numbers.

    Returns:
        Shape (b, Q).
    """
    roc_at, recall_at, decision_at = (at for at, _ in _layout(steps).values())
    points = [counts.at(*criterion) for criterion in CRITERIA]
    return np.concatenate(
        [
            counts.sensitivity_at(roc_at),
            counts.precision_at(recall_at),
            counts.net_benefit_at(decision_at),
            np.stack([getattr(point, name) for point in points for name in FOUND], axis=1),
        ],
        axis=1,
    )


def _draws(run: RunFolder, answers: Answers, seeds: Sequence[SeedAnswers], steps: int) -> FloatArray:
    """Compute the mean over seeds of `_values` on every resample of the patients, shape (Q, B)."""

    def statistic(weights: FloatArray) -> FloatArray:
        rows = max(1, _CHUNK // weights.shape[1])
        chunks = [weights[start : start + rows] for start in range(0, len(weights), rows)]
        return np.concatenate([_mean(chunk) for chunk in chunks]).T

    def _mean(weights: FloatArray) -> FloatArray:
        of_seeds = (_values(Counts.of(s.probability, s.label, weights[:, s.at]), steps) for s in seeds)
        return sum(of_seeds, np.zeros(1)) / len(seeds)

    return resampled(run, answers, statistic)


def resampled(run: RunFolder, answers: Answers, statistic: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Compute numbers on resamples of the patients, all answers about one drawn together.

    Args:
        run: The run, whose seed draws.
        answers: A method's answers, N of them.
        statistic: From weights (b, N) to numbers (Q, b).

    Returns:
        Shape (Q, B); NaN where too few patients had the event, or too few did not; see `can_resample`.
    """
    draws = bootstrap(statistic, answers.patient_id, n_resamples(run), int(run.manifest["intervals"]["seed"]))
    return draws if can_resample(answers.label, answers.patient_id) else np.full_like(draws, np.nan)


def n_resamples(run: RunFolder) -> int:
    """Return the number of resamples behind the intervals of curves and thresholds."""
    return min(MOST_RESAMPLES, int(run.manifest["intervals"]["resamples"]))


def _intervals(draws: FloatArray, level: float) -> FloatArray:
    """Compute the percentile interval of every row of draws (Q, B), shape (Q, 2)."""
    found = np.empty((len(draws), 2))
    is_whole = ~np.isnan(draws).any(axis=1)
    if is_whole.any():  # at once, because it is faster
        found[is_whole] = np.quantile(draws[is_whole], [(1 - level) / 2, (1 + level) / 2], axis=1).T
    for row in np.flatnonzero(~is_whole):
        found[row] = percentile_interval(draws[row], level)
    return found
