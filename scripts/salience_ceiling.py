"""Measure how far two fits of an expert, or two experts, agree on which features matter in a patient of their own.

    python scripts/salience_ceiling.py BENCHMARK [--set data.root=FOLDER] [--repeats 3] [--k 1 3 5]

What one fit of the expert can't tell another about a patient, no policy can learn from it: the agreement is the ceiling
of alignment with the expert. Fits are on the benchmark's training part (first fold), lists on its held-out cases:

- seed: two fits of LightGBM with other seeds;
- four fifths: a fit on all training patients and one on 80 %, as the method's cross-fitted expert is;
- bootstrap: two fits on patients drawn with replacement;
- halves: two fits on halves without a patient in common;
- LightGBM and XGBoost, LightGBM and logistic regression: each fitted once.

A list holds the k features of the highest weight among those measured in the case: by the weight itself (`raw`), or by
the weight less its mean over the training cases in which the feature was measured (`centred`). The overlap of the first
fit's list with the second's (Jaccard) is compared with the best of three lists that were not made for the patient
(`eagbench.stats.list_controls`; the risk is the second fit's). `beyond` is the difference, with 95 % intervals over
patients, and its range over the repeats (other seeds and draws of training patients), over which all else is averaged.
What is frequent is what is frequent by the second fit. In `metric` it is so by the first, as in the metric
`alignment_over_best_control`: who learns from the second fit is not told what is important to the first.
`correlation` is the mean over features of Spearman's correlation, over patients, of the two fits' weights: 0 if they
agree on nothing but what is important to everybody.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from eagbench.config.loading import load_benchmark
from eagbench.contracts.records import BoolArray, Cases, FloatArray, IntArray, TrainingData
from eagbench.contracts.stages import StageNode, StageRun, no_progress
from eagbench.execution.computing import compute_stage
from eagbench.execution.resolve import resolve
from eagbench.execution.store import Store
from eagbench.metrics.attention import overlaps
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry
from eagbench.stages.salience import top_observed
from eagbench.stats.bootstrap import patient_weights
from eagbench.stats.list_controls import CitedCases, control_overlaps
from eagbench.stats.weighted import weighted_mean

RESAMPLES = 1000
FIRST, OTHERS = "lightgbm", ("xgboost", "logistic_regression")
CONTROLS = ("frequent", "others", "like risk")
FEWEST = 30  # patients in whom a feature was measured, for its correlation to count


@dataclass(frozen=True)
class Fit:
    """An expert's weights and risks: of training cases (N, F) and of held-out cases (M, F), (M,)."""

    trained: FloatArray
    held_out: FloatArray
    risk: FloatArray


def main() -> None:
    """Fit, compare and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--k", type=int, nargs="+", default=[1, 3, 5])
    args = parser.parse_args()
    data, held_out = parts_of(args.benchmark, args.sets)
    train = data.train.cases
    print(f"{len(train)} training and {len(held_out)} held-out cases, {len(train.features)} features\n", flush=True)
    print("| fits | weights | k | overlap | best control | beyond | over repeats | metric | correlation |", flush=True)
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for name, found in comparisons(Fits(data, held_out), args.repeats):
        seen = measured(held_out)
        agreement = np.mean([correlation(first.held_out, second.held_out, seen) for first, second in found])
        for centred in (False, True):
            lists = [[weights(fit, train, centred=centred) for fit in pair] for pair in found]
            for k in args.k:
                compared = [
                    compare(mine, other, pair[1].risk, (train, held_out), k)
                    for (mine, other), pair in zip(lists, found, strict=True)
                ]
                kind = "centred" if centred else "raw"
                print(f"| {name} | {kind} | {k} | {described(compared, held_out)} | {agreement:.2f} |", flush=True)


def parts_of(benchmark: Path, sets: Sequence[str]) -> tuple[TrainingData, Cases]:
    """Read the benchmark's cohort and divide it as the benchmark says."""
    store = Store.open()
    experts = [*sets, "methods=[lightgbm]", "conditions=[clean]", "seeds=[0]", "metrics=[auroc]", "comparisons=null"]
    plan = make_plan(load_benchmark(benchmark, sets=experts), load_registry(), store)
    predict = next(node for node in plan.nodes if node.kind == "predict")
    for node in plan.nodes:
        if node.kind in {"source", "cohort", "split"}:
            outcome = compute_stage(node, store, fresh=False, progress=no_progress)
            if not outcome.is_finished:
                raise SystemExit(f"{node.kind}: {outcome.reason}")
    expert = next(node for node in plan.nodes if node.kind == "expert")
    shown = {"training": expert.inputs["training"], "cases": predict.inputs["cases"]}
    found = resolve(StageNode("shown", "both parts", "", {}, shown), store.folder)
    return found["training"], found["cases"]


@dataclass(frozen=True)
class Fits:
    """Fits experts on parts of the training patients."""

    data: TrainingData
    held_out: Cases

    def whole(self, name: str, seed: int) -> Fit:
        """Fit an expert on all training patients."""
        return self._fitted(name, self.data, seed)

    def of(self, patients: IntArray) -> Fit:
        """Fit LightGBM on all cases of the given patients, once per time that a patient is given."""
        train = self.data.train
        codes = np.unique(train.cases.patient_ids, return_inverse=True)[1]
        at = np.concatenate([np.flatnonzero(codes == patient) for patient in patients])
        return self._fitted(FIRST, TrainingData(train.select(at), self.data.tuning), 0)

    def _fitted(self, name: str, data: TrainingData, seed: int) -> Fit:
        expert = load_registry().create("expert", name, {})
        with tempfile.TemporaryDirectory() as folder:
            expert.fit(data, StageRun({}, {}, seed, Path(folder)))
            train = expert.salience(self.data.train.cases)
            return Fit(train, expert.salience(self.held_out), expert.predict(self.held_out))


