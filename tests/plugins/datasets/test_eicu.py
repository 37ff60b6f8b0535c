"""eICU-CRD: against a reading of the demo's files with pandas, hand-made vital signs, planted units, and bad files."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from eagbench.contracts.components import Dataset
from eagbench.contracts.records import Case, Cohort, ResultTimes
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets import case_partitions, csv_blocks
from eagbench_plugins.datasets.eicu import loader
from eagbench_plugins.datasets.eicu.dataset import Eicu
from eagbench_plugins.datasets.eicu.params import EicuParams
from eagbench_plugins.datasets.eicu.tables import EVENTS
from tests.conftest import Finished


def load(root: Path, tmp_path: Path, **params: Any) -> Cohort:
    folder = tmp_path / "stage"
    folder.mkdir(exist_ok=True)
    run = StageRun(params={}, inputs={}, seed=0, out=folder)
    return Eicu(EicuParams(root=root, **params)).load(run).collect()


@pytest.fixture(scope="module")
def demo(shared_data: Path) -> Path:
    return shared_data / "eicu-crd-demo"


@pytest.fixture(scope="module")
def cohort(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    folder = tmp_path_factory.mktemp("eicu")
    return load(demo, folder, tables=["lab", "physicalExam"], access="open")


@pytest.fixture(scope="module")
def stays(demo: Path) -> pd.DataFrame:
    """patient.csv, whose blank lines pandas skips."""
    return pd.read_csv(demo / "patient.csv")


def column(case: Case, name: str) -> dict[float, float]:
    values = case.values_in_order([name])[:, 0]
    return {
        time: value for time, value in zip(case.times.tolist(), values.tolist(), strict=True) if not np.isnan(value)
    }


# Computed with the loader that read through PyHealth and held everything (revision efb7e96).
FORMER = {
    ("lab", "physicalExam"): "15e68d6d14f8361e00e5565cbbd7fc2ba5db7f76fe8e04d55523a410529ecd47",
    ("lab",): "a648e8fa5c7e2c46eeb07ab40eba45d4a65119c1b3204b7c013b4ecd30e74add",
}


@pytest.mark.parametrize(
    ("tables", "size"), [(("lab", "physicalExam"), 1000), (("lab", "physicalExam"), 7), (("lab",), 20)]
)
def test_the_cohort_is_that_of_the_former_loader(
    demo: Path, tmp_path: Path, tables: tuple[str, ...], size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (case_partitions, loader):
        monkeypatch.setattr(module, "CASES", size)
    monkeypatch.setattr(csv_blocks, "ROWS", 100 * size)
    availability = "known" if len(tables) == 2 else "drawn"
    cohort = load(demo, tmp_path, tables=tables, access="open", availability=availability)
    found = hashlib.sha256()
    for case, label in zip(cohort.cases, cohort.labels, strict=True):
        found.update(repr((case.case_id, case.patient_id, case.features, dict(case.static), int(label))).encode())
        found.update(case.times.tobytes())
        found.update(case.values_in_order(case.features).tobytes())
    facts = [dict(cohort.groups), dataclasses.asdict(cohort.provenance)]
    found.update(json.dumps(facts, sort_keys=True).encode())
    assert found.hexdigest() == FORMER[tables]


def test_facts(stays: pd.DataFrame, demo: Path) -> None:
    """The facts of the data's README hold of the files that the other tests use."""
    assert (len(stays), stays["uniquepid"].nunique()) == (174, 100)
    assert (stays["hospitaldischargestatus"] == "Expired").sum() == 9
    assert "\n\n" in (demo / "patient.csv").read_text().replace("\r", "")


def test_cases_and_labels(cohort: Cohort, stays: pd.DataFrame) -> None:
    kept = stays[stays["unitstaytype"] != "stepdown/other"].sort_values("unitvisitnumber", kind="stable")
    kept = kept.groupby("patienthealthsystemstayid", as_index=False).first()
    age = kept["age"].replace("> 89", "90").astype(float)
    ended = kept[["unitdischargeoffset", "hospitaldischargeoffset"]].min(axis=1)
    kept = kept[(age >= 18) & kept["hospitaldischargestatus"].notna() & (ended > 24 * 60)]
    expected = kept.set_index(kept["patientunitstayid"].astype(str))
    assert sorted(cohort.cases.case_ids) == sorted(expected.index)
    expected = expected.loc[list(cohort.cases.case_ids)]
    np.testing.assert_array_equal(cohort.labels, expected["hospitaldischargestatus"] == "Expired")
    assert list(cohort.cases.patient_ids) == expected["uniquepid"].tolist()
    assert list(cohort.groups["icu_type"]) == expected["unittype"].tolist()
    assert list(cohort.groups["hospital"]) == expected["hospitalid"].astype(str).tolist()
    assert [case.static["sex"] for case in cohort.cases] == (expected["gender"] == "Male").astype(float).tolist()
    assert cohort.labels.sum() == 4
    assert cohort.provenance.n_patients_read == 100
    assert sum(n for _, n in cohort.provenance.exclusions) + len(cohort.cases) == 174
    assert not cohort.provenance.patient_is_stay
    assert any(case.static["age"] == 90 for case in cohort.cases)


