"""MEDS: the synthetic hospital, converted to MEDS, is the same cohort as read from its own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from eagbench.contracts.components import Dataset
from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.testing import DatasetConformance
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets.meds.codes import places_of, unit_in_code
from eagbench_plugins.datasets.meds.dataset import Meds
from eagbench_plugins.datasets.meds.params import MedsParams
from eagbench_plugins.datasets.mimic4.dataset import Mimic4
from eagbench_plugins.datasets.mimic4.params import DEFAULT_CONCEPTS, Mimic4Params
from eagbench_plugins.datasets.mimic4.synthetic import write_hospital
from tests.conftest import Finished

HOURS = 48
# LOINC codes of some items, as MIMIC-IV's conversions to MEDS write them into metadata/codes.parquet.
LOINC = {"50912": "2160-0", "50971": "2823-3", "220045": "8867-4", "223762": "8310-5", "223761": "8310-5"}
CASE_PARAMS = {"task": "in_hospital_mortality", "outcome": "die before leaving the hospital", "window_hours": HOURS}


def stage(folder: Path, source: Path | None = None) -> StageRun:
    folder.mkdir(exist_ok=True)
    return StageRun(params={}, inputs={} if source is None else {"source": source}, seed=0, out=folder)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mimic4")
    write_hospital(root, patients=60, seed=5)
    return root


def table(root: Path, name: str, *times: str) -> pd.DataFrame:
    return pd.read_csv(root / f"{name}.csv.gz", parse_dates=list(times), low_memory=False)


@pytest.fixture(scope="module")
def meds(hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hospital in MEDS: data in two shards, labels at the end of the first 48 hours of a first ICU stay."""
    root = tmp_path_factory.mktemp("meds")
    parts = []
    for name in ("hosp/labevents", "icu/chartevents"):
        events = table(hospital, name, "charttime", "storetime").sort_values("storetime", kind="stable")
        events = events[events["valuenum"].notna() | events["value"].notna()]
        unit = events["valueuom"].fillna("UNK").replace("", "UNK")
        parts.append(
            pd.DataFrame(
                {
                    "subject_id": events["subject_id"],
                    "time": events["charttime"],
                    "code": "LAB//" + events["itemid"].astype(str) + "//" + unit,
                    "numeric_value": events["valuenum"].astype("float32"),
                    "text_value": events["value"].astype("string"),
                }
            )
        )
    patients = table(hospital, "hosp/patients")
    born = [datetime(y, 1, 1) for y in patients["anchor_year"] - patients["anchor_age"]]
    parts.append(pd.DataFrame({"subject_id": patients["subject_id"], "time": born, "code": "MEDS_BIRTH"}))
    parts.append(pd.DataFrame({"subject_id": patients["subject_id"], "code": "GENDER//" + patients["gender"]}))
    events = pd.concat(parts).sort_values(["subject_id", "time"], kind="stable", na_position="first")
    middle = events["subject_id"].quantile(0.5)
    for split, part in (
        ("train", events[events["subject_id"] <= middle]),
        ("held_out", events[events["subject_id"] > middle]),
    ):
        (root / "data" / split).mkdir(parents=True)
        pl.from_pandas(part.reset_index(drop=True)).with_columns(
            pl.col("time").cast(pl.Datetime("us")), pl.col("numeric_value").cast(pl.Float32)
        ).write_parquet(root / "data" / split / "0.parquet")
    (root / "metadata").mkdir()
    codes = sorted(events["code"].unique())
    loinc = [LOINC.get(code.split("//")[1]) if code.startswith("LAB//") else None for code in codes]
    parents = [None if found is None else [f"LOINC/{found}"] for found in loinc]
    pl.DataFrame({"code": codes, "parent_codes": parents}).write_parquet(root / "metadata" / "codes.parquet")

    stays = table(hospital, "icu/icustays", "intime", "outtime").sort_values("intime")
    stays = stays.groupby("hadm_id", as_index=False).first()
    stays = stays.merge(table(hospital, "hosp/admissions", "dischtime", "deathtime"), on=["subject_id", "hadm_id"])
    stays["prediction_time"] = stays["intime"] + timedelta(hours=HOURS)
    stays = stays[stays[["outtime", "dischtime", "deathtime"]].min(axis=1) > stays["prediction_time"]]
    stays["boolean_value"] = stays["hospital_expire_flag"] == 1
    columns = ["subject_id", "prediction_time", "boolean_value"]
    (root / "labels").mkdir()
    pl.from_pandas(stays[columns].reset_index(drop=True)).write_parquet(root / "labels" / "0.parquet")

    (root / "codes.yaml").write_text(yaml.safe_dump(code_file(set(codes)), sort_keys=False))
    return root


