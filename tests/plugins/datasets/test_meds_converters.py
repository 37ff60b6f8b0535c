"""MEDS as its converters write it: codes, sexes, optional columns, whose subject is whose, and splits of the source."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml

from eagbench.api import SOURCE_SPLIT, Cohort, StageRun, UserError, vocabulary
from eagbench_plugins.datasets.meds.codes import places_of, read_code_file, unit_in_code
from eagbench_plugins.datasets.meds.dataset import Meds
from eagbench_plugins.datasets.meds.params import CODE_FILES, READY, MedsParams
from tests.conftest import Finished

NOON = datetime(2150, 1, 2, 12)
PARAMS = {"task": "in_hospital_mortality", "outcome": "die", "access": "open", "window_hours": 24}
Row = tuple[int, float | None, str, float | None, str | None]


def load(root: Path, **params: Any) -> Cohort:
    given = {**PARAMS, "labels": root / "labels.parquet", **params}
    with tempfile.TemporaryDirectory() as folder:
        return Meds(MedsParams(root=root, **given)).load(StageRun({}, {}, 0, Path(folder))).collect()


def write(root: Path, rows: list[Row], subjects: range = range(1, 5), without: tuple[str, ...] = ()) -> Path:
    """Write events (subject, hours before noon or None, code, number, text) and a label for each subject at noon."""
    (root / "data" / "train").mkdir(parents=True)
    (root / "metadata").mkdir()
    schema = {"subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String}
    schema |= {"numeric_value": pl.Float32, "text_value": pl.String}
    timed = [(s, None if h is None else NOON - timedelta(hours=h), *rest) for s, h, *rest in rows]
    frame = pl.DataFrame(timed, schema=schema, orient="row").drop(without)
    frame.write_parquet(root / "data" / "train" / "0.parquet")
    pl.DataFrame(
        [(s, NOON, s % 2 == 0) for s in subjects],
        schema={"subject_id": pl.Int64, "prediction_time": pl.Datetime("us"), "boolean_value": pl.Boolean},
        orient="row",
    ).write_parquet(root / "labels.parquet")
    return root


def born(subject: int, sex: str | None = "GENDER//Male") -> list[Row]:
    rows: list[Row] = [(subject, 24 * 365.25 * 60, "MEDS_BIRTH", None, None)]
    return rows if sex is None else [*rows, (subject, None, sex, None, None)]


def glucose(subject: int, value: float = 100, code: str = "LAB//RESULT//50931//mg/dL") -> Row:
    return subject, 2, code, value, None


def plain(root: Path, **kwargs: Any) -> Path:
    return write(root, [row for s in range(1, 5) for row in (*born(s), glucose(s))], **kwargs)


@pytest.mark.parametrize(
    ("code", "unit"),
    [
        ("LAB//RESULT//50931//mg/dL", "mg/dL"),
        ("LAB//RESULT//50931//UNK", None),
        ("LAB//RESULT//50931", None),
        ("LAB//50931//mg/dL", "mg/dL"),
        ("LAB//RESULT//O2 Sat (%)//%", "%"),
        ("LOINC//2345-7//mg/dL", "mg/dL"),
    ],
)
def test_the_unit_is_behind_the_item(code: str, unit: str | None) -> None:
    assert unit_in_code(code) == unit


def test_a_star_stands_for_the_unit_of_the_code(tmp_path: Path) -> None:
    (tmp_path / "codes.yaml").write_text(
        "LAB//RESULT//50931//*: {concept: glucose, unit: mg/dL}\n"
        "LAB//RESULT//1//*: {concept: fraction_inspired_oxygen, unit: '%', "
        "mixed: {unit: fraction, low: 0.2, high: 1.0}}\n"
        "LAB//RESULT//50931//mmol/L: {concept: glucose}\n"
    )
    written = read_code_file(tmp_path / "codes.yaml", vocabulary())
    codes = [f"LAB//RESULT//50931//{unit}" for unit in ("mg/dL", "UNK", "mmol/L")]
    places = places_of([*codes, "LAB//RESULT//509310//mg/dL", "LAB//RESULT//1//%"], {}, written, vocabulary())
    assert [(place.keys["code"], place.unit) for place in places] == [
        ("LAB//RESULT//50931//UNK", "mg/dL"),
        ("LAB//RESULT//50931//mg/dL", "mg/dL"),
        ("LAB//RESULT//1//%", "%"),
        ("LAB//RESULT//50931//mmol/L", "mmol/L"),
    ]


@pytest.mark.parametrize("name", READY)
def test_a_ready_file_says_of_each_code_what_the_vocabulary_says_of_its_place(name: str) -> None:
    source = "eicu" if name == "eicu-meds" else "mimic4"
    items = [item for item in vocabulary().source(source) if item.keys["table"] != "physicalexam"]
    read = read_code_file(CODE_FILES / f"{name}.yaml", vocabulary())
    assert [(i.concept, i.unit, i.values, i.mixed) for i in items] == [
        # `1` says that there is no unit, as does a missing one for a score or ratio
        (place.concept, {"UNK": item.unit}.get(place.unit, place.unit), place.values, place.mixed)
        for item, place in zip(items, read.values(), strict=True)
    ]
    for item, code in zip(items, read, strict=True):
        for key in {"itemid", "labname"} & item.keys.keys():
            assert str(item.keys[key]) in code.split("//")


def test_codes_of_mimic_iv_meds_are_found_by_the_ready_file(tmp_path: Path) -> None:
    rows = [
        row for s in range(1, 5) for row in (*born(s, "GENDER//F"), glucose(s), (s, 1, "LAB//220045//bpm", 80, None))
    ]
    cohort = load(write(tmp_path, rows), codes="mimic-iv-meds")
    assert cohort.cases.feature_names == ("heart_rate", "glucose")
    assert [case.values_in_order(["glucose"])[0, 0] for case in cohort.cases] == [100] * 4
    assert {case.static["sex"] for case in cohort.cases} == {0}
    older = [
        row if row[2] != "LAB//RESULT//50931//mg/dL" else glucose(row[0], code="LAB//50931//mg/dL") for row in rows
    ]
    demo = load(write(tmp_path / "demo", older), codes="mimic-iv-demo-meds")
    assert demo.cases.feature_names == ("heart_rate", "glucose")


def test_a_shard_may_lack_numbers_and_texts(tmp_path: Path) -> None:
    plain(tmp_path)
    pl.DataFrame(
        {"subject_id": [1], "time": [NOON - timedelta(hours=3)], "code": ["ICU_ADMISSION//x"]},
        schema_overrides={"time": pl.Datetime("us")},
    ).write_parquet(tmp_path / "data" / "train" / "1.parquet")
    assert len(load(tmp_path, codes="mimic-iv-meds").cases) == 4


def test_hidden_files_are_no_shards(tmp_path: Path) -> None:
    plain(tmp_path)
    hidden = tmp_path / "data" / "train" / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "0-checkpoint.parquet").write_bytes(b"no Parquet at all")
    assert len(load(tmp_path, codes="mimic-iv-meds").cases) == 4


def test_a_fact_that_is_unknown_for_all_stops_a_check_unless_declared(
    tmp_path: Path, cli: Callable[..., Finished]
) -> None:
    write(tmp_path, [row for s in range(1, 5) for row in (*born(s, f"SEX//{s}"), glucose(s))])
    sets = [f"root={tmp_path}", f"labels={tmp_path}/labels.parquet", "codes=mimic-iv-meds"]
    sets += [f"{key}={value}" for key, value in PARAMS.items()]
    done = cli("data", "check", "meds", *(part for text in sets for part in ("--set", text)))
    assert done.code == 2
    assert "sex is unknown for all 4 cases" in done.err
    done = cli("data", "check", "meds", *(part for text in (*sets, "unknown=[sex]") for part in ("--set", text)))
    assert done.code == 0, done.err


# --- Subjects and patients -------------------------------------------------------------------------------------------


def with_patients(root: Path, patients: dict[int, list[str]]) -> Path:
    codes = [(s, None, f"PATIENT//{name}", None, None) for s, names in patients.items() for name in names]
    return write(root, [*(row for s in range(1, 5) for row in (*born(s), glucose(s))), *codes])


def test_a_code_may_carry_the_patient(tmp_path: Path) -> None:
    with_patients(tmp_path, {1: ["a"], 2: ["a"], 3: ["b"], 4: ["c"]})
    cohort = load(tmp_path, codes="mimic-iv-meds", patient_of="PATIENT//*")
    assert cohort.cases.patient_ids == ("a", "a", "b", "c")
    assert cohort.provenance.n_patients_read == 3
    assert "1 of 3 patients are several subjects of the source." in cohort.provenance.notes
    assert not cohort.provenance.patient_is_stay


def test_a_subject_without_a_patient_or_with_two_is_refused(tmp_path: Path) -> None:
    with_patients(tmp_path / "none", {1: ["a"], 2: ["a"], 3: ["b"]})
    with pytest.raises(UserError, match="1 of 4 subjects have no patient, the first is 4"):
        load(tmp_path / "none", codes="mimic-iv-meds", patient_of="PATIENT//*")
    with_patients(tmp_path / "two", {1: ["a", "b"], 2: ["a"], 3: ["b"], 4: ["c"]})
    with pytest.raises(UserError, match="subject 1 has two patients"):
        load(tmp_path / "two", codes="mimic-iv-meds", patient_of="PATIENT//*")


def test_a_file_may_name_the_patient(tmp_path: Path) -> None:
    plain(tmp_path)
    file = tmp_path / "patient.csv"
    file.write_text(
        "patientunitstayid,patienthealthsystemstayid,uniquepid\n7,1,02-1\n8,1,02-1\n9,2,02-1\n6,3,9\n5,4,8\n"
    )
    cohort = load(tmp_path, codes="mimic-iv-meds", patients=file)
    assert cohort.cases.patient_ids == ("02-1", "02-1", "9", "8")
    packed = tmp_path / "patient.csv.gz"
    packed.write_bytes(gzip.compress(file.read_bytes() + b"\n"))  # eICU's demo has blank lines
    assert load(tmp_path, codes="mimic-iv-meds", patients=packed).cases.patient_ids == cohort.cases.patient_ids
    file.write_text("subject_id,patient\n1,a\n")
    with pytest.raises(UserError, match="has no columns subject_id and patient_id"):
        load(tmp_path, codes="mimic-iv-meds", patients=file)


def test_a_source_whose_subjects_are_stays_says_so(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "metadata" / "dataset.json").write_text(json.dumps({"dataset_name": "eICU"}))
    cohort = load(tmp_path, codes="mimic-iv-meds")
    assert cohort.provenance.patient_is_stay
    assert any("is a hospital stay" in note for note in cohort.provenance.notes)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"dataset_name": ' + "9" * 5_000 + "}", "\udcff"])
def test_a_description_that_can_not_be_read_is_named(text: str, tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "metadata" / "dataset.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"dataset\.json: is not JSON"):
        load(tmp_path, codes="mimic-iv-meds")


def test_subject_splits_are_the_source_s_own(tmp_path: Path) -> None:
    plain(tmp_path)
    assert load(tmp_path, codes="mimic-iv-meds").groups == {}
    splits = pl.DataFrame({"subject_id": [1, 2, 3, 9], "split": ["train", "tuning", "held_out", "train"]})
    splits.write_parquet(tmp_path / "metadata" / "subject_splits.parquet")
    assert load(tmp_path, codes="mimic-iv-meds").groups == {SOURCE_SPLIT: ("train", "tuning", "held_out", "")}
    pl.concat([splits, splits]).write_parquet(tmp_path / "metadata" / "subject_splits.parquet")
    with pytest.raises(UserError, match="is named 2 times"):
        load(tmp_path, codes="mimic-iv-meds")


def test_a_ready_name_is_a_file_of_the_package() -> None:
    for name in READY:
        assert yaml.safe_load((CODE_FILES / f"{name}.yaml").read_text())
    params = MedsParams(root=Path("x"), labels=Path("y"), codes="eicu-meds", task="t", outcome="o")  # type: ignore[arg-type]
    assert params.codes == CODE_FILES / "eicu-meds.yaml"


# --- What the converters really wrote (converted/README.md says from what) ------------------------------------------

EICU = Path(__file__).parent / "converted" / "eicu_meds"


def test_the_output_of_eicu_meds_is_read(tmp_path: Path) -> None:
    cohort = load(EICU, codes="eicu-meds", patients=EICU / "patients.csv", window_hours=24)
    names = ("fraction_inspired_oxygen", "ph", "glucose", "potassium", "creatinine")
    found = {name: sum(int((~np.isnan(case.values_in_order([name]))).sum()) for case in cohort.cases) for name in names}
    rows = pl.concat([pl.read_parquet(path) for path in sorted((EICU / "data").rglob("*.parquet"))])
    labels = pl.read_parquet(EICU / "labels.parquet")
    in_window = rows.join(labels, on="subject_id").filter(
        pl.col("time").is_between(
            pl.col("prediction_time") - timedelta(hours=24), pl.col("prediction_time"), closed="left"
        )
    )
    for name, code in zip(
        names, ("FiO2//%", "pH//UNK", "glucose//mg/dL", "potassium//mmol/L", "creatinine//mg/dL"), strict=True
    ):
        measured = in_window.filter(pl.col("code") == f"LAB//RESULT//{code}", pl.col("numeric_value").is_not_null())
        removed = cohort.provenance.implausible.get(name, 0)
        assert found[name] == measured.select("subject_id", "time").n_unique() - removed > 0
    assert {case.static["sex"] for case in cohort.cases} == {0, 1}
    assert all(15 < case.static["age"] < 95 for case in cohort.cases)


def test_a_patient_of_eicu_meds_is_several_subjects_in_several_parts_of_its_own_split() -> None:
    cohort = load(EICU, codes="eicu-meds", patients=EICU / "patients.csv")
    by_subject = load(EICU, codes="eicu-meds")
    assert len(set(by_subject.cases.patient_ids)) == len(by_subject.cases) > len(set(cohort.cases.patient_ids))
    assert by_subject.provenance.patient_is_stay
    assert not cohort.provenance.patient_is_stay
    parts: dict[str, set[str]] = {}
    for case, part in zip(cohort.cases, cohort.groups[SOURCE_SPLIT], strict=True):
        parts.setdefault(case.patient_id, set()).add(part)
    assert {"004-1007"} <= {patient for patient, of in parts.items() if len(of) > 1}


def test_a_run_on_the_split_of_eicu_meds_keeps_its_patients_apart(
    tmp_path: Path, run_command: Callable[..., Finished]
) -> None:
    text = f"""\
