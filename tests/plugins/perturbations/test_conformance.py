"""What every registered perturbation keeps, whatever it does."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eagbench.api import Case, FloatArray, Perturbation, RecordText, RecordTextParams
from eagbench.registry.plugins import load_registry
from tests.plugins.perturbations.records import NAMES, NAN, cases, cohort_of, content, fitted, record, typical

PERTURBATIONS = list(load_registry().names("perturbation"))
SEEDS = st.integers(0, 2**32 - 1)  # `inputs.case_seed` gives 32 bits
SHARES = st.floats(0.0, 1.0)
HOURS = st.floats(0.0, 60.0)
ON_A_BUSY_MACHINE: Any = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
DRAW_NOTHING = {"coarser_sampling", "last_hours_removed"}


def values_lost(case: Case, changed: Case) -> FloatArray:
    """Which measurements are gone, times in the case's order; (T, F)."""
    left = dict(zip(changed.times, ~np.isnan(changed.values), strict=True))
    nothing = np.zeros(len(case.features), bool)
    kept = np.array([left.get(time, nothing) for time in case.times], bool).reshape(case.values.shape)
    return ~np.isnan(case.values) & ~kept


def values_changed(case: Case, changed: Case) -> FloatArray:
    """How far each measurement is from what it was; (T, F)."""
    return np.nan_to_num(np.abs(changed.values.astype(float) - case.values))


def times_added(case: Case, changed: Case) -> FloatArray:
    """How many more entries each time has; (T,)."""
    return np.array([int((changed.times == time).sum()) - 1 for time in case.times])


def hours_moved(case: Case, changed: Case) -> FloatArray:
    """By how much each row moved; rows are told apart by their values (`marked`). (T,)"""
    found = [int(np.flatnonzero((changed.values == row).all(axis=1))[0]) for row in case.values]
    return np.abs(changed.times[found] - case.times) if len(found) else np.zeros(0)


def marked(case: Case) -> Case:
    """The case with another number in each cell, so that it can be told where each went."""
    return replace(case, values=np.arange(case.values.size, dtype=np.float32).reshape(case.values.shape))


def marked_where_measured(case: Case) -> Case:
    return replace(case, values=np.where(np.isnan(case.values), np.float32(NAN), marked(case).values))


def as_it_is(case: Case) -> Case:
    return case


# What may be asked for, what is looked at, and how much of it changed. Amounts are compared element by element: what a
# lower severity changed, a higher one changes at least as much.
Measure = Callable[[Case, Case], FloatArray]
CHANGE: dict[str, tuple[st.SearchStrategy[float], Callable[[Case], Case], Measure]] = {
    "feature_order": (SHARES, as_it_is, lambda a, b: np.array(a.features) != np.array(b.features)),
    "feature_order_positional": (SHARES, marked, lambda a, b: values_changed(a, b) > 0),
    "missing_values": (SHARES, as_it_is, values_lost),
    "missing_by_value": (SHARES, as_it_is, values_lost),
    "missing_features": (SHARES, as_it_is, values_lost),
    "missing_visits": (SHARES, as_it_is, values_lost),
    "last_hours_removed": (HOURS, as_it_is, values_lost),
    "gaussian_noise": (st.floats(0.0, 5.0), as_it_is, values_changed),
    "outliers": (SHARES, as_it_is, values_changed),
    "decimal_slips": (SHARES, as_it_is, values_changed),
    "unit_change": (SHARES, as_it_is, lambda a, b: np.array([name in b.renderings for name in a.features])),
    "unit_change_unlabelled": (SHARES, as_it_is, values_changed),
    "time_jitter": (HOURS, marked, hours_moved),
    "time_shuffle": (SHARES, marked, lambda a, b: values_changed(a, b) > 0),
    "time_shuffle_before_last": (SHARES, marked_where_measured, lambda a, b: values_changed(a, b) > 0),
    "coarser_sampling": (HOURS, as_it_is, lambda a, b: values_lost(a, b).sum(axis=0)),  # per feature, see docs
    "distractor_features": (st.integers(0, 20).map(float), as_it_is, lambda a, b: np.array(len(b.distractors))),
    "feature_synonyms": (SHARES, as_it_is, lambda a, b: np.array([name in b.renderings for name in a.features])),
    "feature_abbreviations": (SHARES, as_it_is, lambda a, b: np.array([name in b.renderings for name in a.features])),
    "prompt_wording": (SHARES, as_it_is, lambda a, b: np.array(len(b.wordings))),
    "duplicated_rows": (SHARES, as_it_is, times_added),
    "contradictory_rows": (SHARES, as_it_is, times_added),
    "sex_age_removed": (SHARES, as_it_is, lambda a, b: np.isnan(list(b.static.values()))),
}


def test_the_change_of_every_registered_perturbation_is_defined_here() -> None:
    assert sorted(CHANGE) == sorted(PERTURBATIONS)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_follows_the_protocol(name: str) -> None:
    perturbation = fitted(name)
    assert isinstance(perturbation, Perturbation)
    assert perturbation.traits.applies_to <= {"columns", "text"}
    assert perturbation.traits.applies_to
    assert len(perturbation.traits.levels) == 5
    assert list(perturbation.traits.levels) == sorted(set(perturbation.traits.levels))
    assert perturbation.traits.levels[0] > 0
    for severity in (0.0, *perturbation.traits.levels):
        perturbation.check_severity(severity)
    for severity in (-0.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"must be|between"):
            perturbation.check_severity(severity)
    assert "Stands for" in (type(perturbation).__doc__ or "")
    # Reports show it below the axis of severities.
    unit = perturbation.traits.severity_unit
    assert re.fullmatch(r"share of .*|hours .*|training standard deviations|further features", unit)