def comparisons(fits: Fits, repeats: int) -> Iterator[tuple[str, list[tuple[Fit, Fit]]]]:
    """Fit, and yield the pairs of fits to compare with their name."""
    rng = np.random.default_rng(0)
    n = len(set(fits.data.train.cases.patient_ids))
    whole = fits.whole(FIRST, 0)
    yield "seed", [(whole, fits.whole(FIRST, 1 + i)) for i in range(repeats)]
    yield "four fifths", [(whole, fits.of(rng.permutation(n)[: n * 4 // 5])) for _ in range(repeats)]
    yield "bootstrap", [(fits.of(rng.integers(n, size=n)), fits.of(rng.integers(n, size=n))) for _ in range(repeats)]
    orders = [rng.permutation(n) for _ in range(repeats)]
    yield "halves", [(fits.of(order[: n // 2]), fits.of(order[n // 2 :])) for order in orders]
    for other in OTHERS:
        yield f"{FIRST} and {other}", [(whole, fits.whole(other, 0))]


def measured(cases: Cases) -> BoolArray:
    """Return which features each case has a value of, shape (N, F)."""
    return np.stack([~np.isnan(case.values_in_order(cases.feature_names)).all(axis=0) for case in cases])


@dataclass(frozen=True)
class Weights:
    """The weights by which lists are made: of training cases (N, F) and of held-out cases (M, F)."""

    trained: FloatArray
    held_out: FloatArray


def weights(fit: Fit, train: Cases, *, centred: bool) -> Weights:
    """Return a fit's weights, less each feature's mean over the training cases that have it if `centred`."""
    if not centred:
        return Weights(fit.trained, fit.held_out)
    seen = measured(train)
    mean = (fit.trained * seen).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)  # (F,)
    return Weights(fit.trained - mean, fit.held_out - mean)


@dataclass(frozen=True)
class Compared:
    """The overlap (M,) of two fits, and that of the controls (M, 3), ranked by the second fit and by the first."""

    overlap: FloatArray
    by_second: FloatArray
    by_first: FloatArray


def compare(first: Weights, second: Weights, risk: FloatArray, cases: tuple[Cases, Cases], k: int) -> Compared:
    """Compare the lists of two fits, and the controls with the first one's."""
    train, held_out = cases
    reference, listed = (top_observed(held_out, part.held_out, k) for part in (first, second))
    there = [case.observed() for case in held_out]
    asked = CitedCases(listed, reference, there, risk, held_out.patient_ids)

    def controls(ranked_by: Weights) -> FloatArray:
        on_top = Counter(name for names in top_observed(train, ranked_by.trained, k) for name in names)
        return control_overlaps(asked, sorted(train.feature_names, key=lambda name: -on_top[name]), k)

    overlap = overlaps([*map(frozenset, listed)], [*map(frozenset, reference)])
    return Compared(overlap, controls(second), controls(first))


def described(compared: Sequence[Compared], held_out: Cases) -> str:
    """Return the mean overlap, that of the best control, and the differences with their intervals and range."""
    overlap = np.mean([one.overlap for one in compared], axis=0)  # (M,)
    control = np.mean([one.by_second for one in compared], axis=0)  # (M, 3)
    by_first = np.mean([one.by_first for one in compared], axis=0)  # (M, 3)
    best = int(control.mean(axis=0).argmax())
    points = [float(one.overlap.mean() - one.by_second.mean(axis=0).max()) for one in compared]
    return (
        f"{overlap.mean():.3f} | {control.mean(axis=0).max():.3f} ({CONTROLS[best]}) | "
        f"{beyond(overlap, control, held_out)} | {min(points):+.3f} to {max(points):+.3f} | "
        f"{beyond(overlap, by_first, held_out)}"
    )


def beyond(overlap: FloatArray, controls: FloatArray, held_out: Cases) -> str:
    """Return what an overlap (M,) has beyond the best of the controls (M, 3), with its interval."""
    drawn = patient_weights(held_out.patient_ids, RESAMPLES, seed=0)
    least = np.stack([weighted_mean(overlap - column, drawn) for column in controls.T]).min(axis=0)
    low, high = np.quantile(least, [0.025, 0.975])
    return f"{overlap.mean() - controls.mean(axis=0).max():+.3f} ({low:+.3f} to {high:+.3f})"


def correlation(first: FloatArray, second: FloatArray, seen: BoolArray) -> float:
    """Average over features Spearman's correlation, over the patients who have the feature, of two fits' weights."""
    found = []
    for j in range(first.shape[1]):
        at = seen[:, j]
        if at.sum() >= FEWEST and np.ptp(first[at, j]) > 0 and np.ptp(second[at, j]) > 0:
            found.append(float(spearmanr(first[at, j], second[at, j]).statistic))
    return float(np.mean(found)) if found else float("nan")


if __name__ == "__main__":
    main()