def test_laboratory_values_are_those_of_the_file(cohort: Cohort, demo: Path) -> None:
    """An independent reading: the last revision known in time, laboratory before bedside, the hospital's units."""
    lab = pd.read_csv(demo / "lab.csv")
    lab = lab[lab["labresult"].notna() & (lab["labresultoffset"] >= 0) & (lab["labresultoffset"] < 24 * 60)]
    lab = lab[lab["labresultrevisedoffset"] < 24 * 60]
    factor = {"magnesium": ("meq/L", 1.21525)}
    names = {"creatinine": ["creatinine"], "magnesium": ["magnesium"], "glucose": ["bedside glucose", "glucose"]}
    names |= {"white_blood_cells": ["WBC x 1000"], "ionized_calcium": ["ionized calcium"]}
    checked = 0
    for case in cohort.cases:
        mine = lab[lab["patientunitstayid"] == int(case.case_id)]
        for name, tests in names.items():
            expected: dict[float, float] = {}
            for test in tests:
                rows = mine[mine["labname"] == test].sort_values("labresultrevisedoffset", kind="stable")
                columns = ["labresultoffset", "labresult", "labmeasurenameinterface"]
                for offset, value, unit in rows[columns].to_numpy().tolist():
                    if unit == factor.get(name, ("", 1))[0]:
                        value *= factor[name][1]
                    if name == "ionized_calcium" and value > 2:  # mg/dL, whatever its label says
                        value *= 0.249513
                    expected[offset / 60] = value
            assert column(case, name) == pytest.approx(expected, rel=1e-5)
            checked += len(expected)
    assert checked > 500


def test_results_known_too_late_are_left_out_and_counted(cohort: Cohort, demo: Path, tmp_path: Path) -> None:
    """The cases have 4,408 results in the window, 4,386 of them numbers, of which 181 were known at 24 h or later.

    The vocabulary reads 4,015 of them, and leaves out 147.
    """
    lab = pd.read_csv(demo / "lab.csv")
    lab = lab[lab["patientunitstayid"].astype(str).isin(cohort.cases.case_ids)]
    lab = lab[(lab["labresultoffset"] >= 0) & (lab["labresultoffset"] < 24 * 60)]
    numbers = lab[lab["labresult"].notna()]
    assert (len(lab), len(numbers), int((numbers["labresultrevisedoffset"] >= 24 * 60).sum())) == (4408, 4386, 181)
    times = cohort.provenance.result_times
    names: dict[str, list[str]] = {}
    for place in vocabulary().source("eicu"):
        if place.keys["table"] == "lab":
            names.setdefault(place.concept, []).append(str(place.keys["labname"]))
    for concept, tests in names.items():
        own = numbers[numbers["labname"].isin(tests)]
        if own.empty:
            assert concept not in times
            continue
        late = int((own["labresultrevisedoffset"] >= 24 * 60).sum())
        lag = (own["labresultrevisedoffset"] - own["labresultoffset"]) / 60
        assert times[concept] == ResultTimes(
            len(own), late, late, 0, pytest.approx((lag.median(), lag.quantile(0.95), lag.max()))
        )
    assert sum(each.drawn for each in times.values()) == 4015
    assert sum(each.left_out for each in times.values()) == 147
    said = "147 of 4,015 laboratory values drawn in the windows were known only at or after the prediction time"
    assert any(note.startswith(said) and "an upper bound) and are left out" in note for note in cohort.provenance.notes)
    drawn = load(demo, tmp_path, tables=["lab", "physicalExam"], access="open", availability="drawn")
    assert [each.left_out for each in drawn.provenance.result_times.values()] == [0] * len(times)
    assert drawn.cases.case_ids == cohort.cases.case_ids
    more = [np.isfinite(case.values).sum() for case in drawn.cases]
    assert sum(more) > sum(np.isfinite(case.values).sum() for case in cohort.cases)


