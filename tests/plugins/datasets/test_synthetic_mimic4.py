"""The synthetic hospital: form (against facts from public sources), consistency, determinism, learnability."""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import yaml
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold

from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets.mimic4 import synthetic_parts
from eagbench_plugins.datasets.mimic4.params import DEFAULT_CONCEPTS
from eagbench_plugins.datasets.mimic4.synthetic import write_hospital
from eagbench_plugins.datasets.mimic4.synthetic_items import CHARTED, LABS, Item
from eagbench_plugins.datasets.mimic4.synthetic_unread import UNREAD
from eagbench_plugins.datasets.mimic4.tables import READ_TABLES, TABLES, TRUTH_FILE

FACTS: dict[str, Any] = yaml.safe_load(
    (Path(__file__).resolve().parents[2] / "reference" / "mimic_code.yaml").read_text(encoding="utf-8")
)

# Written down from clinical knowledge, without looking at item ids: what a place of each concept may be called in
# MIMIC-IV's dictionary, and which column of mimic-code's concepts it goes to (where it goes to one).
MEANING: dict[str, tuple[str, set[str]]] = {
    "heart_rate": ("heart rate", {"heart_rate"}),
    "systolic_blood_pressure": ("systolic", {"sbp"}),
    "diastolic_blood_pressure": ("diastolic", {"dbp"}),
    "mean_blood_pressure": ("mean", {"mbp"}),
    "respiratory_rate": ("respiratory rate", {"resp_rate"}),
    "oxygen_saturation": ("o2 saturation pulse", {"spo2"}),
    "temperature": ("temperature", {"temperature"}),
    "gcs_eye": ("eye", {"gcs_eyes"}),
    "gcs_verbal": ("verbal", {"gcs_verbal"}),
    "gcs_motor": ("motor", {"gcs_motor"}),
    "fraction_inspired_oxygen": ("inspired o2|^oxygen$", {"fio2"}),
    "capillary_refill": ("capillary refill", set()),
    "weight": ("weight", {"weight"}),
    "height": ("height", {"height"}),
    "ph": (r"\bph\b", {"ph"}),
    "pao2": ("po2", {"po2"}),
    "paco2": ("pco2", {"pco2"}),
    "arterial_oxygen_saturation": ("^oxygen saturation$", {"so2"}),
    "base_excess": ("base excess", {"baseexcess"}),
    "lactate": ("^lactate$", {"lactate"}),
    "glucose": ("glucose", {"glucose"}),
    "sodium": ("sodium", {"sodium"}),
    "potassium": ("potassium", {"potassium"}),
    "chloride": ("chloride", {"chloride"}),
    "bicarbonate": ("bicarbonate", {"bicarbonate"}),
    "anion_gap": ("anion gap", {"aniongap"}),
    "urea_nitrogen": ("urea nitrogen", {"bun"}),
    "creatinine": ("creatinine", {"creatinine"}),
    "calcium": ("calcium, total", {"calcium"}),
    "ionized_calcium": ("free calcium", {"calcium"}),
    "magnesium": ("magnesium", set()),
    "phosphate": ("phosphate", set()),
    "albumin": ("albumin", {"albumin"}),
    "bilirubin_total": ("bilirubin, total", {"bilirubin_total"}),
    "alanine_aminotransferase": ("alt", {"alt"}),
    "aspartate_aminotransferase": ("ast", {"ast"}),
    "alkaline_phosphatase": ("alkaline phosphatase", {"alp"}),
    "troponin_t": ("troponin t", {"troponin_t"}),
    "white_blood_cells": ("white blood cells", {"wbc"}),
    "hemoglobin": ("hemoglobin", {"hemoglobin"}),
    "hematocrit": ("hematocrit", {"hematocrit"}),
    "platelets": ("platelet", {"platelet"}),
    "inr": ("inr", {"inr"}),
    "prothrombin_time": ("^pt$", {"pt"}),
    "partial_thromboplastin_time": ("^ptt$", {"ptt"}),
    "fibrinogen": ("fibrinogen", {"fibrinogen"}),
    "thrombin_time": ("thrombin", {"thrombin"}),
    "red_blood_cells": ("red blood cells", {"rbc"}),
    "mean_corpuscular_volume": ("^mcv$", {"mcv"}),
    "mean_corpuscular_hemoglobin": ("^mch$", {"mch"}),
    "mean_corpuscular_hemoglobin_concentration": ("^mchc$", {"mchc"}),
    "red_cell_distribution_width": ("^rdw$", {"rdw"}),
    "red_cell_distribution_width_sd": ("^rdw-sd$", {"rdwsd"}),
    "neutrophils_percent": ("^neutrophils$", {"neutrophils"}),
    "lymphocytes_percent": ("^lymphocytes", {"lymphocytes"}),
    "monocytes_percent": ("^monocytes$", {"monocytes"}),
    "eosinophils_percent": ("^eosinophils$", {"eosinophils"}),
    "basophils_percent": ("^basophils$", {"basophils"}),
    "neutrophil_count": ("absolute neutrophil", {"neutrophils_abs"}),
    "lymphocyte_count": ("absolute lymphocyte", {"lymphocytes_abs"}),
    "monocyte_count": ("absolute monocyte", {"monocytes_abs"}),
    "eosinophil_count": ("absolute eosinophil", {"eosinophils_abs"}),
    "basophil_count": ("absolute basophil", {"basophils_abs"}),
    "nt_probnp": ("ntprobnp", {"ntprobnp"}),
    "creatine_kinase": (r"creatine kinase \(ck\)", {"ck_cpk"}),
    "creatine_kinase_mb": ("creatine kinase, mb", {"ck_mb"}),
    "lactate_dehydrogenase": ("lactate dehydrogenase", {"ld_ldh"}),
    "gamma_glutamyl_transferase": ("gamma glutamyl", {"ggt"}),
    "bilirubin_direct": ("bilirubin, direct", {"bilirubin_direct"}),
    "bilirubin_indirect": ("bilirubin, indirect", {"bilirubin_indirect"}),
    "total_protein": ("protein, total", {"total_protein"}),
    "globulin": ("globulin", {"globulin"}),
    "uric_acid": ("uric acid", set()),
    "cholesterol_total": ("cholesterol, total", set()),
    "c_reactive_protein": ("c-reactive protein", {"crp"}),
    "erythrocyte_sedimentation_rate": ("sedimentation rate", set()),
    "ferritin": ("ferritin", set()),
}


