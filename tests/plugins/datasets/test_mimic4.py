"""The MIMIC-IV loader: against a recomputation with pandas, the rules on hand-made tables, and bad files."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import psutil
import pytest
from pydantic import ValidationError

from eagbench.contracts.components import Dataset
from eagbench.contracts.records import Cohort, ResultTimes
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.testing.cases import content
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets import case_partitions, csv_blocks
from eagbench_plugins.datasets.availability import Availability
from eagbench_plugins.datasets.mimic4 import loader
from eagbench_plugins.datasets.mimic4.cohort_rules import (
    admissions_with_icu,
    in_hospital_mortality,
    readmission_30_days,
)
from eagbench_plugins.datasets.mimic4.dataset import Mimic4
from eagbench_plugins.datasets.mimic4.measurements import observed, records
from eagbench_plugins.datasets.mimic4.params import DEFAULT_CONCEPTS, Mimic4Params
from eagbench_plugins.datasets.mimic4.synthetic import write_hospital
from eagbench_plugins.datasets.mimic4.tables import READ_TABLES, TABLES, TRUTH_FILE

PATIENTS = 150


def stage(folder: Path, source: Path | None = None) -> StageRun:
    folder.mkdir(exist_ok=True)
    return StageRun(params={}, inputs={} if source is None else {"source": source}, seed=0, out=folder)


@pytest.fixture(scope="session")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mimic4")
    write_hospital(root, patients=PATIENTS, seed=3)
    return root


@pytest.fixture(scope="session")
def load(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Cohort]:
    """Loads the small hospital; once for all tests."""
    done: dict[str, Cohort] = {}

    def loaded(**params: Any) -> Cohort:
        key = repr(sorted(params.items()))
        if key not in done:
            run = stage(tmp_path_factory.mktemp("stage"), hospital)
            done[key] = Mimic4(Mimic4Params(root="synthetic", **params)).load(run).collect()
        return done[key]

    return loaded


def table(root: Path, name: str) -> pd.DataFrame:
    frame = pd.read_csv(root / f"{TABLES[name].file}.gz", keep_default_na=False, na_values=[""])
    for column in frame.columns:
        if column.endswith("time") or column == "dod":
            frame[column] = pd.to_datetime(frame[column])
    return frame


@pytest.fixture(scope="session")
def tables(hospital: Path) -> dict[str, pd.DataFrame]:
    return {read.name: table(hospital, read.name) for read in READ_TABLES}


# --- Against pandas ------------------------------------------------------------------------------------------------


def expected_mortality(tables: dict[str, pd.DataFrame], hours: float) -> tuple[pd.DataFrame, int]:
    first = tables["icustays"].sort_values("intime").groupby("hadm_id", as_index=False).first()
    cases = first.merge(tables["admissions"], on=["subject_id", "hadm_id"]).merge(tables["patients"], on="subject_id")
    cases["until"] = cases["intime"] + timedelta(hours=hours)
    ended = cases[["outtime", "dischtime", "deathtime"]].min(axis=1) <= cases["until"]
    cases["age"] = cases["anchor_age"] + cases["admittime"].dt.year - cases["anchor_year"]
    return cases[~ended].set_index(cases["stay_id"].astype(str)[~ended]), int(ended.sum())


def test_mortality_cases_and_labels(load: Callable[..., Cohort], tables: dict[str, pd.DataFrame]) -> None:
    cohort = load()
    expected, ended = expected_mortality(tables, 48)
    assert sorted(cohort.cases.case_ids) == sorted(expected.index)
    ordered = expected.loc[list(cohort.cases.case_ids)]
    np.testing.assert_array_equal(cohort.labels, ordered["hospital_expire_flag"])
    assert list(cohort.cases.patient_ids) == list(ordered["subject_id"].astype(str))
    assert list(cohort.groups["icu_type"]) == list(ordered["first_careunit"])
    assert [case.static["age"] for case in cohort.cases] == list(ordered["age"])
    assert [case.static["sex"] for case in cohort.cases] == list((ordered["gender"] == "M").astype(float))
    assert ended > 10
    assert cohort.provenance.exclusions == (
        ("younger than 18 years", 0),
        ("dead before the admission", 0),
        ("date of death contradicts the discharge", 0),
        ("ICU stay ended at or before the prediction time", ended),
        ("no measurement in the observation window", 0),
    )
    assert cohort.provenance.n_patients_read == PATIENTS
    assert cohort.provenance.access == "synthetic"
    assert cohort.cases.feature_names == DEFAULT_CONCEPTS
    assert any(count > 1 for count in pd.Series(cohort.cases.patient_ids).value_counts())  # several cases per patient


def test_minimum_age_is_counted(load: Callable[..., Cohort], tables: dict[str, pd.DataFrame]) -> None:
    cohort = load(min_age=65, window_hours=24)
    expected, _ = expected_mortality(tables, 24)
    assert sorted(cohort.cases.case_ids) == sorted(expected.index[expected["age"] >= 65])
    assert cohort.provenance.exclusions[0][0] == "younger than 65 years"
    assert cohort.provenance.exclusions[0][1] > 0
    assert all(case.times.max() < 24 for case in cohort.cases)


def test_readmission_cases_and_labels(load: Callable[..., Cohort], tables: dict[str, pd.DataFrame]) -> None:
    cohort = load(task="readmission_30_days")
    last = tables["icustays"].sort_values("intime").groupby("hadm_id", as_index=False).last()
    cases = last.merge(tables["admissions"], on=["subject_id", "hadm_id"]).merge(tables["patients"], on="subject_id")
    died = cases["hospital_expire_flag"] == 1
    hospice = ~died & (cases["discharge_location"] == "HOSPICE")
    kept = cases[~died & ~hospice].copy()
    labels = {}
    for row in kept.itertuples():
        limit = row.dischtime + timedelta(days=30)
        own = tables["admissions"][tables["admissions"]["subject_id"] == row.subject_id]
        back = ((own["admittime"] > row.dischtime) & (own["admittime"] <= limit)).any()
        labels[str(row.hadm_id)] = int(back or (pd.notna(row.dod) and row.dod <= limit.normalize()))
    found = dict(zip(cohort.cases.case_ids, cohort.labels, strict=True))
    assert found == labels
    assert 0 < sum(labels.values()) < len(labels)
    assert cohort.provenance.exclusions == (
        ("no time of discharge", 0),
        ("younger than 18 years", 0),
        ("dead before the admission", 0),
        ("date of death contradicts the discharge", 0),
        ("died in hospital", int(died.sum())),
        ("discharged to a hospice", int(hospice.sum())),
        ("still in another admission at discharge", 0),
        ("no measurement in the observation window", 0),
    )


# concept: (items by precedence, (item -> its value in the vocabulary's unit)); written without the vocabulary.
IDENTITY: Callable[[float], float] = lambda value: value  # noqa: E731
EXPECTED_VALUES: dict[str, list[tuple[str, int, Callable[[float], float]]]] = {
    "heart_rate": [("chartevents", 220045, IDENTITY)],
    "mean_blood_pressure": [("chartevents", 220052, IDENTITY), ("chartevents", 220181, IDENTITY)],
    "temperature": [("chartevents", 223762, IDENTITY), ("chartevents", 223761, lambda f: (f - 32) / 1.8)],
    "weight": [
        ("chartevents", 224639, IDENTITY),
        ("chartevents", 226512, IDENTITY),
        ("chartevents", 226531, lambda pounds: pounds * 0.45359237),
    ],
    "height": [("chartevents", 226730, IDENTITY), ("chartevents", 226707, lambda inches: inches * 2.54)],
    "gcs_verbal": [("chartevents", 223900, IDENTITY)],
    "glucose": [("labevents", 50931, IDENTITY), ("chartevents", 225664, IDENTITY)],
    "creatinine": [("labevents", 50912, IDENTITY)],
    "ph": [("labevents", 50820, IDENTITY)],
    "platelets": [("labevents", 51265, IDENTITY)],
}


@pytest.mark.parametrize("task", ["in_hospital_mortality", "readmission_30_days"])
def test_values_and_times(load: Callable[..., Cohort], tables: dict[str, pd.DataFrame], task: str) -> None:
    cohort = load(task=task)
    by_patient = {name: dict(list(tables[name].groupby("subject_id"))) for name in ("chartevents", "labevents")}
    stays = tables["icustays"].sort_values("intime")
    compared = 0
    for case in cohort.cases[::7]:
        if task == "in_hospital_mortality":
            stay = stays[stays["stay_id"] == int(case.case_id)].iloc[0]
            origin, start, end = stay["intime"], stay["intime"], stay["intime"] + timedelta(hours=48)
        else:
            stay = stays[stays["hadm_id"] == int(case.case_id)].iloc[-1]
            origin, end = stay["outtime"] - timedelta(hours=48), stay["outtime"]
            start = max(origin, stay["intime"])
        for concept, places in EXPECTED_VALUES.items():
            expected: dict[float, float] = {}
            for name, itemid, convert in reversed(places):  # the first in precedence has the last word
                rows = by_patient[name][int(case.patient_id)]
                rows = rows[(rows["itemid"] == itemid) & (rows["charttime"] >= start) & (rows["charttime"] < end)]
                if name == "labevents" and task == "in_hospital_mortality":
                    rows = rows[rows["storetime"] < end]  # known before the prediction time
                for row in rows.sort_values("storetime", kind="stable").itertuples():
                    expected[(row.charttime - origin).total_seconds() / 3600] = convert(row.valuenum)
            column = case.values_in_order([concept])[:, 0]
            seen = ~np.isnan(column)
            assert case.times[seen] == pytest.approx(sorted(expected))
            assert column[seen] == pytest.approx([expected[t] for t in sorted(expected)], rel=1e-6)
            compared += len(expected)
        assert (np.diff(case.times) > 0).all()
        assert not np.isnan(case.values_in_order(case.features)).all(axis=1).any()
    assert compared > 2000


def test_capillary_refill_is_read_from_text(load: Callable[..., Cohort]) -> None:
    values = np.concatenate([case.values_in_order(["capillary_refill"]) for case in load().cases])
    assert set(np.unique(values[~np.isnan(values)])) == {0.0, 1.0}


def test_oracle_is_the_generators_probability(load: Callable[..., Cohort], hospital: Path) -> None:
    truth = pd.read_csv(hospital / TRUTH_FILE, float_precision="round_trip").set_index("hadm_id")
    cohort = load(task="readmission_30_days")
    expected = truth.loc[[int(case) for case in cohort.cases.case_ids], "probability_readmission_or_death_30_days"]
    np.testing.assert_array_equal(cohort.reference_probabilities["oracle"], expected)


def test_chosen_concepts_make_the_record(load: Callable[..., Cohort]) -> None:
    chosen, full = load(concepts=("creatinine", "sodium")), load()
    assert chosen.cases.feature_names == ("creatinine", "sodium")
    by_id = {case.case_id: case for case in full.cases}
    for case in chosen.cases:
        other = by_id[case.case_id].values_in_order(case.features)
        np.testing.assert_array_equal(case.values, other[~np.isnan(other).all(axis=1)])


@pytest.mark.parametrize("task", ["in_hospital_mortality", "readmission_30_days"])
def test_blocks_and_partitions_do_not_show(
    hospital: Path, tmp_path: Path, load: Callable[..., Cohort], task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK", 2**16)
    monkeypatch.setattr(csv_blocks, "ROWS", 1000)
    for module in (case_partitions, loader):
        monkeypatch.setattr(module, "CASES", 13)
    monkeypatch.setattr(case_partitions, "_WAITING", 3000)
    run = stage(tmp_path / "stage", hospital)
    cut = Mimic4(Mimic4Params(root="synthetic", task=task)).load(run).collect()
    whole = load(task=task)
    assert content(cut.cases) == content(whole.cases)
    np.testing.assert_array_equal(cut.labels, whole.labels)
    np.testing.assert_array_equal(cut.reference_probabilities["oracle"], whole.reference_probabilities["oracle"])
    assert (cut.groups, cut.provenance) == (whole.groups, whole.provenance)
    assert [path for path in (run.checkpoints).rglob("*") if path.is_file()] == []


def test_loading_is_quiet_repeatable_and_leaves_nothing(
    hospital: Path, tmp_path: Path, load: Callable[..., Cohort], capfd: pytest.CaptureFixture[str]
) -> None:
    first = load()
    before = set(psutil.Process().children(recursive=True))
    capfd.readouterr()
    again = Mimic4(Mimic4Params(root="synthetic")).load(stage(tmp_path / "again", hospital)).collect()
    assert capfd.readouterr() == ("", "")
    assert set(psutil.Process().children(recursive=True)) <= before
    assert [path.name for path in (tmp_path / "again").iterdir()] == ["checkpoints"]
    assert first.cases.case_ids == again.cases.case_ids
    for one, other in zip(first.cases, again.cases, strict=True):
        np.testing.assert_array_equal(one.values, other.values)
        np.testing.assert_array_equal(one.times, other.times)


def test_a_real_root_is_credentialed_and_has_no_oracle(
    hospital: Path, tmp_path: Path, load: Callable[..., Cohort]
) -> None:
    dataset = Mimic4(Mimic4Params(root=str(hospital)))
    assert isinstance(dataset, Dataset)
    assert dataset.access() == "credentialed"
    assert [path.name for path in dataset.files()] == [
        "patients.csv.gz",
        "admissions.csv.gz",
        "icustays.csv.gz",
        "labevents.csv.gz",
        "chartevents.csv.gz",
    ]
    cohort = dataset.load(stage(tmp_path / "stage")).collect()
    assert cohort.provenance.access == "credentialed"
    assert cohort.reference_probabilities == {}
    np.testing.assert_array_equal(cohort.labels, load().labels)


def test_synthetic_generates_what_it_loads(tmp_path: Path) -> None:
    dataset = Mimic4(Mimic4Params(root="synthetic", synthetic_patients=12, synthetic_seed=1))
    assert dataset.files() == ()
    assert dataset.access() == "synthetic"
    (tmp_path / "out").mkdir()
    dataset.generate(stage(tmp_path / "out"))
    assert len(dataset.load(stage(tmp_path / "cohort", tmp_path / "out")).collect().cases) > 0


def test_the_plugin_is_cheap_to_import() -> None:
    code = "import sys, eagbench_plugins.datasets.mimic4.dataset; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "pyhealth", "polars", "pandas", "dask", "transformers"} & set(loaded)


# --- The rules on hand-made tables ---------------------------------------------------------------------------------

T0 = datetime(2150, 6, 1, 12, 0)
DAY = timedelta(days=1)


def make(
    admissions: list[dict[str, Any]], stays: list[dict[str, Any]], dod: date | None = None, age: int = 60
) -> tuple[pl.DataFrame, pl.DataFrame]:
    patients = pl.DataFrame(
        [{"patient_id": "1", "gender": "F", "anchor_age": age, "anchor_year": 2148, "dod": dod}],
        schema_overrides={"dod": pl.Date},
    )
    defaults = {"patient_id": "1", "deathtime": None, "discharge_location": "HOME", "hospital_expire_flag": 0}
    admitted = pl.DataFrame(
        [defaults | row for row in admissions],
        schema_overrides={"deathtime": pl.Datetime, "dischtime": pl.Datetime, "admittime": pl.Datetime},
    )
    placed = pl.DataFrame([{"patient_id": "1", "first_careunit": "MICU"} | row for row in stays])
    return admissions_with_icu(patients, admitted, placed), admitted


def one_return(gap: timedelta | None, dod: date | None = None, **first: Any) -> Any:
    left = T0 + 5 * DAY
    admissions = [{"hadm_id": "a", "admittime": T0, "dischtime": left, **first}]
    if gap is not None:
        admissions.append({"hadm_id": "b", "admittime": left + gap, "dischtime": left + gap + DAY})
    stays = [{"hadm_id": "a", "stay_id": "s", "intime": T0 + timedelta(hours=2), "outtime": T0 + 3 * DAY}]
    with_icu, admitted = make(admissions, stays, dod)
    return readmission_30_days(with_icu, admitted, 48, 18)


@pytest.mark.parametrize(
    ("gap", "dod", "label"),
    [
        (None, None, 0),
        (30 * DAY, None, 1),
        (30 * DAY + timedelta(minutes=1), None, 0),
        (timedelta(minutes=1), None, 1),
        (None, (T0 + 35 * DAY).date(), 1),  # the thirtieth day
        (None, (T0 + 36 * DAY).date(), 0),
        (None, (T0 + 5 * DAY).date(), 1),  # dies on the day of discharge, outside
        (40 * DAY, (T0 + 60 * DAY).date(), 0),
    ],
)
def test_readmission_label(gap: timedelta | None, dod: date | None, label: int) -> None:
    cases = one_return(gap, dod).cases
    assert cases["case_id"].to_list() == ["a"]
    assert cases["label"].to_list() == [label]


def test_readmission_window_is_the_end_of_the_last_stay() -> None:
    admissions = [{"hadm_id": "a", "admittime": T0, "dischtime": T0 + 9 * DAY}]
    stays = [
        {"hadm_id": "a", "stay_id": "s1", "intime": T0, "outtime": T0 + 3 * DAY},
        {"hadm_id": "a", "stay_id": "s2", "intime": T0 + 5 * DAY, "outtime": T0 + 6 * DAY},
    ]
    with_icu, admitted = make(admissions, stays)
    case = readmission_30_days(with_icu, admitted, 48, 18).cases.row(0, named=True)
    assert (case["origin"], case["start"], case["end"]) == (T0 + 4 * DAY, T0 + 5 * DAY, T0 + 6 * DAY)


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ({"deathtime": T0 + 5 * DAY, "hospital_expire_flag": 1}, "died in hospital"),
        ({"discharge_location": "HOSPICE"}, "discharged to a hospice"),
        ({"dischtime": None}, "no time of discharge"),
    ],
)
def test_readmission_exclusions(first: dict[str, Any], reason: str) -> None:
    rules = one_return(2 * DAY, **first)
    assert rules.cases.is_empty()
    assert dict(rules.exclusions)[reason] == 1
    assert sum(count for _, count in rules.exclusions) == 1


HOME: dict[str, Any] = {"hadm_id": "a", "admittime": T0, "dischtime": T0 + 9 * DAY}
DIED: dict[str, Any] = {"hospital_expire_flag": 1, "discharge_location": "DIED"}
IN_HOSPITAL, STILL_INSIDE = "died in hospital", "still in another admission at discharge"
DEAD_BEFORE, CONTRADICTED = "dead before the admission", "date of death contradicts the discharge"


def dead_at(day: int) -> dict[str, Any]:
    return {"dischtime": T0 + day * DAY, "deathtime": T0 + day * DAY, **DIED}


@pytest.mark.parametrize(
    ("admissions", "died_on", "mortality", "readmission"),
    [
        ([HOME], None, 0, 0),
        ([HOME], -6 * 365, DEAD_BEFORE, DEAD_BEFORE),  # mimic-code 1346
        ([HOME], 0, CONTRADICTED, CONTRADICTED),  # a date of death on the day of admission, and home after nine days
        ([HOME], 9, 0, 1),  # dies on the day of discharge, outside
        ([HOME | dead_at(9)], 9, 1, IN_HOSPITAL),
        ([HOME | dead_at(9)], 10, 1, IN_HOSPITAL),  # the day may be one off
        ([HOME | dead_at(9)], 400, CONTRADICTED, CONTRADICTED),
        ([HOME | {"discharge_location": "DIED"}], None, 1, IN_HOSPITAL),
        ([HOME | {"hospital_expire_flag": 1}], None, 1, IN_HOSPITAL),  # 1406: the flag without a time
        ([HOME | {"deathtime": T0 - DAY, **DIED}], -1, DEAD_BEFORE, DEAD_BEFORE),  # an organ donor's account
        ([HOME | {"hadm_id": "b", "admittime": T0 - 9 * DAY} | dead_at(0), HOME], 0, DEAD_BEFORE, DEAD_BEFORE),  # 1194
        ([HOME | {"hadm_id": "b", "admittime": T0 + 5 * DAY} | dead_at(8), HOME], 8, 1, IN_HOSPITAL),  # 1520
        ([HOME | {"hadm_id": "b", "admittime": T0 - DAY} | dead_at(12), HOME], 12, 1, IN_HOSPITAL),  # inside another
        ([HOME | {"hadm_id": "b", "admittime": T0 + 8 * DAY} | dead_at(12), HOME], 12, 1, IN_HOSPITAL),
        ([HOME, HOME | {"hadm_id": "b", "dischtime": T0 + 12 * DAY}], None, 0, STILL_INSIDE),
        ([HOME | {"hadm_id": "b", "admittime": T0 + 90 * DAY, "dischtime": T0 + 99 * DAY}, HOME], 20, 0, CONTRADICTED),
        ([HOME | {"hadm_id": "b", "admittime": T0 + 25 * DAY, "dischtime": T0 + 29 * DAY}, HOME], 20, 0, 1),
        ([HOME, HOME], None, 0, 0),  # a patient listed twice
    ],
)  # fmt: skip
def test_dates_that_contradict_each_other(
    admissions: list[dict[str, Any]], died_on: int | None, mortality: int | str, readmission: int | str
) -> None:
    """The case is admission `a`: its label, or why it is left out."""
    stays = [{"hadm_id": "a", "stay_id": "a", "intime": T0 + timedelta(hours=1), "outtime": T0 + 5 * DAY}]
    with_icu, admitted = make(admissions, stays, None if died_on is None else (T0 + died_on * DAY).date())
    for rules, expected in (
        (in_hospital_mortality(with_icu, 48, 18), mortality),
        (readmission_30_days(with_icu, admitted, 48, 18), readmission),
    ):
        assert rules.cases["label"].to_list() == ([expected] if isinstance(expected, int) else [])
        assert {reason: n for reason, n in rules.exclusions if n} == (
            {} if isinstance(expected, int) else {expected: 1}
        )


def test_a_death_in_an_overlapping_admission_is_counted_and_ends_the_stay() -> None:
    stays = [{"hadm_id": "a", "stay_id": "a", "intime": T0, "outtime": T0 + 5 * DAY}]
    inside = HOME | {"hadm_id": "b", "admittime": T0 + DAY} | dead_at(2)
    rules = in_hospital_mortality(make([HOME, inside], stays)[0], 48, 18)
    assert dict(rules.exclusions)["ICU stay ended at or before the prediction time"] == 1
    rules = in_hospital_mortality(make([HOME, inside], stays)[0], 24, 18)
    assert rules.cases["label"].to_list() == [1]
    assert rules.notes == (
        "1 admissions say survival while the patient died in an overlapping admission: taken as deaths in hospital.",
    )
    rules = in_hospital_mortality(make([HOME | {"hospital_expire_flag": 1}], stays)[0], 24, 18)
    assert rules.notes == (
        "In 1 admissions hospital_expire_flag, deathtime and discharge_location disagree about a death: one that tells "
        "of it is believed.",
    )


@pytest.mark.parametrize(
    ("hours_in_icu", "hours_alive", "kept"), [(48, None, False), (49, None, True), (72, 48, False), (72, 50, True)]
)
def test_a_stay_that_ends_by_the_prediction_time_is_no_case(
    hours_in_icu: int, hours_alive: int | None, kept: bool
) -> None:
    death = None if hours_alive is None else T0 + timedelta(hours=hours_alive)
    admissions = [
        {"hadm_id": "a", "admittime": T0 - DAY, "dischtime": death or T0 + 9 * DAY, "deathtime": death,
         "hospital_expire_flag": int(death is not None)}
    ]  # fmt: skip
    stays = [{"hadm_id": "a", "stay_id": "s", "intime": T0, "outtime": T0 + timedelta(hours=hours_in_icu)}]
    rules = in_hospital_mortality(make(admissions, stays)[0], 48, 18)
    assert len(rules.cases) == int(kept)
    assert dict(rules.exclusions)["ICU stay ended at or before the prediction time"] == int(not kept)
    if kept:
        assert rules.cases["label"].to_list() == [int(death is not None)]


def test_age_counts_from_the_anchor_year() -> None:
    admissions = [{"hadm_id": "a", "admittime": T0, "dischtime": T0 + 9 * DAY}]
    stays = [{"hadm_id": "a", "stay_id": "s", "intime": T0, "outtime": T0 + 5 * DAY}]
    assert in_hospital_mortality(make(admissions, stays, age=16)[0], 48, 18).cases["age"].to_list() == [18.0]
    young = in_hospital_mortality(make(admissions, stays, age=15)[0], 48, 18)
    assert young.exclusions[0] == ("younger than 18 years", 1)


# --- Measurements on hand-made events ------------------------------------------------------------------------------

CASES = pl.DataFrame(
    {"case": [0], "patient_id": ["1"], "origin": [T0], "start": [T0], "end": [T0 + 2 * DAY],
     "predicted": [T0 + 2 * DAY],
     "case_id": ["s"], "age": [60.0], "sex": [None]},
    schema_overrides={"sex": pl.Float64},
)  # fmt: skip


Event = tuple[float, int, str | None, str | None]


def measure(
    table: str,
    rows: list[Event],
    *,
    stored: Sequence[str | None] | None = None,
    availability: Availability = "known",
) -> Any:
    """Events (hours, itemid, valuenum, valueuom) of one table, read in blocks of two."""
    frame = pl.DataFrame(
        {
            "patient_id": ["1"] * len(rows),
            "timestamp": [T0 + timedelta(hours=hours) for hours, *_ in rows],
            "itemid": [str(itemid) for _, itemid, *_ in rows],
            "value": [number for *_, number, _ in rows],
            "valuenum": [number for *_, number, _ in rows],
            "valueuom": [unit for *_, unit in rows],
            "storetime": stored or ["2150-06-02 00:00:00"] * len(rows),
            "row": range(len(rows)),
        },
        schema_overrides={"valuenum": pl.String, "value": pl.String, "valueuom": pl.String, "storetime": pl.String},
    )
    with tempfile.TemporaryDirectory() as folder:
        blocks = frame.iter_slices(max(2, len(frame) // 3))
        found = observed(CASES, {table: blocks}, vocabulary(), DEFAULT_CONCEPTS, availability, Path(folder) / "events")
        [(first, values)] = found.parts
    assert first == 0
    return SimpleNamespace(
        rows=values, implausible=found.implausible, stray_units=found.stray_units, result_times=found.result_times
    )


def values_of(measurements: Any, concept: str) -> list[tuple[float, float]]:
    rows = measurements.rows.filter(feature=DEFAULT_CONCEPTS.index(concept))
    return [(row["hours"], pytest.approx(row["value"])) for row in rows.iter_rows(named=True)]


def test_window_is_half_open() -> None:
    found = measure("labevents", [(-0.1, 50912, "1", "mg/dL"), (0, 50912, "2", "mg/dL"), (48, 50912, "3", "mg/dL")])
    assert values_of(found, "creatinine") == [(0.0, 2.0)]


def test_same_time_keeps_the_preferred_place_then_the_last_stored() -> None:
    arterial_first = [(1.0, 220052, "70", "mmHg"), (1.0, 220181, "90", "mmHg")]
    assert values_of(measure("chartevents", arterial_first), "mean_blood_pressure") == [(1.0, 70.0)]
    assert values_of(measure("chartevents", arterial_first[::-1]), "mean_blood_pressure") == [(1.0, 70.0)]
    twice = [(1.0, 50912, "1.0", "mg/dL"), (1.0, 50912, "1.4", "mg/dL")]
    later_first = ["2150-06-01 20:00:00", "2150-06-01 14:00:00"]
    assert values_of(measure("labevents", twice, stored=later_first), "creatinine") == [(1.0, 1.0)]
    assert values_of(measure("labevents", twice), "creatinine") == [(1.0, 1.4)]  # equal times: the later row


def test_the_rows_unit_counts_and_a_missing_one_is_the_items() -> None:
    found = measure(
        "labevents",
        [(1, 50931, "100", "mg/dL"), (2, 50931, "10", "mmol/L"), (3, 50931, "90", None), (4, 51237, "1.1", None)],
    )
    assert values_of(found, "glucose") == [(1.0, 100.0), (2.0, 180.156), (3.0, 90.0)]
    assert values_of(found, "inr") == [(4.0, 1.1)]
    oxygen = measure("chartevents", [(1, 223835, "0.4", None), (2, 223835, "50", None)])
    assert values_of(oxygen, "fraction_inspired_oxygen") == [(1.0, 40.0), (2.0, 50.0)]


def test_implausible_values_are_removed_and_counted() -> None:
    rows = [(float(hour), 220045, "80", "bpm") for hour in range(9)] + [(10.0, 220045, "900", "bpm")]
    found = measure("chartevents", rows)
    assert found.implausible == {"heart_rate": 1}
    assert len(values_of(found, "heart_rate")) == 9


def test_a_rare_stray_unit_is_removed_and_counted_a_frequent_one_stops() -> None:
    rows: list[Event] = [(h / 100, 50983, "140", "mEq/L") for h in range(2000)]
    found = measure("labevents", [*rows, (30.0, 50983, "140", "furlong")])
    assert found.stray_units == {"sodium": 1}
    assert len(values_of(found, "sodium")) == 2000
    with pytest.raises(UserError, match="sodium is given in 'furlong'"):
        measure("labevents", [*rows[:10], (30.0, 50983, "140", "furlong")])


def test_values_in_an_impossible_unit_stop() -> None:
    with pytest.raises(UserError, match="temperature: the median") as caught:
        measure("chartevents", [(float(hour), 223762, "98.6", "°C") for hour in range(10)])
    assert "itemid 223762" in caught.value.message
    assert "degC" in caught.value.message


def test_text_where_a_number_belongs() -> None:
    with pytest.raises(UserError, match="valuenum"):
        measure("labevents", [(1.0, 50912, "high", "mg/dL")])


def test_a_result_counts_once_it_was_known() -> None:
    """T0 + 48 h is the prediction time. A result keeps its clinical time, and charted values go by it alone."""
    rows: list[Event] = [(float(h), 50912, str(h), "mg/dL") for h in (1, 46, 47, 47.5)]
    stored = ["2150-06-01 14:00:00", "2150-06-03 11:59:59", "2150-06-03 12:00:00", None]
    found = measure("labevents", rows, stored=stored)
    assert values_of(found, "creatinine") == [(1.0, 1.0), (46.0, 46.0), (47.5, 47.5)]
    assert found.result_times == {"creatinine": ResultTimes(4, 1, 1, 1, pytest.approx((1, 1.9, 2), abs=1e-3))}
    drawn = measure("labevents", rows, stored=stored, availability="drawn")
    assert [hours for hours, _ in values_of(drawn, "creatinine")] == [1.0, 46.0, 47.0, 47.5]
    assert drawn.result_times["creatinine"].left_out == 0
    charted = measure("chartevents", [(47.0, 220045, "80", "bpm")], stored=["2150-06-03 13:00:00"])
    assert values_of(charted, "heart_rate") == [(47.0, 80.0)]
    assert charted.result_times == {}
    with pytest.raises(UserError, match=r"storetime that isn't a time .*'storetime'"):
        measure("labevents", rows[:1], stored=["yesterday"])


def test_an_earlier_version_stands_in_for_one_that_was_known_too_late() -> None:
    twice: list[tuple[float, int, str | None, str | None]] = [
        (47.0, 50912, "1.0", "mg/dL"),
        (47.0, 50912, "1.4", "mg/dL"),
    ]
    stored = ["2150-06-03 11:30:00", "2150-06-03 12:30:00"]
    assert values_of(measure("labevents", twice, stored=stored), "creatinine") == [(47.0, 1.0)]
    assert values_of(measure("labevents", twice, stored=stored, availability="drawn"), "creatinine") == [(47.0, 1.4)]


@pytest.mark.parametrize("task", ["in_hospital_mortality", "readmission_30_days"])
def test_late_results_of_the_hospital_are_left_out_and_counted(
    load: Callable[..., Cohort], tables: dict[str, pd.DataFrame], task: str
) -> None:
    known, drawn = load(task=task), load(task=task, availability="drawn")
    items = {int(p.keys["itemid"]): p.concept for p in vocabulary().source("mimic4") if p.keys["table"] == "labevents"}
    labs = tables["labevents"]
    labs = labs.assign(concept=labs["itemid"].map(items))
    labs = labs[labs["concept"].isin(DEFAULT_CONCEPTS) & labs["valuenum"].notna()]
    stays = tables["icustays"].sort_values("intime")
    drawn_in_window = []
    for case in drawn.cases:
        if task == "in_hospital_mortality":
            start = stays[stays["stay_id"] == int(case.case_id)].iloc[0]["intime"]
            end = predicted = start + timedelta(hours=48)
        else:
            stay = stays[stays["hadm_id"] == int(case.case_id)].iloc[-1]
            start, end = max(stay["outtime"] - timedelta(hours=48), stay["intime"]), stay["outtime"]
            predicted = tables["admissions"].set_index("hadm_id").loc[int(case.case_id), "dischtime"]
        own = labs[labs["subject_id"] == int(case.patient_id)]
        own = own[(own["charttime"] >= start) & (own["charttime"] < end)]
        drawn_in_window.append(own.assign(late=own["storetime"] >= predicted))
    expected = pd.concat(drawn_in_window)
    lag = (expected["storetime"] - expected["charttime"]).dt.total_seconds() / 3600
    for cohort, leaves_out in ((known, True), (drawn, False)):
        assert set(cohort.provenance.result_times) == set(expected["concept"])
        for concept, times in cohort.provenance.result_times.items():
            own = expected["concept"] == concept
            late = int(expected.loc[own, "late"].sum())
            assert (times.drawn, times.known_late, times.undated) == (int(own.sum()), late, 0)
            assert times.left_out == (late if leaves_out else 0)
            assert times.lag_hours == pytest.approx((lag[own].median(), lag[own].quantile(0.95), lag[own].max()))
    late, total = int(expected["late"].sum()), len(expected)
    assert (late > 100) == (task == "in_hospital_mortality")
    assert any(f"{late:,} of {total:,} laboratory values" in note for note in known.provenance.notes)
    assert any("are read all the same" in note for note in drawn.provenance.notes) or not late
    np.testing.assert_array_equal(known.labels, drawn.labels)


def test_unknown_sex_is_nan() -> None:
    found = measure("labevents", [(1.0, 50912, "1", "mg/dL")])
    case = records(CASES, found.rows, DEFAULT_CONCEPTS)[0]
    assert np.isnan(case.static["sex"])
    assert case.values_in_order(DEFAULT_CONCEPTS).shape == (1, len(DEFAULT_CONCEPTS))


# --- Bad input -----------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(hospital: Path, tmp_path: Path) -> Path:
    """A copy of the hospital's small tables; chartevents and labevents are cut to a few thousand rows."""
    root = tmp_path / "broken"
    for read in READ_TABLES:
        target = root / f"{read.file}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(hospital / f"{read.file}.gz", "rt", encoding="utf-8") as lines:
            kept = [line for line, _ in zip(lines, range(3000), strict=False)]
        target.write_bytes(gzip.compress("".join(kept).encode()))
    return root