def test_data_check_lists_results_by_when_they_were_known(tmp_path: Path, cli: Callable[..., Finished]) -> None:
    labs: list[dict[str, Any]] = [
        {"labresult": 1.2},
        {"labresult": 1.3, "labresultoffset": 1400, "labresultrevisedoffset": 1490},
    ]
    done = cli("data", "check", "eicu", "--set", f"root={write(tmp_path, [{}], lab=labs)}", "--set", "tables=[lab]")
    assert done.code == 0
    header, line = done.out.rstrip().splitlines()[-2:]
    assert header.startswith("laboratory values, lag in hours")
    assert line.split() == ["creatinine", "2", "1", "1", "0", "0.8", "1.4", "1.5"]


def test_a_result_without_a_second_time_counts_as_known_when_drawn(tmp_path: Path) -> None:
    labs: list[dict[str, Any]] = [
        {"labresult": 1.1, "labresultrevisedoffset": ""},
        {"labresult": 1.2, "labresultoffset": 1400, "labresultrevisedoffset": 1440},
        {"labresult": 1.3, "labresultoffset": 1400, "labresultrevisedoffset": 1439},
        {"labresult": 1.4, "labresultoffset": 1410, "labresultrevisedoffset": 2000},
    ]
    root = write(tmp_path, [{}], lab=labs)
    known = load(root, tmp_path, tables=["lab"])
    assert column(known.cases[0], "creatinine") == pytest.approx({1: 1.1, 1400 / 60: 1.3})
    assert known.provenance.result_times["creatinine"] == ResultTimes(
        4, 2, 2, 1, pytest.approx((40 / 60, 535 / 60, 590 / 60))
    )
    assert any(
        note.endswith("1 values have no such time and count as known when drawn.") for note in known.provenance.notes
    )
    drawn = load(root, tmp_path, tables=["lab"], availability="drawn")
    assert column(drawn.cases[0], "creatinine") == pytest.approx({1: 1.1, 1400 / 60: 1.2, 1410 / 60: 1.4})


def test_vital_signs_of_the_physical_examination(cohort: Cohort, demo: Path) -> None:
    exam = pd.read_csv(demo / "physicalExam.csv")
    exam = exam[(exam["physicalexamoffset"] >= 0) & (exam["physicalexamoffset"] < 24 * 60)]
    endings = {"heart_rate": "/HR/HR Current", "systolic_blood_pressure": "/BP (systolic)/BP (systolic) Current"}
    checked = 0
    for case in cohort.cases:
        mine = exam[exam["patientunitstayid"] == int(case.case_id)]
        for name, ending in endings.items():
            rows = mine[mine["physicalexampath"].str.endswith(ending)]
            assert column(case, name) == dict(
                zip(rows["physicalexamoffset"] / 60, rows["physicalexamtext"].astype(float), strict=True)
            )
            checked += len(rows)
        motor = mine[mine["physicalexampath"].str.contains("GCS/Motor Score/", regex=False)]
        scores = motor["physicalexampath"].str.rsplit("/", n=1).str[1].astype(float)
        assert column(case, "gcs_motor") == dict(zip(motor["physicalexamoffset"] / 60, scores, strict=True))
    assert checked > 100


def test_a_planted_unit_stops_and_is_named(demo: Path, tmp_path: Path, cli: Callable[..., Finished]) -> None:
    """Glucose of the laboratory in mmol/L under its old label, through the command line."""
    (tmp_path / "patient.csv").write_bytes((demo / "patient.csv").read_bytes())
    lab = pd.read_csv(demo / "lab.csv", dtype={"labresult": float})
    lab.loc[lab["labname"] == "glucose", "labresult"] /= 18.0156
    lab.to_csv(tmp_path / "lab.csv", index=False)
    done = cli("data", "check", "eicu", "--set", f"root={tmp_path}", "--set", "tables=[lab]")
    assert done.code == 2
    for part in ("lab.csv", "labname 'glucose'", "glucose", "Expected unit: mg/dL", "found: mmol/L"):
        assert part in done.err
    assert "Traceback" not in done.err


# --- Small hand-made data sets ---------------------------------------------------------------------------------------