@pytest.mark.parametrize("name", PERTURBATIONS)
@settings(max_examples=12, **ON_A_BUSY_MACHINE)
@given(data=st.data(), case=cases(), seed=SEEDS)
def test_leaves_its_input_and_who_it_is_alone(name: str, data: st.DataObject, case: Case, seed: int) -> None:
    perturbation = fitted_once(name)
    before = content(case)
    changed = perturbation.apply(case, data.draw(CHANGE[name][0]), seed)
    assert content(case) == before
    assert (changed.case_id, changed.patient_id) == (case.case_id, case.patient_id)
    assert sorted(changed.features) == sorted(case.features)
    assert list(changed.static) == list(case.static)
    if name != "sex_age_removed":
        assert dict(changed.static) == dict(case.static)
    assert changed.values.dtype == np.float32
    assert changed.times.dtype == np.float64
    assert not changed.values.flags.writeable
    assert not changed.times.flags.writeable
    assert (np.diff(changed.times) >= 0).all()
    assert not len(changed.times) or changed.times[0] >= 0
    assert not len(changed.times) or changed.times[-1] <= 48
    assert bool(changed.observed()) == bool(case.observed())


@pytest.mark.parametrize("name", PERTURBATIONS)
@settings(max_examples=12, **ON_A_BUSY_MACHINE)
@given(case=cases(), seed=SEEDS)
def test_severity_zero_changes_nothing(name: str, case: Case, seed: int) -> None:
    assert content(fitted_once(name).apply(case, 0.0, seed)) == content(case)


@pytest.mark.parametrize("name", PERTURBATIONS)
@settings(max_examples=25, **ON_A_BUSY_MACHINE)
@given(data=st.data(), case=cases(), seed=SEEDS)
def test_a_higher_severity_changes_at_least_what_a_lower_one_does(
    name: str, data: st.DataObject, case: Case, seed: int
) -> None:
    severities, prepared, change = CHANGE[name]
    low, high = sorted(data.draw(st.tuples(severities, severities)))
    perturbation, given_case = fitted_once(name), prepared(case)
    less, more = (change(given_case, perturbation.apply(given_case, severity, seed)) for severity in (low, high))
    assert (less <= more + 1e-6).all()


@pytest.mark.parametrize("name", PERTURBATIONS)
@settings(max_examples=8, **ON_A_BUSY_MACHINE)
@given(data=st.data(), case=cases(), other=cases(), seed=SEEDS)
def test_severity_and_seed_alone_decide(name: str, data: st.DataObject, case: Case, other: Case, seed: int) -> None:
    severity = data.draw(CHANGE[name][0])
    used = fitted_once(name)
    used.apply(other, severity, seed + 1)
    assert content(used.apply(case, severity, seed)) == content(fitted(name).apply(case, severity, seed))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_highest_level_changes_a_typical_record(name: str) -> None:
    _, prepared, change = CHANGE[name]
    case, perturbation = prepared(typical(99)), fitted_once(name)
    assert np.sum(change(case, perturbation.apply(case, perturbation.traits.levels[-1], 5))) > 0


@pytest.mark.parametrize("name", sorted(set(PERTURBATIONS) - DRAW_NOTHING))
def test_other_seeds_change_otherwise(name: str) -> None:
    case, perturbation = typical(99, n_times=12), fitted_once(name)
    changed = {content(perturbation.apply(case, perturbation.traits.levels[2], seed)) for seed in range(20)}
    assert len(changed) > (1 if name == "sex_age_removed" else 4)


EMPTY = record(np.empty((0, len(NAMES))))
ALL_MISSING = record(np.full((3, len(NAMES)), NAN))
ONE_VALUE = record(np.where(np.eye(1, len(NAMES)) == 1, 80.0, NAN))


@pytest.mark.parametrize("name", PERTURBATIONS)
@pytest.mark.parametrize("case", [EMPTY, ALL_MISSING, ONE_VALUE], ids=["no times", "all missing", "one value"])
def test_records_with_next_to_nothing_stay_records(name: str, case: Case) -> None:
    perturbation = fitted_once(name)
    for severity in perturbation.traits.levels:
        changed = perturbation.apply(case, severity, 1)
        assert len(changed.observed()) == len(case.observed())
        RecordText(RecordTextParams()).render(changed, cohort_of(changed))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_training_set_without_a_single_value_is_no_obstacle(name: str) -> None:
    perturbation = load_registry().create("perturbation", name, {})
    perturbation.fit(cohort_of(ALL_MISSING))
    assert perturbation.apply(typical(3), perturbation.traits.levels[-1], 1).observed()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_what_only_readers_of_text_meet_changes_no_column(name: str) -> None:
    perturbation = fitted_once(name)
    for seed in range(10):
        case = typical(seed)
        changed = perturbation.apply(case, perturbation.traits.levels[-1], seed)
        in_columns = replace(changed, renderings=case.renderings, distractors=case.distractors, wordings=case.wordings)
        if "columns" not in perturbation.traits.applies_to:
            assert content(in_columns) == content(case)
        else:
            assert content(in_columns) == content(changed)


def fitted_once(name: str) -> Perturbation:
    if name not in _FITTED:
        _FITTED[name] = fitted(name)
    return _FITTED[name]


_FITTED: dict[str, Perturbation] = {}