def code_file(codes: set[str]) -> dict[str, dict[str, Any]]:
    """Every place of MIMIC-IV in the vocabulary, in its order, under each code that the data have for it."""
    found: dict[str, dict[str, Any]] = {}
    for place in vocabulary().source("mimic4"):
        if place.concept not in DEFAULT_CONCEPTS:
            continue
        for code in sorted(c for c in codes if c.startswith(f"LAB//{place.keys['itemid']}//")):
            unit = code.split("//")[2]
            entry: dict[str, Any] = {"concept": place.concept, "unit": place.unit if unit == "UNK" else unit}
            entry |= {key: part for key, part in place.model_dump(include={"values", "mixed"}).items() if part}
            found[code] = entry
    return found


def load(root: Path, tmp_path: Path, **params: Any) -> Cohort:
    given = {"labels": root / "labels", "codes": root / "codes.yaml", "access": "synthetic", **CASE_PARAMS, **params}
    return Meds(MedsParams(root=root, **given)).load(stage(tmp_path / "stage")).collect()


class TestConformance(DatasetConformance):
    component = Meds

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, meds: Path) -> Mapping[str, Any]:
        return {
            "root": meds,
            "labels": meds / "labels",
            "codes": meds / "codes.yaml",
            "access": "synthetic",
            **CASE_PARAMS,
        }


def test_the_cohort_is_that_of_the_mimic4_loader(hospital: Path, meds: Path, tmp_path: Path) -> None:
    # MEDS has one time per event, here that of drawing.
    params = Mimic4Params(root="synthetic", window_hours=HOURS, availability="drawn")
    expected = Mimic4(params).load(stage(tmp_path / "mimic4", hospital)).collect()
    cohort = load(meds, tmp_path, concepts=DEFAULT_CONCEPTS)
    assert len(cohort.cases) == len(expected.cases) > 40
    assert cohort.cases.feature_names == DEFAULT_CONCEPTS
    stays = table(hospital, "icu/icustays", "intime").set_index("stay_id")["intime"]
    by_id = {
        f"{case.patient_id}@{(stays[int(case.case_id)] + timedelta(hours=HOURS)).isoformat()}": (case, label)
        for case, label in zip(expected.cases, expected.labels, strict=True)
    }
    for case, label in zip(cohort.cases, cohort.labels, strict=True):
        same, same_label = by_id.pop(case.case_id)
        assert label == same_label
        assert case.patient_id == same.patient_id
        np.testing.assert_allclose(case.times, same.times, rtol=1e-12, atol=1e-12)
        found, wanted = case.values_in_order(DEFAULT_CONCEPTS), same.values_in_order(DEFAULT_CONCEPTS)
        np.testing.assert_allclose(found, wanted, rtol=2e-7)  # MEDS holds float32, MIMIC-IV's CSV decimals
        assert case.static["sex"] == same.static["sex"]
        assert 0 <= case.static["age"] - same.static["age"] < 1.01  # born on 1 January of a year
    assert not by_id
    assert 0 < cohort.labels.sum() < len(cohort.labels)
    assert cohort.provenance.implausible == expected.provenance.implausible
    assert cohort.provenance.n_patients_read == len(set(cohort.cases.patient_ids))
    assert cohort.provenance.access == "synthetic"