PATIENT_ROW = {
    "uniquepid": "p1",
    "patientunitstayid": 1,
    "patienthealthsystemstayid": 11,
    "hospitalid": 7,
    "gender": "Male",
    "age": "60",
    "unittype": "MICU",
    "unitstaytype": "admit",
    "unitvisitnumber": 1,
    "unitdischargeoffset": 9000,
    "unitdischargestatus": "Alive",
    "unitdischargelocation": "Floor",
    "hospitaldischargeoffset": 9900,
    "hospitaldischargestatus": "Alive",
    "hospitaldischargelocation": "Home",
}
EXPIRED = {"unitdischargestatus": "Expired", "unitdischargelocation": "Death"}
BLANK = {"hospitaldischargestatus": "", "hospitaldischargelocation": ""}
LAB_ROW = {
    "patientunitstayid": 1,
    "labresultoffset": 60,
    "labname": "creatinine",
    "labresult": 1.0,
    "labmeasurenamesystem": "mg/dL",
    "labmeasurenameinterface": "mg/dL",
    "labresultrevisedoffset": 70,
}


def write(root: Path, patients: list[dict[str, Any]], **tables: list[dict[str, Any]]) -> Path:
    """The given rows; what a row leaves out is as in PATIENT_ROW and LAB_ROW, or empty."""
    pd.DataFrame([PATIENT_ROW | row for row in patients]).to_csv(root / "patient.csv", index=False)
    for name, rows in tables.items():
        table = EVENTS[name]
        default = LAB_ROW if name == "lab" else dict.fromkeys((*table.columns, str(table.offset)))
        frame = pd.DataFrame([default | {"patientunitstayid": 1} | row for row in rows], columns=list(default))
        frame.to_csv(root / table.file, index=False)
    return root


def test_which_stay_of_an_admission_is_a_case(tmp_path: Path) -> None:
    dead = {"hospitaldischargestatus": "Expired"}
    patients: list[dict[str, Any]] = [
        dead | {"patientunitstayid": 1, "unitstaytype": "stepdown/other", "unitvisitnumber": 1},
        dead | {"patientunitstayid": 2, "unitvisitnumber": 2},
        dead | {"patientunitstayid": 3, "unitvisitnumber": 3},
        {"patientunitstayid": 4, "patienthealthsystemstayid": 12, "age": "17"},
        {"patientunitstayid": 5, "patienthealthsystemstayid": 13, "age": "> 89", "gender": "Unknown"},
        BLANK | {"patientunitstayid": 6, "patienthealthsystemstayid": 14},
        {"patientunitstayid": 7, "patienthealthsystemstayid": 15, "unitdischargeoffset": 1440},
        {"patientunitstayid": 8, "patienthealthsystemstayid": 16, "age": ""},
        {"patientunitstayid": 9, "patienthealthsystemstayid": 17},
    ]
    labs = [{"patientunitstayid": stay} for stay in range(1, 9)] + [{"patientunitstayid": 9, "labresultoffset": -5}]
    cohort = load(write(tmp_path, patients, lab=labs), tmp_path, tables=["lab"])
    assert cohort.cases.case_ids == ("2", "5", "8")
    assert cohort.labels.tolist() == [1, 0, 0]
    assert cohort.cases[1].static["age"] == 90
    assert np.isnan(cohort.cases[1].static["sex"])
    assert np.isnan(cohort.cases[2].static["age"])
    assert [count for _, count in cohort.provenance.exclusions] == [1, 1, 1, 1, 0, 1, 1]
    assert cohort.provenance.access == "credentialed"


@pytest.mark.parametrize(
    ("stays", "label"),
    [
        ([EXPIRED], None),  # eicu-code 188: dead in the unit, alive at discharge from the hospital
        ([EXPIRED | BLANK], 1),
        ([BLANK | {"hospitaldischargelocation": "Death"}], 1),
        ([{"hospitaldischargelocation": "Death"}], None),
        ([{"unitdischargelocation": "Death"}], None),
        ([{}, EXPIRED], None),  # dead in a later unit of the admission
        ([BLANK, EXPIRED | BLANK], 1),
        ([EXPIRED | BLANK, BLANK], None),  # in a further unit after death
        ([EXPIRED | BLANK, {"hospitaldischargestatus": "Expired"}], 1),
        ([BLANK], None),
        ([{"hospitaldischargestatus": "Expired", "hospitaldischargelocation": "Death"}], 1),
        ([{}], 0),
    ],
)
def test_columns_that_disagree_about_a_death(tmp_path: Path, stays: list[dict[str, Any]], label: int | None) -> None:
    """A second admission, a plain one, keeps the cohort from being empty."""
    rows = [row | {"patientunitstayid": i + 1, "unitvisitnumber": i + 1} for i, row in enumerate(stays)]
    other = {"patientunitstayid": 9, "patienthealthsystemstayid": 99}
    labs = [{"patientunitstayid": 1}, {"patientunitstayid": 9}]
    cohort = load(write(tmp_path, [*rows, other], lab=labs), tmp_path, tables=["lab"])
    labels = dict(zip(cohort.cases.case_ids, cohort.labels.tolist(), strict=True))
    assert labels == ({} if label is None else {"1": label}) | {"9": 0}
    exclusions = dict(cohort.provenance.exclusions)
    contradicted = exclusions["called dead and alive: the columns on the discharge disagree"]
    unknown = exclusions["unknown whether the patient left the hospital alive"]
    assert contradicted + unknown == (label is None)
    assert unknown == (stays == [BLANK])
    told = any(
        "no status at discharge from the hospital and count as deaths" in note for note in cohort.provenance.notes
    )
    assert told == (label == 1 and all(row.get("hospitaldischargestatus") == "" for row in stays))