name: converted
data:
  name: meds
  root: {EICU}
  labels: {EICU}/labels.parquet
  codes: eicu-meds
  patients: {EICU}/patients.csv
  task: in_hospital_mortality
  outcome: die before leaving the hospital
  window_hours: 24
  access: open
split: {{train: 0.5, tuning: 0.25, held_out: 0.25}}
methods: [logistic_regression]
metrics: [auroc]
intervals: {{resamples: 100}}
"""
    (tmp_path / "converted.yaml").write_text(text)
    env = {"EAGBENCH_STORE": str(tmp_path / "store")}
    command = ("run", tmp_path / "converted.yaml", "--out", tmp_path / "out")
    done = run_command(*command, env=env)
    assert done.code == 0, done.err
    assert run_command("verify", tmp_path / "out").code == 0
    done = run_command(*command, "--set", "split=source", env=env)
    assert done.code == 2
    assert "the data set's own split puts" in done.err


MIMIC = Path(__file__).parent / "converted" / "mimic_iv_meds"


def test_the_output_of_mimic_iv_meds_is_read() -> None:
    cohort = load(MIMIC, codes="mimic-iv-meds", window_hours=24, access="synthetic")
    rows = pl.concat([pl.read_parquet(path) for path in sorted((MIMIC / "data").rglob("*.parquet"))])
    labels = pl.read_parquet(MIMIC / "labels.parquet")
    start, end = pl.col("prediction_time") - timedelta(hours=24), pl.col("prediction_time")
    window = rows.join(labels, on="subject_id").filter(pl.col("time") >= start, pl.col("time") < end)

    def written(code: str) -> list[float]:
        chosen = window.filter(pl.col("code") == code, pl.col("numeric_value").is_not_null())
        return sorted(chosen.unique(["subject_id", "time"], keep="last")["numeric_value"].to_list())

    def read(name: str) -> list[float]:
        values = np.concatenate([case.values_in_order([name])[:, 0] for case in cohort.cases])
        return sorted(values[~np.isnan(values)].tolist())

    for name, code in (
        ("heart_rate", "LAB//220045//bpm"),
        ("glucose", "LAB//RESULT//50931//mg/dL"),
        ("creatinine", "LAB//RESULT//50912//mg/dL"),
        ("inr", "LAB//RESULT//51237//UNK"),
    ):
        assert len(read(name)) > 10
        assert len(read(name)) + cohort.provenance.implausible.get(name, 0) == len(written(code))
        assert set(read(name)) <= set(written(code))
    fahrenheit = [(value - 32) / 1.8 for value in written("LAB//223761//°F")]
    celsius = written("LAB//223762//°C")
    assert len(fahrenheit) > 10
    assert all(min(abs(value - known) for known in (*fahrenheit, *celsius)) < 1e-3 for value in read("temperature"))
    assert {case.static["sex"] for case in cohort.cases} == {0, 1}
    assert set(cohort.groups[SOURCE_SPLIT]) == {"train", "tuning", "held_out"}
    assert not cohort.provenance.patient_is_stay