def test_codes_with_a_loinc_code_need_no_file(meds: Path, tmp_path: Path) -> None:
    found = load(meds, tmp_path, codes=None)
    assert set(found.cases.feature_names) == {"heart_rate", "temperature", "potassium", "creatinine"}
    whole = load(meds, tmp_path)
    for case, same in zip(found.cases, whole.cases, strict=True):
        # These concepts have no other place in the hospital, so the values are the same.
        names = ("heart_rate", "creatinine")
        rows = np.isin(same.times, case.times)
        np.testing.assert_array_equal(case.values_in_order(names), same.values_in_order(names)[rows])


def test_pyhealth_takes_the_conversion_for_meds(meds: Path, tmp_path: Path) -> None:
    from pyhealth.datasets import MEDSDataset

    dataset = MEDSDataset(root=str(meds), cache_dir=tmp_path)
    events = dataset.load_table("meds").compute(scheduler="threads")
    assert len(events) == sum(len(pl.read_parquet(path)) for path in (meds / "data").rglob("*.parquet"))


# --- Small hand-made data sets ---------------------------------------------------------------------------------------

NOON = datetime(2150, 1, 2, 12)


def small(root: Path, rows: list[tuple[Any, ...]], labels: list[tuple[int, datetime, bool]] | None = None) -> Path:
    """A MEDS data set from (subject, hours before noon or None, code, number, text)."""
    (root / "data").mkdir(parents=True, exist_ok=True)
    (root / "labels").mkdir(exist_ok=True)
    frame = pl.DataFrame(
        [(s, None if h is None else NOON - timedelta(hours=h), c, n, t) for s, h, c, n, t in rows],
        schema={
            "subject_id": pl.Int64,
            "time": pl.Datetime("us"),
            "code": pl.String,
            "numeric_value": pl.Float32,
            "text_value": pl.String,
        },
        orient="row",
    )
    frame.write_parquet(root / "data" / "0.parquet")
    pl.DataFrame(
        labels or [(1, NOON, True)],
        schema={"subject_id": pl.Int64, "prediction_time": pl.Datetime("us"), "boolean_value": pl.Boolean},
        orient="row",
    ).write_parquet(root / "labels" / "0.parquet")
    return root


def test_the_window_ends_just_before_the_prediction_time(tmp_path: Path) -> None:
    rows = [(1, h, "LOINC//2160-0//mg/dL", 1.0 + h / 100, None) for h in (24.01, 24, 3, 0, -1)]
    (case,) = load(small(tmp_path, rows), tmp_path, codes=None, window_hours=24).cases
    assert case.times.tolist() == [0, 21]
    np.testing.assert_allclose(case.values_in_order(["creatinine"])[:, 0], [1.24, 1.03], rtol=1e-6)
    assert case.case_id == "1@2150-01-02T12:00:00"


def test_text_units_precedence_and_statics(tmp_path: Path) -> None:
    rows = [
        (1, None, "GENDER//F", None, None),
        (1, 24 * 365.2425 * 50 + 10, "MEDS_BIRTH", None, None),
        (1, 5, "cuff", 120, None),
        (1, 5, "line", 110, None),
        (1, 4, "cuff", 118, None),
        (1, 3, "refill", None, "Slow"),
        (1, 2, "temp", 98.6, None),
        (2, 2, "temp", 100.4, None),
        (2, None, "GENDER//F", None, None),
        (2, None, "GENDER//M", None, None),
    ]
    root = small(tmp_path, rows, [(1, NOON, True), (2, NOON, False), (3, NOON, False)])
    (root / "codes.yaml").write_text(
        "line: {concept: systolic_blood_pressure, unit: mmHg}\ncuff: {concept: systolic_blood_pressure, unit: mmHg}\n"
        "temp: {concept: temperature, unit: degF}\nrefill: {concept: capillary_refill, values: {Slow: 1, Quick: 0}}\n"
        "unseen: {concept: glucose, unit: mg/dL}\n"
    )
    cohort = load(root, tmp_path, window_hours=10)
    first, second = cohort.cases
    assert cohort.cases.feature_names == ("systolic_blood_pressure", "temperature", "capillary_refill")
    nan = np.nan
    np.testing.assert_allclose(
        first.values_in_order(first.features),
        [[110, nan, nan], [118, nan, nan], [nan, nan, 1], [nan, 37, nan]],
        rtol=1e-6,
    )
    assert first.static["sex"] == 0
    assert first.static["age"] == pytest.approx(50, abs=0.01)
    assert np.isnan(second.static["sex"])
    assert np.isnan(second.static["age"])
    assert cohort.labels.tolist() == [1, 0]
    assert cohort.provenance.exclusions[-1] == ("no measurement in the observation window", 1)
    assert sum(n for _, n in cohort.provenance.exclusions) == 1
    assert "1 codes of the file of codes are not in the data (the first: unseen)." in cohort.provenance.notes