def squeezed(unit: str) -> str:
    return "".join(unit.split()).lower()


def generated_items() -> list[tuple[str, Item]]:
    charted = [("chartevents", item) for item in CHARTED.values()]
    return charted + [("labevents", item) for panel in LABS.values() for item, _ in panel]


@cache
def read(root: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(
        root / f"{TABLES[name].file}.gz", infer_schema_length=None, schema_overrides={"value": pl.String}
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small_hospital")
    write_hospital(root, patients=400, seed=2)
    return root


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hospital")
    write_hospital(root, patients=1500, seed=0)
    return root


@pytest.mark.parametrize("place", vocabulary().source("mimic4"), ids=lambda p: f"{p.concept}-{p.keys['itemid']}")
def test_vocabulary_agrees_with_public_sources(place: Any) -> None:
    fact = FACTS["items"][place.keys["itemid"]]
    label, quantities = MEANING[place.concept]
    assert fact["table"] == place.keys["table"]
    assert re.search(label, fact["label"].lower())
    assert "quantity" not in fact or fact["quantity"] in quantities
    if "unit" in fact:  # converting one in the stated unit and in the vocabulary's gives the same
        words = vocabulary()
        stated = words.to_canonical(place.concept, [1.0, 2.0], fact["unit"])
        np.testing.assert_allclose(stated, words.to_canonical(place.concept, [1.0, 2.0], place.unit))
    assert all(source in FACTS["sources"] for source in fact["sources"])


@pytest.mark.parametrize(("table", "item"), generated_items(), ids=lambda value: getattr(value, "itemid", value))
def test_generated_items_agree_with_public_sources(table: str, item: Item) -> None:
    fact = FACTS["items"][item.itemid]
    assert fact["table"] == table
    assert item.label.startswith(fact["label"])
    if table == "chartevents":  # the sources state units of charted items, and which have none
        assert item.unit == fact.get("unit", "")
    elif "unit" in fact:
        assert squeezed(item.unit) == squeezed(fact["unit"])


def test_every_default_concept_is_generated() -> None:
    generated = {(table, item.itemid) for table, item in generated_items()}
    found = {p.concept for p in vocabulary().source("mimic4") if (p.keys["table"], p.keys["itemid"]) in generated}
    assert found == set(DEFAULT_CONCEPTS)


def test_columns_are_those_documented(small: Path) -> None:
    for name, fact in FACTS["columns"].items():
        with gzip.open(small / f"{TABLES[name].file}.gz", "rt", encoding="utf-8") as lines:
            assert lines.readline().strip().split(",") == fact["names"]
    assert set(FACTS["columns"]) == set(TABLES)
    assert all(set(table.required) <= set(FACTS["columns"][table.name]["names"]) for table in READ_TABLES)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    contents = []
    for folder, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / folder).mkdir()
        write_hospital(tmp_path / folder, patients=20, seed=seed)
        files = sorted(path for path in (tmp_path / folder).rglob("*.gz"))
        assert [path.relative_to(tmp_path / folder).as_posix() for path in files] == sorted(
            [f"{table.file}.gz" for table in TABLES.values()] + [TRUTH_FILE]
        )
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


@pytest.fixture(scope="module")
def in_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hospital of `small`, written in parts of 150 patients."""
    root = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(synthetic_parts.WHOLE, "sparse", 100)
        patched.setitem(synthetic_parts.PART, "sparse", 150)
        write_hospital(root, patients=400, seed=2)
    return root


def test_a_hospital_in_parts_has_the_same_patients_and_outcomes(small: Path, in_parts: Path) -> None:
    files = sorted(path.relative_to(in_parts) for path in in_parts.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(small) for path in small.rglob("*") if path.is_file())
    assert (in_parts / TRUTH_FILE).read_bytes() == (small / TRUTH_FILE).read_bytes()
    drawn = {
        "patients": ["subject_id", "gender", "anchor_age", "dod"],
        "admissions": ["subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "hospital_expire_flag"],
        "icustays": ["stay_id", "intime", "outtime"],
    }
    for name, columns in drawn.items():
        assert read(in_parts, name).select(columns).equals(read(small, name).select(columns))


def test_the_events_of_parts_make_one_table(small: Path, in_parts: Path) -> None:
    for name in ("chartevents", "labevents"):
        cut, whole = read(in_parts, name), read(small, name)
        assert cut.schema == whole.schema
        assert cut["subject_id"].is_sorted()
        assert len(cut) == pytest.approx(len(whole), rel=0.05)
        assert set(cut["subject_id"]) == set(whole["subject_id"])
        assert not cut["valuenum"].equals(whole["valuenum"])
        median = pl.col("valuenum").cast(pl.Float64).median()
        first, second = (table.group_by("itemid").agg(median, pl.len()) for table in (cut, whole))
        both = first.filter(pl.col("len") > 500).join(second, on="itemid")
        both = both.filter(pl.col("valuenum_right") > 1)  # the base excess is about 0
        assert (both["valuenum"] / both["valuenum_right"]).median() == pytest.approx(1, abs=0.05)
        assert (both["valuenum"] / both["valuenum_right"]).drop_nulls().is_between(0.5, 2).all()
    labs = read(in_parts, "labevents")
    assert labs["labevent_id"].is_unique().all()
    assert labs.group_by("specimen_id").agg(pl.col("subject_id").n_unique())["subject_id"].max() == 1


def test_parts_begun_before_a_kill_are_written_anew(tmp_path: Path, in_parts: Path) -> None:
    (tmp_path / "part1").mkdir()
    (tmp_path / "icu").mkdir()
    (tmp_path / "icu" / "chartevents.csv.gz").write_bytes(b"the first part")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(synthetic_parts.WHOLE, "sparse", 100)
        patched.setitem(synthetic_parts.PART, "sparse", 150)
        write_hospital(tmp_path, patients=400, seed=2)
    for path in in_parts.rglob("*.gz"):
        assert (tmp_path / path.relative_to(in_parts)).read_bytes() == path.read_bytes()
    assert not (tmp_path / "part1").exists()


def test_at_mimics_density_most_events_are_of_items_that_nobody_reads(tmp_path: Path) -> None:
    write_hospital(tmp_path, patients=120, seed=0, density="mimic")
    charted, stays = read(tmp_path, "chartevents"), read(tmp_path, "icustays")
    assert len(charted) / len(stays) == pytest.approx(4600, rel=0.15)
    read_items = {p.keys["itemid"] for p in vocabulary().source("mimic4") if p.keys["table"] == "chartevents"}
    is_read = charted["itemid"].cast(pl.Int64).is_in(read_items)
    assert 0.05 < is_read.mean() < 0.2
    named = set(read(tmp_path, "d_items")["itemid"].cast(pl.Int64))
    assert set(charted["itemid"].cast(pl.Int64)) <= named
    assert not {item.itemid for item in UNREAD} & read_items
    times = charted.join(stays.select("stay_id", "outtime"), on="stay_id")
    assert (times["charttime"] < times["outtime"]).all()


def test_tables_are_consistent(small: Path) -> None:
    patients, admissions, stays = (read(small, name) for name in ("patients", "admissions", "icustays"))
    charted, labs = read(small, "chartevents"), read(small, "labevents")
    assert len(patients) == 400
    assert patients["subject_id"].is_unique().all()
    assert patients["anchor_year"].is_between(2110, 2200).all()
    assert set(patients["anchor_age"].unique()) <= {*range(18, 90), 91}
    assert admissions["hadm_id"].is_unique().all()
    assert stays["stay_id"].is_unique().all()
    assert set(stays["subject_id"]) == set(patients["subject_id"])
    assert set(admissions["discharge_location"]) <= set(FACTS["discharge_locations"]["names"])

    dead = admissions.filter(pl.col("hospital_expire_flag") == 1)
    assert dead["deathtime"].equals(dead["dischtime"].alias("deathtime"))
    assert admissions.filter(pl.col("hospital_expire_flag") == 0)["deathtime"].null_count() == len(admissions) - len(
        dead
    )
    with_death = admissions.join(patients, on="subject_id")
    assert (
        (
            with_death.filter(pl.col("hospital_expire_flag") == 1).select(
                pl.col("dischtime").str.slice(0, 10) == pl.col("dod")
            )
        )
        .to_series()
        .all()
    )
    assert with_death.filter(pl.col("dod") < pl.col("dischtime").str.slice(0, 10)).is_empty()  # none returns from death
    following = admissions.sort("subject_id", "admittime").with_columns(
        before=pl.col("dischtime").shift(1).over("subject_id")
    )
    assert following.filter(pl.col("admittime") <= pl.col("before")).is_empty()

    inside = stays.join(admissions, on="hadm_id")
    assert inside.filter(
        (pl.col("intime") < pl.col("admittime"))
        | (pl.col("outtime") <= pl.col("intime"))
        | (pl.col("outtime") > pl.col("dischtime"))
    ).is_empty()
    charted_in_stay = charted.join(stays, on="stay_id")
    assert len(charted_in_stay) == len(charted)
    assert charted_in_stay.filter(
        (pl.col("charttime") < pl.col("intime")) | (pl.col("charttime") >= pl.col("outtime"))
    ).is_empty()
    assert labs["hadm_id"].null_count() > 0  # some results lack the admission, as in MIMIC-IV
    in_admission = labs.drop_nulls("hadm_id").join(admissions, on="hadm_id")
    assert in_admission.filter(
        (pl.col("charttime") < pl.col("admittime")) | (pl.col("charttime") > pl.col("dischtime"))
    ).is_empty()


def test_the_hospital_is_varied(small: Path) -> None:
    admissions, stays = read(small, "admissions"), read(small, "icustays")
    charted = read(small, "chartevents")
    assert (admissions.group_by("subject_id").len()["len"] > 1).mean() > 0.15
    assert (stays.group_by("hadm_id").len()["len"] > 1).mean() > 0.03
    assert set(admissions["hadm_id"]) - set(stays["hadm_id"])  # admissions without an ICU stay
    assert 0.2 < (stays["los"] < 2).mean() < 0.45
    assert 0.10 < admissions["hospital_expire_flag"].mean() < 0.15  # type: ignore[operator]
    by_stay = {item: set(charted.filter(itemid=CHARTED[item].itemid)["stay_id"]) for item in CHARTED}
    assert by_stay["admission_weight_lb"] - by_stay["admission_weight_kg"] - by_stay["daily_weight"]
    assert by_stay["height_inch"] - by_stay["height_cm"]
    assert 0.05 < len(by_stay["temperature_celsius"]) / len(stays) < 0.25
    assert len(by_stay["height_inch"] | by_stay["height_cm"]) < 0.8 * len(stays)  # some have no height at all


def last_values(hospital: Path, stays: pl.DataFrame, start: str, end: str) -> tuple[np.ndarray, pl.DataFrame]:
    """Mean, extremes, last value and count of each item per stay; written without the loader."""
    charted, labs = read(hospital, "chartevents"), read(hospital, "labevents")
    columns = ["subject_id", "charttime", "itemid", "valuenum"]
    window = stays.select("subject_id", "hadm_id", pl.col(start).alias("start"), pl.col(end).alias("end"))
    events = pl.concat([charted.select(columns), labs.select(columns)]).drop_nulls().join(window, on="subject_id")
    events = events.filter((pl.col("charttime") >= pl.col("start")) & (pl.col("charttime") < pl.col("end")))
    value = pl.col("valuenum")
    wide = (
        events.sort("charttime")
        .group_by("hadm_id", "itemid", maintain_order=True)
        .agg(
            value.mean().alias("mean"),
            value.min().alias("min"),
            value.max().alias("max"),
            value.last().alias("last"),
            value.count().alias("count"),
        )
        .pivot("itemid", index="hadm_id", sort_columns=True)
    )
    rows = stays.select("hadm_id", "subject_id").join(wide, on="hadm_id", how="left", maintain_order="left")
    return rows.drop("hadm_id", "subject_id").to_numpy(), rows


def cross_validated(features: np.ndarray, labels: np.ndarray, patients: np.ndarray) -> float:
    predicted = np.zeros(len(labels))
    for train, test in GroupKFold(4, shuffle=True, random_state=0).split(features, labels, patients):
        model = lightgbm.LGBMClassifier(
            n_estimators=100,
            learning_rate=0.05,
            num_leaves=15,
            colsample_bytree=0.4,
            random_state=0,
            n_jobs=1,
            verbose=-1,
        )
        model.fit(features[train], labels[train])
        predicted[test] = model.predict_proba(features[test])[:, 1]  # type: ignore[index]
    return float(roc_auc_score(labels, predicted))


def test_mortality_is_learnable_but_noisy(hospital: Path) -> None:
    stays = read(hospital, "icustays").sort("intime").unique("hadm_id", keep="first", maintain_order=True)
    stays = stays.filter(pl.col("los") > 2).sort("hadm_id")
    limit = pl.col("intime").str.to_datetime() + pl.duration(hours=48)
    features, _ = last_values(
        hospital, stays.with_columns(limit.dt.strftime("%Y-%m-%d %H:%M:%S").alias("limit")), "intime", "limit"
    )
    outcome = stays.join(read(hospital, "admissions"), on="hadm_id", how="left", maintain_order="left")
    labels = outcome["hospital_expire_flag"].to_numpy()
    truth = pl.read_csv(hospital / TRUTH_FILE)
    oracle = stays.join(truth, on="hadm_id", how="left", maintain_order="left")[
        "probability_in_hospital_death"
    ].to_numpy()
    assert 0.11 < labels.mean() < 0.17
    assert 0.84 < roc_auc_score(labels, oracle) < 0.91
    # The oracle is a probability, also for those who stayed: sum of probabilities against deaths, 4 standard errors.
    assert abs((oracle - labels).sum()) < 4 * np.sqrt((oracle * (1 - oracle)).sum())
    assert 0.74 < cross_validated(features, labels, stays["subject_id"].to_numpy()) < 0.86


def test_readmission_is_learnable_but_noisy(hospital: Path) -> None:
    admissions, patients = read(hospital, "admissions"), read(hospital, "patients")
    stays = read(hospital, "icustays").sort("intime").unique("hadm_id", keep="last", maintain_order=True)
    alive = admissions.filter((pl.col("hospital_expire_flag") == 0) & (pl.col("discharge_location") != "HOSPICE"))
    stays = stays.join(alive, on=["subject_id", "hadm_id"]).join(patients, on="subject_id").sort("hadm_id")
    returns: dict[int, list[str]] = {}
    for subject, admitted in admissions.select("subject_id", "admittime").iter_rows():
        returns.setdefault(subject, []).append(admitted)
    limit = pl.col("dischtime").str.to_datetime() + pl.duration(days=30)
    stays = stays.with_columns(limit.dt.strftime("%Y-%m-%d %H:%M:%S").alias("limit"))
    labels = np.array(
        [
            any(left < back <= until for back in returns[subject]) or (dead is not None and dead <= until[:10])
            for subject, left, until, dead in stays.select("subject_id", "dischtime", "limit", "dod").iter_rows()
        ]
    ).astype(int)
    truth = pl.read_csv(hospital / TRUTH_FILE)
    column = "probability_readmission_or_death_30_days"
    oracle = stays.join(truth, on="hadm_id", how="left", maintain_order="left")[column].to_numpy()
    assert 0.15 < labels.mean() < 0.26
    assert 0.75 < roc_auc_score(labels, oracle) < 0.88
    assert abs((oracle - labels).sum()) < 4 * np.sqrt((oracle * (1 - oracle)).sum())
    begin = pl.col("outtime").str.to_datetime() - pl.duration(hours=48)
    features, _ = last_values(
        hospital, stays.with_columns(begin.dt.strftime("%Y-%m-%d %H:%M:%S").alias("begin")), "begin", "outtime"
    )
    assert 0.63 < cross_validated(features, labels, stays["subject_id"].to_numpy()) < 0.80


def test_the_sicker_are_measured_more(hospital: Path) -> None:
    truth = pl.read_csv(hospital / TRUTH_FILE)
    stays = read(hospital, "icustays").unique("hadm_id", keep="none", maintain_order=True).join(truth, on="hadm_id")
    for name in ("chartevents", "labevents"):
        counts = read(hospital, name).group_by("hadm_id").len()
        rate = stays.join(counts, on="hadm_id").select(
            "probability_in_hospital_death", rate=pl.col("len") / pl.col("los")
        )
        assert rate.select(pl.corr("probability_in_hospital_death", "rate", method="spearman")).item() > 0.2
