"""Measure how far two fits of an expert, or two experts, agree on which features matter in a patient of their own.

    python scripts/salience_ceiling.py BENCHMARK [--set data.root=FOLDER] [--experts lightgbm xgboost] [--k 1 3 5]

What one fit of the expert can't tell another about a patient, no policy can learn from it: the agreement is the ceiling
of alignment with the expert. Fits are on the benchmark's training part (first fold), lists on its held-out cases:

- seed: two fits of the first expert with other seeds;
- four fifths: a fit on all training patients and one on 80 %, as the method's cross-fitted expert is;
- bootstrap: two fits on patients drawn with replacement;
- halves: two fits on halves without a patient in common;
- each further expert against the first.

A list holds the k features of the highest weight among those measured in the case: by the weight itself (`raw`), or by
the weight less its mean over the training cases in which the feature was measured (`centred`). The overlap of the first
fit's list with the second's (Jaccard) is compared with the best of three lists that were not made for the patient
(`eagbench.stats.list_controls`; the risk is the second fit's). `beyond` is the difference, with 95 % intervals over
patients; `correlation` is the mean over features of Spearman's correlation over patients of the two fits' weights,
0 if they agree on nothing but
what is important to everybody.
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
from eagbench.contracts.records import BoolArray, Cases, FloatArray, IntArray, LabelledCases, TrainingData
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
    parser.add_argument("--experts", nargs="+", default=["lightgbm", "xgboost", "logistic_regression"])
    parser.add_argument("--k", type=int, nargs="+", default=[1, 3, 5])
    args = parser.parse_args()
    data, held_out = parts_of(args.benchmark, args.sets)
    train = data.train.cases
    print(f"{len(train)} training and {len(held_out)} held-out cases, {len(train.features)} features\n", flush=True)
    print("| fits | weights | k | overlap | best control | beyond | correlation |\n|---|---|---|---|---|---|---|")
    for name, first, second in pairs(data, held_out, args.experts):
        agreement = correlation(first.held_out, second.held_out, measured(held_out))
        for centred in (False, True):
            mine, others = (weights(fit, train, centred=centred) for fit in (first, second))
            for k in args.k:
                row = compared(mine, others, second.risk, (train, held_out), k)
                kind = "centred" if centred else "raw"
                print(f"| {name} | {kind} | {k} | {row} | {agreement:.2f} |", flush=True)


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


def pairs(data: TrainingData, held_out: Cases, experts: Sequence[str]) -> Iterator[tuple[str, Fit, Fit]]:
    """Fit, and yield the fits to compare with their name."""
    train, first = data.train, experts[0]
    rng = np.random.default_rng(0)
    whole = fitted(first, data, data, held_out, 0)
    yield f"{first}: seed", whole, fitted(first, data, data, held_out, 1)
    codes = np.unique(train.cases.patient_ids, return_inverse=True)[1]
    patients = int(codes.max()) + 1
    most = drawn_patients(train, codes, rng.permutation(patients)[: patients * 4 // 5])
    yield f"{first}: four fifths", whole, fitted(first, TrainingData(most, data.tuning), data, held_out, 0)
    drawn = [drawn_patients(train, codes, rng.integers(patients, size=patients)) for _ in range(2)]
    boot = [fitted(first, TrainingData(part, data.tuning), data, held_out, 0) for part in drawn]
    yield f"{first}: bootstrap", boot[0], boot[1]
    order = rng.permutation(patients)
    parts = [drawn_patients(train, codes, half) for half in (order[: patients // 2], order[patients // 2 :])]
    halves = [fitted(first, TrainingData(part, data.tuning), data, held_out, 0) for part in parts]
    yield f"{first}: halves", halves[0], halves[1]
    for other in experts[1:]:
        yield f"{first} and {other}", whole, fitted(other, data, data, held_out, 0)


def drawn_patients(train: LabelledCases, codes: IntArray, patients: IntArray) -> LabelledCases:
    """Take all cases of the drawn patients, once per draw."""
    return train.select(np.concatenate([np.flatnonzero(codes == patient) for patient in patients]))


def fitted(name: str, on: TrainingData, whole: TrainingData, held_out: Cases, seed: int) -> Fit:
    """Fit an expert, and weigh the training and the held-out cases."""
    expert = load_registry().create("expert", name, {})
    with tempfile.TemporaryDirectory() as folder:
        expert.fit(on, StageRun({}, {}, seed, Path(folder)))
        return Fit(expert.salience(whole.train.cases), expert.salience(held_out), expert.predict(held_out))


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


def compared(first: Weights, second: Weights, risk: FloatArray, cases: tuple[Cases, Cases], k: int) -> str:
    """Compare the lists of two fits; return the overlap, that of the best control, and the difference."""
    train, held_out = cases
    on_top = Counter(name for names in top_observed(train, second.trained, k) for name in names)
    ranking = sorted(train.feature_names, key=lambda name: -on_top[name])
    reference, listed = (top_observed(held_out, part.held_out, k) for part in (first, second))
    there = [case.observed() for case in held_out]
    controls = control_overlaps(CitedCases(listed, reference, there, risk, held_out.patient_ids), ranking, k)
    overlap = overlaps([*map(frozenset, listed)], [*map(frozenset, reference)])
    drawn = patient_weights(held_out.patient_ids, RESAMPLES, seed=0)
    least = np.stack([weighted_mean(overlap - control, drawn) for control in controls.T]).min(axis=0)
    point = min(float((overlap - control).mean()) for control in controls.T)
    low, high = np.quantile(least, [0.025, 0.975])
    best = CONTROLS[int(controls.mean(axis=0).argmax())]
    return (
        f"{overlap.mean():.3f} | {controls.mean(axis=0).max():.3f} ({best}) | {point:+.3f} ({low:+.3f} to {high:+.3f})"
    )


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