@pytest.mark.parametrize(
    ("events", "reason", "age"),
    [
        ([(28, "MEDS_DEATH")], "dead", None),  # 20 hours into a window of 48
        ([(0, "MEDS_DEATH")], "dead", None),  # at the prediction time
        ([(30, "MEDS_DEATH//HOSPITAL")], "dead", None),
        ([(-1, "MEDS_DEATH"), (1, "MEDS_DEATH")], "dead", None),
        ([(-0.5, "MEDS_DEATH")], None, None),
        ([(-24, "MEDS_BIRTH")], "born", None),  # a day after the prediction time
        ([(0, "MEDS_BIRTH")], "born", None),
        ([(1, "MEDS_BIRTH")], "born", None),  # after its first value
        ([(30, "MEDS_BIRTH")], None, 0),  # a newborn, younger than the window is long
        ([(48 + 24 * 365.2425, "MEDS_BIRTH")], None, 1),
        ([(30, "MEDS_BIRTH"), (20, "MEDS_DEATH")], "dead", None),
    ],
)
def test_labels_that_contradict_a_lifetime(
    tmp_path: Path, events: list[tuple[float, str]], reason: str | None, age: float | None
) -> None:
    rows: list[tuple[Any, ...]] = [(1, h, code, None, None) for h, code in events]
    rows += [(s, 6, "LOINC//2160-0//mg/dL", 1.0, None) for s in (1, 2)]
    root = small(tmp_path, rows, [(1, NOON, False), (2, NOON, True)])
    cohort = load(root, tmp_path, codes=None)
    assert cohort.cases.patient_ids == (("2",) if reason else ("1", "2"))
    assert cohort.labels.tolist() == ([1] if reason else [0, 1])
    assert {text.split()[0]: n for text, n in cohort.provenance.exclusions if n} == ({reason: 1} if reason else {})
    if not reason:
        assert cohort.cases[0].static["age"] == pytest.approx(np.nan if age is None else age, abs=1e-6, nan_ok=True)


