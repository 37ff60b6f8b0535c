"""Cases in features of the clinical vocabulary, for perturbations that know units, ranges and names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from hypothesis import strategies as st

from builders import TASK
from eagbench.api import Case, Cases, FloatArray, Perturbation, vocabulary
from eagbench.registry.plugins import load_registry

# Measurements with and without another unit, one with an upper reference limit only, a score, a flag, one without a
# reference range.
NAMES = (
    "heart_rate",
    "glucose",
    "temperature",
    "creatinine",
    "alanine_aminotransferase",
    "gcs_total",
    "mechanical_ventilation",
    "weight",
)
FEATURES = vocabulary().features(NAMES)
NAN = float("nan")


def cohort_of(*items: Case) -> Cases:
    return Cases(FEATURES, ("age", "sex"), TASK, items)


def record(
    values: FloatArray, times: FloatArray | None = None, features: tuple[str, ...] = NAMES, case_id: str = "case-0"
) -> Case:
    """A case with `values` (T, F) at hourly times unless others are given."""
    hours = np.arange(len(values), dtype=np.float64) if times is None else np.asarray(times, dtype=np.float64)
    return Case(case_id, f"patient of {case_id}", features, hours, values.astype(np.float32), {"age": 61.0, "sex": 0.0})


def of_series(series: Mapping[str, list[float]], times: list[float] | None = None) -> Case:
    """A case in all features from the series of some."""
    n_times = len(next(iter(series.values())))
    values = np.full((n_times, len(NAMES)), NAN)
    for name, column in series.items():
        values[:, NAMES.index(name)] = column
    return record(values, None if times is None else np.array(times))


def _plausible_values(rng: np.random.Generator, n_times: int) -> FloatArray:
    columns = []
    for feature in FEATURES:
        low, high = feature.plausible
        if feature.unit == "1":
            columns.append(rng.integers(int(low), int(high) + 1, n_times).astype(float))
        else:
            middle = np.sqrt(low * high)
            columns.append(np.round(np.clip(middle * np.exp(0.4 * rng.normal(size=n_times)), low, high), 1))
    return np.stack(columns, axis=1)


def typical(seed: int, n_times: int = 8, missing: float = 0.3) -> Case:
    """A case with plausible values, a share of them missing."""
    rng = np.random.default_rng(seed)
    values = _plausible_values(rng, n_times)
    values[rng.random(values.shape) < missing] = NAN
    return record(values, np.sort(rng.uniform(0, 48, n_times)), case_id=f"case-{seed}")


TRAINING = cohort_of(*(typical(seed) for seed in range(40)))


def fitted(name: str, **params: object) -> Perturbation:
    """The registered perturbation, fitted on `TRAINING`."""
    perturbation: Perturbation = load_registry().create("perturbation", name, params)
    perturbation.fit(TRAINING)
    return perturbation


def _any_case(seed: int, n_times: int, missing: float) -> Case:
    rng = np.random.default_rng(seed)
    values = _plausible_values(rng, n_times)
    values[rng.random(values.shape) < missing] = NAN
    order = rng.permutation(len(NAMES))
    minutes = np.sort(rng.permutation(48 * 60 + 1)[:n_times])
    return record(values[:, order], minutes / 60, tuple(NAMES[i] for i in order), f"case-{seed}")


def cases() -> st.SearchStrategy[Case]:
    """Records in the features of `NAMES`, in any order: empty, all missing, with plausible values."""
    missing = st.sampled_from([0.0, 0.3, 0.8, 1.0])
    return st.builds(_any_case, st.integers(0, 2**32 - 1), st.integers(0, 8), missing)


def content(case: Case) -> tuple[object, ...]:
    """All that a case holds, comparable."""
    return (
        case.case_id,
        case.patient_id,
        case.features,
        case.times.tobytes(),
        case.values.tobytes(),
        repr(tuple(case.static.items())),
        tuple(sorted(case.renderings.items(), key=lambda item: item[0])),
        tuple((line.feature, line.values.tobytes(), line.before) for line in case.distractors),
        repr(dict(case.wordings)),
    )
