"""Small seeded cases with real clinical variables and known drivers of the outcome, and odd cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from eagbench.contracts.records import Case, Cases, FloatArray, LabelledCases, Task, TrainingData
from eagbench.vocabulary.vocabulary import vocabulary

TASK = Task(
    name="in_hospital_mortality",
    outcome="die before leaving the hospital",
    role="an intensive care physician",
    window_hours=48.0,
)
# Mean and standard deviation of a patient's level.
LEVELS: Mapping[str, tuple[float, float]] = {
    "heart_rate": (90.0, 12.0),
    "respiratory_rate": (20.0, 4.0),
    "systolic_blood_pressure": (115.0, 15.0),
    "lactate": (2.5, 0.6),
    "platelets": (220.0, 50.0),
}
FEATURES = tuple(LEVELS)
# What another hospital measures, and no case here; a bedside score would read it.
FURTHER = "temperature"
# Weight of a level, in standard deviations, in the log odds of the outcome.
DRIVERS: Mapping[str, float] = {"lactate": 2.0, "systolic_blood_pressure": -1.5}
STATIC = ("age", "sex")


def described(items: Sequence[Case]) -> Cases:
    """Combine cases with the vocabulary's description of their features."""
    return Cases(vocabulary().features(FEATURES), STATIC, TASK, tuple(items))


def labelled_cases(n_cases: int, seed: int = 0, missing: float = 0.2) -> LabelledCases:
    """Generate labelled cases, one per patient, with four times and five features.

    Both outcomes occur if there are at least four cases.

    Args:
        n_cases: Number of cases.
        seed: Random seed.
        missing: Share of values that are missing completely at random.
    """
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n_cases, len(FEATURES)))
    log_odds = level @ np.array([DRIVERS.get(name, 0.0) for name in FEATURES]) - 0.5
    labels = (rng.random(n_cases) < 1 / (1 + np.exp(-log_odds))).astype(np.int64)
    if n_cases >= 4 and len(np.unique(labels)) < 2:
        labels[np.argmax(log_odds)], labels[np.argmin(log_odds)] = 1, 0
    mean, spread = (np.array(column) for column in zip(*LEVELS.values(), strict=True))
    items = []
    for n in range(n_cases):
        noise = 0.2 * rng.normal(size=(4, len(FEATURES)))
        values = (mean + spread * (level[n] + noise)).astype(np.float32)  # (T, F)
        values[rng.random(values.shape) < missing] = np.nan
        static = {"age": float(rng.uniform(20, 90)), "sex": float(rng.integers(2))}
        times = np.sort(rng.uniform(0.0, TASK.window_hours, 4))
        items.append(Case(f"case-{seed}-{n}", f"patient-{seed}-{n}", FEATURES, times, values, static))
    return LabelledCases(described(items), labels)


def training_data(n_train: int = 60, n_tuning: int = 20, seed: int = 0) -> TrainingData:
    """Generate training and tuning cases from the same distribution."""
    return TrainingData(labelled_cases(n_train, seed), labelled_cases(n_tuning, seed + 1_000))


def odd_cases() -> Cases:
    """Make cases that are easily forgotten: no time, nothing measured, one value, constant, extreme, no static fact."""
    lowest, highest = (np.array([f.plausible[i] for f in vocabulary().features(FEATURES)]) for i in (0, 1))
    known = {"age": 60.0, "sex": 1.0}
    one = np.full((2, len(FEATURES)), np.nan)
    one[1, 0] = 80.0
    tables: dict[str, FloatArray] = {
        "no time": np.zeros((0, len(FEATURES))),
        "nothing measured": np.full((3, len(FEATURES)), np.nan),
        "one value": one,
        "constant": np.tile([mean for mean, _ in LEVELS.values()], (5, 1)),
        "extremes": np.stack([lowest, highest]),
    }
    items = [
        Case(name, name, FEATURES, np.arange(len(values), dtype=np.float64), values.astype(np.float32), known)
        for name, values in tables.items()
    ]
    unknown, values = dict.fromkeys(STATIC, np.nan), tables["constant"][:1].astype(np.float32)
    items.append(Case("no static fact", "no static fact", FEATURES, np.array([1.0]), values, unknown))
    return described(items)


def with_dull_features(labelled: LabelledCases) -> LabelledCases:
    """Make one feature constant, and remove all values of another."""
    items = []
    for case in labelled.cases:
        values = case.values.copy()
        values[:, FEATURES.index("heart_rate")] = 80.0
        values[:, FEATURES.index("platelets")] = np.nan
        items.append(Case(case.case_id, case.patient_id, case.features, case.times.copy(), values, case.static))
    return LabelledCases(labelled.cases.with_items(items), labelled.labels)


def in_another_order(cases: Cases) -> Cases:
    """Reverse the order in which each record lists its features."""
    return cases.with_items(
        [
            Case(c.case_id, c.patient_id, c.features[::-1], c.times.copy(), c.values[:, ::-1].copy(), c.static)
            for c in cases
        ]
    )


def with_a_further_feature(cases: Cases) -> Cases:
    """Add one more measured feature at the front of each record, as another hospital might have."""
    items = [
        replace(
            c,
            features=(FURTHER, *c.features),
            values=np.hstack([np.full((len(c.times), 1), 39.5, np.float32), c.values]),
        )
        for c in cases
    ]
    return Cases(vocabulary().features((FURTHER, *cases.feature_names)), cases.static_names, cases.task, tuple(items))


def content(cases: Sequence[Case]) -> list[tuple[object, ...]]:
    """Return everything that cases contain, to compare before and after."""
    return [
        (
            *(c.case_id, c.patient_id, c.features, c.times.tobytes(), c.values.tobytes()),
            repr(dict(c.static)),  # NaN is NaN
            repr(dict(c.renderings)),
            [(line.feature, line.values.tobytes(), line.before) for line in c.distractors],
            repr(dict(c.wordings)),
        )
        for c in cases
    ]