def test_vital_signs_by_precedence_unit_and_interval(tmp_path: Path) -> None:
    periodic: list[dict[str, Any]] = [
        {"observationoffset": 0, "heartrate": 80, "temperature": 98.6, "systemicmean": 70},
        {"observationoffset": 55, "heartrate": 82},
        {"observationoffset": 58, "sao2": 97},
        {"observationoffset": 65, "heartrate": 84, "temperature": 37.5},
        {"observationoffset": 1440, "heartrate": 200},
    ]
    aperiodic = [
        {"observationoffset": 0, "noninvasivemean": 75, "noninvasivesystolic": 120},
        {"observationoffset": 5, "noninvasivemean": 76},
    ]
    labs: list[dict[str, Any]] = [
        {"labresult": 1.2, "labresultrevisedoffset": 90},
        {"labresult": 1.1},
        {"labname": "CRP", "labresult": 5, "labmeasurenamesystem": "mg/dL"},
        {"labname": "CRP", "labresult": 60, "labmeasurenameinterface": "MG/L", "labresultoffset": 120},
        {"labname": "FiO2", "labresult": 0.4, "labmeasurenamesystem": "%", "labmeasurenameinterface": ""},
        {"labname": "WBC x 1000", "labresult": 9, "labmeasurenamesystem": "K/mcL", "labmeasurenameinterface": "gigas"},
    ]
    root = write(tmp_path, [{}], lab=labs, vitalPeriodic=periodic, vitalAperiodic=aperiodic)
    cohort = load(root, tmp_path)
    (case,) = cohort.cases
    assert column(case, "heart_rate") == pytest.approx({55 / 60: 82, 65 / 60: 84})
    assert column(case, "oxygen_saturation") == pytest.approx({58 / 60: 97})
    assert column(case, "temperature") == pytest.approx({0: 37, 65 / 60: 37.5})
    assert column(case, "mean_blood_pressure") == pytest.approx({0: 70, 5 / 60: 76})
    assert column(case, "systolic_blood_pressure") == {0: 120}
    assert column(case, "creatinine") == pytest.approx({1: 1.2})
    assert column(case, "c_reactive_protein") == {1: 50, 2: 60}
    assert column(case, "fraction_inspired_oxygen") == pytest.approx({1: 40})
    assert column(case, "white_blood_cells") == {1: 9}
    assert any("1 laboratory values name a hospital's unit that is not known (most often gigas)" in note
               for note in cohort.provenance.notes)  # fmt: skip
    few = load(root, tmp_path, concepts=["creatinine", "heart_rate"], periodic_minutes=5)
    assert few.cases.feature_names == ("creatinine", "heart_rate")
    assert len(column(few.cases[0], "heart_rate")) == 3


def test_gzipped_files_are_read_as_well(tmp_path: Path) -> None:
    write(tmp_path, [{}], lab=[{}])
    (tmp_path / "lab.csv.gz").write_bytes(gzip.compress((tmp_path / "lab.csv").read_bytes()))
    (tmp_path / "lab.csv").unlink()
    assert len(load(tmp_path, tmp_path, tables=["lab"]).cases) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [{"labmeasurenamesystem": "furlong", "labmeasurenameinterface": ""}],
            "creatinine is given in 'furlong'.*mg/dL",
        ),
        (
            [{"labresult": 88 + i, "labresultoffset": i} for i in range(6)],
            "expected|Expected unit: mg/dL; found: umol/L",
        ),
        ([{"labresult": "fast"}], "text where a number belongs"),
        ([{"labresultoffset": "early"}], r"lab.csv: the file can't be read"),
    ],
)
def test_values_that_make_no_sense_stop(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=f"(?s){message}"):
        load(write(tmp_path, [{}], lab=rows), tmp_path, tables=["lab"])


