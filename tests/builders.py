"""Hand-made cases for tests: small, seeded, with known drivers of the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from eagbench.api import Case, Cases, Feature, LabelledCases, Task, TrainingData

TASK = Task(
    name="in_hospital_mortality", outcome="die in hospital", role="an intensive care physician", window_hours=48.0
)


def make_case(
    values: Mapping[str, Sequence[float]],
    times: Sequence[float] | None = None,
    case_id: str = "case-0",
    patient_id: str | None = None,
    static: Mapping[str, float] | None = None,
) -> Case:
    """One case from a series per feature; hourly times unless others are given."""
    columns = [np.asarray(series, dtype=np.float32) for series in values.values()]
    n_times = len(columns[0]) if columns else 0
    return Case(
        case_id=case_id,
        patient_id=case_id if patient_id is None else patient_id,
        features=tuple(values),
        times=np.asarray(range(n_times) if times is None else times, dtype=np.float64),
        values=np.stack(columns, axis=1) if columns else np.zeros((n_times, 0), dtype=np.float32),
        static={"age": 60.0, "sex": 1.0} if static is None else static,
    )


def make_cohort_cases(items: Sequence[Case], features: Sequence[str], static: Sequence[str] = ("age", "sex")) -> Cases:
    """Cases that share features (with a wide plausible range and unit 1) and static facts."""
    described = tuple(
        Feature(name=name, label=name.replace("_", " "), unit="1", plausible=(-1e6, 1e6)) for name in features
    )
    return Cases(features=described, static_names=tuple(static), task=TASK, items=tuple(items))


def make_cases(
    n_cases: int,
    drivers: Mapping[str, float],
    n_noise: int = 4,
    n_times: int = 6,
    missing: float = 0.3,
    seed: int = 0,
    random_labels: bool = False,
) -> LabelledCases:
    """Labelled cases whose outcome depends on the level of the drivers and on nothing else.

    Each feature has a level per case (standard normal) and values that scatter around it; the log odds are
    -0.5 + sum(weight x level). Patient ids are the case ids.

    Args:
        n_cases: Number of cases.
        drivers: Weight in the log odds of each driving feature.
        n_noise: Number of further features, `noise_0`, `noise_1`, ..., without influence.
        n_times: Times per case, spread over 48 hours.
        missing: Share of values that are missing, completely at random.
        seed: Seed of everything drawn.
        random_labels: Draw labels without looking at the drivers.
    """
    rng = np.random.default_rng(seed)
    names = (*drivers, *(f"noise_{i}" for i in range(n_noise)))
    weights = np.array([*drivers.values(), *([0.0] * n_noise)])
    level = rng.normal(size=(n_cases, len(names)))
    log_odds = -0.5 + (np.zeros(n_cases) if random_labels else level @ weights)
    labels = (rng.random(n_cases) < 1.0 / (1.0 + np.exp(-log_odds))).astype(np.int64)
    items = []
    for n in range(n_cases):
        values = (10.0 + level[n] + 0.3 * rng.normal(size=(n_times, len(names)))).astype(np.float32)
        values[rng.random(values.shape) < missing] = np.nan
        times = np.sort(rng.uniform(0.0, 48.0, n_times))
        static = {"age": float(rng.uniform(20, 90)), "sex": float(rng.integers(2))}
        items.append(Case(f"case-{n}", f"case-{n}", names, times, values, static))
    return LabelledCases(make_cohort_cases(items, names), labels)


def make_training_data(labelled: LabelledCases, n_tuning: int) -> TrainingData:
    """The last `n_tuning` cases for tuning, the others for training."""
    n_train = len(labelled) - n_tuning
    return TrainingData(labelled.select(range(n_train)), labelled.select(range(n_train, len(labelled))))


def more_often_measured_if_dying(n_cases: int = 300) -> LabelledCases:
    """Half of the cases die. Nothing but the number of their heart rates (`rate`) tells: 2 to 5, or 8 to 11 of 12.

    All have a heart rate, and two thirds a `lactate`.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(n_cases) % 2
    items = []
    for n, died in enumerate(labels):
        rate = np.full(12, np.nan)
        rate[: 2 + 6 * died + rng.integers(4)] = 80.0 + rng.normal()
        lactate = np.where(rng.random(12) < 0.9, np.nan, rng.normal(size=12))
        items.append(make_case({"rate": list(rate), "lactate": list(lactate)}, np.arange(12) * 4.0, str(n)))
    return LabelledCases(make_cohort_cases(items, ("rate", "lactate")), labels)
