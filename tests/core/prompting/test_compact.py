"""The compact form of a record, and that every value, hour and static fact can be read back from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import (
    STYLES,
    Case,
    Cases,
    Distractor,
    Feature,
    FeatureVocabulary,
    RecordText,
    RecordTextParams,
    Rendering,
    StageRun,
    Task,
    prompt_text,
    vocabulary,
)
from eagbench.registry.plugins import load_registry
from tests.built_in import built_in
from tests.compact_reader import read_compact

TASK = Task("in_hospital_mortality", "die before leaving the hospital", "an intensive care physician", 48.0)
FEATURES = (
    Feature("heart_rate", "Heart rate", "beats/min", (0, 300), (60, 100), decimals=0),
    Feature("lactate", "Lactate", "mmol/L", (0, 50), (None, 2), decimals=1),
    Feature("ph", "pH", "1", (6, 8), (7.35, 7.45), decimals=2),
    Feature("fio2", "Inspired oxygen", "%", (0, 100)),
)
NAN = float("nan")
COMPACT = RecordText(RecordTextParams(values="compact", instructions="short"))


def case(times: list[float], *rows: list[float], **facts: float) -> Case:
    values = np.array(rows, dtype=np.float32).reshape(len(times), len(FEATURES))
    return Case("c", "p", tuple(f.name for f in FEATURES), np.array(times), values, {"age": 65, "sex": 1, **facts})


def cohort(*items: Case) -> Cases:
    return Cases(FEATURES, ("age", "sex"), TASK, items)


CASE = case(
    [0.5, 2.0, 3.0, 4.0],
    [55, 1.26, 7.349, NAN],
    [80, NAN, NAN, NAN],
    [120, NAN, NAN, NAN],
    [100, NAN, 7.5, 40.123456],
)


def test_a_line_per_measured_feature_with_its_hours_once() -> None:
    assert COMPACT.render(CASE, cohort(CASE)).splitlines() == [
        "sex=male age=65 years",
        "heart_rate=55L,80,120H,100 beats/min @0.5,2..4",
        "lactate=1.3 mmol/L @0.5",
        "ph=7.35L,7.5H @0.5,4",
        "fio2=40.12 % @4",
    ]


def test_a_line_without_hours_has_those_of_the_line_above() -> None:
    same = case([1.25, 6.0], [80, 3, NAN, NAN], [90, 1, NAN, NAN])
    assert COMPACT.render(same, cohort(same)).splitlines()[1:] == [
        "heart_rate=80,90 beats/min @1.25,6",
        "lactate=3H,1 mmol/L",
    ]


def test_what_is_unknown_or_was_not_measured_is_not_there() -> None:
    empty = case([], age=NAN, sex=NAN)
    assert COMPACT.render(empty, cohort(empty)) == ""
    assert COMPACT.feature_texts(empty, cohort(empty)) == {}


@pytest.mark.parametrize("style", STYLES.values(), ids=STYLES)
def test_the_prompt_says_once_how_to_read_it_unless_instructions_are_short(style: Any) -> None:
    full = RecordText(RecordTextParams(values="compact"))
    said = "What is not listed was not measured."
    assert prompt_text(style, CASE, cohort(CASE), full).count(said) == 1
    assert said not in prompt_text(style, CASE, cohort(CASE), COMPACT)


def test_units_can_be_left_out_and_periods_show_their_last_values() -> None:
    params = RecordTextParams(values="compact", units=False, periods=2, instructions="short")
    assert RecordText(params).render(CASE, cohort(CASE)).splitlines()[1:] == [
        "heart_rate=100 @24",
        "lactate=1.3",
        "ph=7.5H",
        "fio2=40.12",
    ]


def test_other_names_units_and_distractors_stand_in_their_places() -> None:
    vitamin = Feature("vitamin_d", "Vitamin D", "nmol/L", (0, 500), (50, 125))
    changed = replace(
        CASE,
        renderings={"heart_rate": Rendering("pulse rate", "1/s", 1 / 60), "lactate": Rendering("Lac", "mmol/L")},
        distractors=(Distractor(vitamin, np.array([30, NAN, NAN, NAN], np.float32), 1),),
    )
    assert COMPACT.render(changed, cohort(CASE)).splitlines()[1:4] == [
        "pulse rate=0.9167L,1.333,2H,1.667 1/s @0.5,2..4",
        "vitamin_d=30L nmol/L @0.5",
        "Lac=1.3 mmol/L",
    ]


def test_every_name_on_a_line_can_be_cited() -> None:
    known = FeatureVocabulary(FEATURES)
    assert [known.match(line.name) for line in read_compact(COMPACT.render(CASE, cohort(CASE)))[1]] == list(
        CASE.features
    )


def check_read_back(text: RecordText, item: Case, cases: Cases) -> int:
    """Compare a record with what its text says, and return the number of values."""
    facts, lines = read_compact(text.render(item, cases))
    known = {name: value for name in cases.static_names if not np.isnan(value := item.static.get(name, NAN))}
    assert facts.keys() == known.keys()
    for name, value in known.items():
        read = {"male": 1.0, "female": 0.0}.get(facts[name]) if name == "sex" else float(facts[name])
        assert read == pytest.approx(value, rel=5e-4)
    described = {feature.name: feature for feature in cases.features}
    columns: dict[str, tuple[Feature, Rendering, np.ndarray[Any, Any]]] = {}
    for name, column in zip(item.features, item.values.T, strict=True):
        feature = described[name]
        columns[name] = (feature, item.renderings.get(name, Rendering(name, feature.unit)), column)
    for line in item.distractors:
        columns[line.feature.name] = (line.feature, Rendering(line.feature.name, line.feature.unit), line.values)
    measured = [found for found in columns.values() if not np.isnan(found[2]).all()]
    assert sorted(line.name for line in lines) == sorted(shown.name for _, shown, _ in measured)
    by_name = {line.name: line for line in lines}
    count = 0
    for feature, shown, column in measured:
        line = by_name[shown.name]
        assert line.unit == ("" if shown.unit == "1" else shown.unit)
        at = np.nonzero(~np.isnan(column))[0]
        assert [hour for hour, _, _ in line.values] == pytest.approx(item.times[at].tolist(), abs=0.005 + 1e-9)
        for (_, number, mark), value in zip(line.values, column[at].astype(float), strict=True):
            exact = value * shown.factor + shown.offset
            scaled = (shown.factor, shown.offset) != (1.0, 0.0) or feature.decimals is None
            error = 5e-4 * abs(exact) if scaled else 0.5 * 10.0 ** -int(feature.decimals or 0)
            assert abs(number - exact) <= error * (1 + 1e-6) + 1e-6 * abs(exact)
            low, high = (None if limit is None else float(np.float32(limit)) for limit in feature.reference)
            expected = "L" if low is not None and value < low else "H" if high is not None and value > high else ""
            assert mark == expected
        count += len(at)
    return count


@given(
    hours=st.lists(st.integers(0, 2880), max_size=30),
    numbers=st.data(),
)
def test_any_record_is_read_back(hours: list[int], numbers: Any) -> None:
    """Also with a time twice, and with runs of hours of any length."""
    times = np.array(sorted(hours)) / 60.0
    value = st.one_of(st.just(NAN), st.floats(0, 5000, width=32))
    rows = [[numbers.draw(value) for _ in FEATURES] for _ in times]
    item = case(list(times), *rows)
    check_read_back(COMPACT, item, cohort(item))


DATA: Mapping[str, Mapping[str, Any]] = {
    "tjh": {"task": "in_hospital_mortality", "window_hours": 24},
    "physionet2012": {"window_hours": 48},
}


@pytest.fixture(scope="module", params=DATA)
def records(request: Any, shared_data: Path, physionet_root: Path, tmp_path_factory: Any) -> Cases:
    """300 real records."""
    root = physionet_root if request.param == "physionet2012" else shared_data / "tjh"
    dataset: Any = load_registry().create("dataset", request.param, {"root": str(root), **DATA[request.param]})
    cohort = dataset.load(StageRun({}, {}, 0, tmp_path_factory.mktemp("source")))
    cases: Cases = cohort.cases.select(range(300))
    return cases


def test_three_hundred_records_of_each_data_set_are_read_back(records: Cases) -> None:
    text = RecordText(RecordTextParams(values="compact"))
    assert len(records) == 300
    assert all(feature.decimals is not None for feature in records.features)
    n_values = sum(check_read_back(text, item, records) for item in records)
    assert n_values == sum(int((~np.isnan(item.values)).sum()) for item in records)


def test_declared_decimals_keep_what_is_reported(records: Cases) -> None:
    """A reference limit, which a laboratory reports as its values, has no more decimals than declared."""
    for feature in vocabulary().features(vocabulary().names):
        assert feature.decimals is not None
        for limit in feature.reference:
            assert limit is None or round(limit, feature.decimals) == limit, feature.name


@pytest.mark.parametrize("perturbation", [component.name for component in built_in("perturbation")])
def test_a_perturbed_record_is_read_back_as_it_was_perturbed(perturbation: str, records: Cases) -> None:
    component: Any = load_registry().create("perturbation", perturbation, {})
    component.fit(records)
    severity = component.traits.levels[-1]
    text = RecordText(RecordTextParams(values="compact"))
    for seed, item in enumerate(records.items[:8]):
        check_read_back(text, component.apply(item, severity, seed), records)