def test_a_planted_unit_is_named_through_the_command_line(
    meds: Path, tmp_path: Path, cli: Callable[..., Finished]
) -> None:
    root = tmp_path / "planted"
    for path in (meds / "data").rglob("*.parquet"):
        target = root / path.relative_to(meds)
        target.parent.mkdir(parents=True)
        glucose = pl.col("code") == "LAB//50931//mg/dL"
        shown = pl.when(glucose).then(pl.col("numeric_value") / 18.0156).otherwise("numeric_value")
        pl.read_parquet(path).with_columns(shown.alias("numeric_value")).write_parquet(target)
    sets = {"root": root, "labels": meds / "labels", "codes": meds / "codes.yaml", **CASE_PARAMS}
    done = cli("data", "check", "meds", *(part for k, v in sets.items() for part in ("--set", f"{k}={v}")))
    assert done.code == 2
    for part in ("code 'LAB//50931//mg/dL'", "glucose", "Expected unit: mg/dL", "found: mmol/L"):
        assert part in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("LOINC//2345-7//furlong", r"code 'LOINC//2345-7//furlong': glucose is given in 'furlong'.*mg/dL"),
        ("LOINC/2345-7", r"code 'LOINC/2345-7': glucose is given without a unit; expected mg/dL"),
        ("LOINC//2345-7//UNK", "given without a unit"),
    ],
)
def test_a_code_in_no_known_unit_stops(tmp_path: Path, code: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(small(tmp_path, [(1, 1, code, 100, None)]), tmp_path, codes=None)


def test_a_value_of_nan_is_none(tmp_path: Path) -> None:
    rows = [
        (1, 4, "LOINC//2160-0//mg/dL", 1.5, None),
        (1, 3, "LOINC//2160-0//mg/dL", float("nan"), None),
        (1, 2, "refill", float("nan"), "Slow"),
    ]
    root = small(tmp_path, rows)
    (root / "codes.yaml").write_text("refill: {concept: capillary_refill, values: {Slow: 1, Quick: 0}}\n")
    cohort = load(root, tmp_path)
    (case,) = cohort.cases
    nan = np.nan
    np.testing.assert_array_equal(
        case.values_in_order(["creatinine", "capillary_refill"]), [[1.5, nan], [nan, 1.0]], "as a value of null is read"
    )
    assert cohort.provenance.implausible.get("creatinine", 0) == 0


def test_a_rare_unknown_unit_is_removed_and_counted(tmp_path: Path) -> None:
    rows: list[tuple[Any, ...]] = [(1, h / 100, "LOINC//2345-7//mg/dL", 100, None) for h in range(1, 1501)]
    cohort = load(small(tmp_path, [*rows, (1, 20, "LOINC//2345-7//UNK", 5, None)]), tmp_path, codes=None)
    assert len(cohort.cases[0].times) == 1500
    assert "Values removed because their unit is unknown and rare: 1 of glucose." in cohort.provenance.notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a, b]", "valid dictionary"),
        ("x: {concept: sugar}", "x: the vocabulary has no concept 'sugar'"),
        ("x: {concept: glucose, unit: furlong}", "glucose is given in 'furlong'"),
        ("x: {concept: fraction_inspired_oxygen, unit: '%', mixed: {unit: x, low: 0, high: 1}}", "is given in 'x'"),
        ("x: {concept: glucose, units: mg/dL}", "Extra inputs"),
        ("x: {", "is not YAML"),
        ("x: &x {concept: *x}", "the anchor 'x' stands for itself"),
        ("x: {concept: glucose}\nx: {concept: lactate}", "appears here twice"),
        ("x: {concept: glucose, values: {low: 1.0e+999}}", "not a finite number"),
    ],
)
def test_a_wrong_file_of_codes_is_named(tmp_path: Path, text: str, message: str) -> None:
    root = small(tmp_path, [(1, 1, "x", 100, None)])
    (root / "codes.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        load(root, tmp_path)
    assert "codes.yaml" in raised.value.message


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("data", lambda t: t.drop("code"), "column 'code' is missing"),
        ("data", lambda t: t.with_columns(pl.col("time").dt.replace_time_zone("UTC")), "a time without a zone"),
        ("data", lambda t: t.with_columns(subject_id=pl.lit("a")), "'subject_id' must hold a whole number"),
        ("data", lambda t: t.with_columns(numeric_value=pl.lit("a")), "'numeric_value' must hold a number"),
        ("labels", lambda t: t.drop("boolean_value"), "column 'boolean_value' is missing"),
        ("labels", lambda t: t.with_columns(boolean_value=pl.lit(1)), "'boolean_value' must hold true or false"),
        ("labels", lambda t: t.with_columns(prediction_time=pl.lit(None, pl.Datetime("us"))), "is empty in 1 rows"),
        ("labels", lambda t: pl.concat([t, t]), "subject 1 has two labels"),
    ],
)
def test_bad_tables_are_named(
    tmp_path: Path, file: str, change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    path = small(tmp_path, [(1, 1, "LOINC//2345-7//mg/dL", 100, None)]) / file / "0.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(UserError, match=message):
        load(tmp_path, tmp_path, codes=None)


def test_files_of_macos_among_the_shards_are_passed_over(tmp_path: Path) -> None:
    root = small(tmp_path, [(1, 1, "LOINC//2345-7//mg/dL", 100, None)])
    plain = load(root, tmp_path, codes=None)
    for folder in ("data", "labels"):
        (root / folder / "._0.parquet").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    cohort = load(root, tmp_path, codes=None)
    assert cohort.cases.case_ids == plain.cases.case_ids
    assert cohort.provenance == plain.provenance


def test_missing_and_damaged_files(tmp_path: Path) -> None:
    given: dict[str, Any] = {"labels": tmp_path / "labels", **CASE_PARAMS}
    with pytest.raises(UserError, match="is not a folder"):
        Meds(MedsParams(root=tmp_path / "nowhere", **given)).files()
    with pytest.raises(UserError, match="no Parquet file in"):
        Meds(MedsParams(root=tmp_path, **given)).files()
    root = small(tmp_path, [(1, 1, "LOINC//2345-7//mg/dL", 100, None)])
    with pytest.raises(UserError, match="there is no file"):
        Meds(MedsParams(root=root, codes=tmp_path / "none.yaml", **given)).files()
    with pytest.raises(UserError, match="there is no label file"):
        Meds(MedsParams(root=root, **{**given, "labels": tmp_path / "other"})).files()
    (root / "data" / "0.parquet").write_bytes((root / "data" / "0.parquet").read_bytes()[:200])
    with pytest.raises(UserError, match=r"0.parquet: can't be read as Parquet"):
        load(root, tmp_path, codes=None)


def test_data_without_a_known_code_stop(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no code of the data maps to a concept"):
        load(small(tmp_path, [(1, 1, "DIAGNOSIS//I50", None, None)]), tmp_path, codes=None)


def test_codes_of_one_loinc_code_stand_in_the_vocabularys_order() -> None:
    parents = {"a//b//mg/dL": ("LOINC/2160-0", "SNOMED/1"), "two//x//mg/dL": ("LOINC/2160-0", "LOINC/2345-7")}
    places = places_of(["two//x//mg/dL", "a//b//mg/dL", "LOINC/8867-4", "LOINC/0000-0"], parents, {}, vocabulary())
    assert [(place.concept, place.keys["code"]) for place in places] == [
        ("heart_rate", "LOINC/8867-4"),
        ("creatinine", "a//b//mg/dL"),  # the code of two quantities stands for neither
    ]
    assert unit_in_code("LAB//50931//mg/dL") == "mg/dL"
    assert unit_in_code("LAB//51//mL/min//x") == "mL/min//x"
    assert unit_in_code("LAB//50931") is None


def test_parameters_are_strict() -> None:
    good: dict[str, Any] = {"root": "x", "labels": "y", **CASE_PARAMS}
    meds = Meds(MedsParams(**good))
    assert isinstance(meds, Dataset)
    assert meds.access() == "credentialed"
    for wrong in ({"concepts": ["sugar"]}, {"concepts": ["glucose", "glucose"]}, {"access": "public"}, {"task": "A b"}):
        with pytest.raises(ValidationError):
            MedsParams(**{**good, **wrong})


def test_damaged_pages_are_named(tmp_path: Path) -> None:
    """The footer is whole, so the schema can be read, and the pages are not."""
    for name in ("labels", "codes", "subject_splits"):
        root = small(tmp_path / name, [(1, 1, "LOINC//2160-0//mg/dL", 1.0, None)])
        (root / "metadata").mkdir()
        pl.DataFrame({"subject_id": [1], "split": ["train"]}).write_parquet(
            root / "metadata" / "subject_splits.parquet"
        )
        pl.DataFrame({"code": ["x"], "parent_codes": [["y"]]}).write_parquet(root / "metadata" / "codes.parquet")
        path = root / "labels" / "0.parquet" if name == "labels" else root / "metadata" / f"{name}.parquet"
        content = bytearray(path.read_bytes())
        content[4:24] = bytes(20)
        path.write_bytes(content)
        with pytest.raises(UserError, match="can't be read as Parquet") as raised:
            load(root, tmp_path, codes=None)
        assert str(path) in raised.value.message