def change(root: Path, name: str, edit: Callable[[str], str]) -> None:
    path = root / f"{TABLES[name].file}.gz"
    path.write_bytes(gzip.compress(edit(gzip.decompress(path.read_bytes()).decode()).encode()))


def fail(root: Path, tmp_path: Path) -> str:
    """The message of a run on `root`: planning asks for the files, then the stage loads."""

    def plan_and_load() -> None:
        dataset = Mimic4(Mimic4Params(root=str(root)))
        dataset.files()
        dataset.load(stage(tmp_path / "stage")).collect()

    with pytest.raises(UserError) as caught:
        plan_and_load()
    return caught.value.message


def test_missing_root(tmp_path: Path) -> None:
    message = fail(tmp_path / "nowhere", tmp_path)
    assert "nowhere" in message
    assert "physionet.org/content/mimiciv" in message
    assert "synthetic" in message


def test_missing_file(broken: Path, tmp_path: Path) -> None:
    (broken / "icu" / "chartevents.csv.gz").unlink()
    assert "there is no 'icu/chartevents.csv.gz or icu/chartevents.csv'" in fail(broken, tmp_path)


def test_missing_column(broken: Path, tmp_path: Path) -> None:
    change(broken, "labevents", lambda text: text.replace("valueuom", "unit", 1))
    message = fail(broken, tmp_path)
    assert "column valueuom" in message
    assert "labevents.csv.gz" in message