def test_what_is_too_large_for_the_demo_is_not_open(tmp_path: Path) -> None:
    rows = [{"patientunitstayid": i, "patienthealthsystemstayid": i, "uniquepid": f"p{i}"} for i in range(1, 2602)]
    root = write(tmp_path, rows, lab=[{}])
    assert len(load(root, tmp_path, tables=["lab"]).cases) == 1
    with pytest.raises(UserError, match="2601 unit stays are more than eICU's open demo holds"):
        load(root, tmp_path, tables=["lab"], access="open")


def test_bad_patients_are_named(tmp_path: Path) -> None:
    for row, message in (
        ({"age": "old"}, "holds a value that can't be read"),
        ({"unitdischargeoffset": ""}, "1 rows have no unitdischargeoffset"),
        ({"gender": "Female"}, "a patientunitstayid has rows that differ"),
    ):
        root = write(tmp_path, [row, {}] if "gender" in row else [row], lab=[{}])
        with pytest.raises(UserError, match=message):
            load(root, tmp_path, tables=["lab"])


def test_rows_of_joined_exports_count_once(tmp_path: Path) -> None:
    cohort = load(write(tmp_path, [{}, {}], lab=[{}]), tmp_path, tables=["lab"])
    assert cohort.cases.case_ids == load(write(tmp_path, [{}], lab=[{}]), tmp_path, tables=["lab"]).cases.case_ids
    assert cohort.provenance.n_patients_read == 1


def test_a_status_is_alive_expired_or_unknown(tmp_path: Path) -> None:
    for status, label in (("Alive", 0), ("Expired", 1)):
        cohort = load(write(tmp_path, [{"hospitaldischargestatus": status}], lab=[{}]), tmp_path, tables=["lab"])
        assert cohort.labels.tolist() == [label]
    for status in ("NA", "null", " "):
        cohort = load(write(tmp_path, [{"hospitaldischargestatus": status}], lab=[{}]), tmp_path, tables=["lab"])
        assert dict(cohort.provenance.exclusions)["unknown whether the patient left the hospital alive"] == 1
        assert len(cohort.cases) == 0
    root = write(tmp_path, [{"hospitaldischargestatus": "dead"}], lab=[{}])
    with pytest.raises(UserError, match="'hospitaldischargestatus' must hold Alive or Expired, not 'dead'"):
        load(root, tmp_path, tables=["lab"])


def test_missing_files_and_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        Eicu(EicuParams(root=tmp_path / "nowhere")).files()
    root = write(tmp_path, [{}], lab=[{}])
    with pytest.raises(UserError, match=r"there is no 'vitalPeriodic.csv.gz or vitalPeriodic.csv'"):
        Eicu(EicuParams(root=root)).files()
    assert [path.name for path in Eicu(EicuParams(root=root, tables=("lab",))).files()] == ["patient.csv", "lab.csv"]
    text = (root / "lab.csv").read_text().replace("labresultrevisedoffset", "other")
    (root / "lab.csv").write_text(text)
    with pytest.raises(UserError, match=r"lab.csv: column labresultrevisedoffset is missing"):
        Eicu(EicuParams(root=root, tables=("lab",))).files()
    (root / "lab.csv").unlink()
    (root / "lab.csv.gz").write_bytes(gzip.compress(text.encode())[:10])
    with pytest.raises(UserError, match="the file can't be read"):
        Eicu(EicuParams(root=root, tables=("lab",))).files()


def test_a_concept_that_no_table_holds_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, [{}], lab=[{}])
    with pytest.raises(UserError, match="heart_rate can't be read from lab"):
        load(root, tmp_path, tables=["lab"], concepts=["heart_rate"])


def test_parameters_are_strict() -> None:
    assert isinstance(Eicu(EicuParams(root=Path("x"))), Dataset)
    assert Eicu(EicuParams(root=Path("x"))).access() == "credentialed"
    for wrong in (
        {"tables": ["labs"]},
        {"tables": ["lab", "lab"]},
        {"concepts": ["sugar"]},
        {"concepts": ["glucose", "glucose"]},
        {"access": "synthetic"},
        {"window_hours": 0},
    ):
        with pytest.raises(ValidationError):
            EicuParams(root="x", **wrong)  # type: ignore[arg-type]