def test_not_gzip(broken: Path, tmp_path: Path) -> None:
    (broken / "hosp" / "patients.csv.gz").write_text("subject_id\n1\n")
    message = fail(broken, tmp_path)
    assert "can't be read" in message
    assert "patients.csv.gz" in message


def test_cut_off_gzip(broken: Path, tmp_path: Path) -> None:
    path = broken / "icu" / "chartevents.csv.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = fail(broken, tmp_path)
    assert "can't be read" in message
    assert "chartevents.csv.gz" in message


@pytest.mark.parametrize(("name", "column"), [("icustays", "intime"), ("icustays", "outtime"), ("patients", "dod")])
def test_a_time_that_is_none(broken: Path, tmp_path: Path, name: str, column: str) -> None:
    def edit(text: str) -> str:
        frame = pd.read_csv(io.StringIO(text), dtype=str)
        frame.loc[frame[column].first_valid_index(), column] = "yesterday"
        return frame.to_csv(index=False)

    change(broken, name, edit)
    message = fail(broken, tmp_path)
    assert name in message
    assert "yesterday" in message


def test_rows_of_joined_exports_count_once(broken: Path, tmp_path: Path) -> None:
    whole = Mimic4(Mimic4Params(root=str(broken))).load(stage(tmp_path / "whole")).collect()
    for name in ("patients", "admissions", "icustays"):
        change(broken, name, lambda text: text + "".join(text.splitlines(keepends=True)[1:6]))
    joined = Mimic4(Mimic4Params(root=str(broken))).load(stage(tmp_path / "joined")).collect()
    assert joined.cases.case_ids == whole.cases.case_ids
    np.testing.assert_array_equal(joined.labels, whole.labels)
    assert joined.provenance == whole.provenance


@pytest.mark.parametrize(
    ("name", "key", "column", "other"),
    [
        ("patients", "subject_id", "anchor_age", "44"),
        ("admissions", "hadm_id", "dischtime", "2150-01-31 13:45:00"),
        ("icustays", "stay_id", "first_careunit", "Another Unit"),
    ],
)
def test_a_second_row_that_differs_is_refused(
    broken: Path, tmp_path: Path, name: str, key: str, column: str, other: str
) -> None:
    def edit(text: str) -> str:
        frame = pd.read_csv(io.StringIO(text), dtype=str)
        return pd.concat([frame, frame.head(1).assign(**{column: other})]).to_csv(index=False)

    change(broken, name, edit)
    message = fail(broken, tmp_path)
    assert f"{key} " in message
    assert "has several rows that differ" in message


@pytest.mark.parametrize(("flag", "said"), [("", "has none"), ("2", "has 2"), ("NA", '["NA"]')])
def test_an_admission_without_outcome_is_refused(broken: Path, tmp_path: Path, flag: str, said: str) -> None:
    def edit(text: str) -> str:
        frame = pd.read_csv(io.StringIO(text), dtype=str)
        frame.loc[2, "hospital_expire_flag"] = flag
        return frame.to_csv(index=False)

    change(broken, "admissions", edit)
    message = fail(broken, tmp_path)
    assert "hospital_expire_flag" in message
    assert said in message


def test_unpacked_files_are_read_too(broken: Path, tmp_path: Path) -> None:
    packed = Mimic4(Mimic4Params(root=str(broken))).load(stage(tmp_path / "packed")).collect()
    for path in list(broken.rglob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    dataset = Mimic4(Mimic4Params(root=str(broken)))
    assert all(path.suffix == ".csv" for path in dataset.files())
    unpacked = dataset.load(stage(tmp_path / "unpacked")).collect()
    assert packed.cases.case_ids == unpacked.cases.case_ids
    assert len(packed.cases) > 0


def test_cases_without_measurement_are_counted(broken: Path, tmp_path: Path, tables: dict[str, pd.DataFrame]) -> None:
    cohort = Mimic4(Mimic4Params(root=str(broken))).load(stage(tmp_path / "stage")).collect()
    expected, _ = expected_mortality(tables, 48)
    without = dict(cohort.provenance.exclusions)["no measurement in the observation window"]
    assert without > 0
    assert len(cohort.cases) + without == len(expected)
    assert len(cohort.labels) == len(cohort.cases) == len(cohort.groups["icu_type"])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"concepts": ("heart_rat",)}, "MIMIC-IV has no heart_rat"),
        ({"concepts": ("sodium", "sodium")}, "named twice"),
        ({"concepts": ()}, "at least 1"),
        ({"window_hours": 0}, "greater than 0"),
        ({"task": "los"}, "in_hospital_mortality"),
        ({"windw_hours": 24}, "Extra inputs"),
        ({"root": ""}, "at least 1"),
    ],
)
def test_wrong_parameters(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Mimic4Params(**({"root": "synthetic"} | params))
