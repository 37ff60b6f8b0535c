"""TJH: the facts of the data's README, and what the loader says of bad files."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets.tjh import Tjh, TjhParams

DATA = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "tjh"
FILE = "time_series_375_prerpocess_en.xlsx"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the open data folder ../shared/data is absent")


def load(root: Path, tmp_path: Path, **params: Any) -> Cohort:
    run = StageRun(params={}, inputs={}, seed=0, out=tmp_path)
    return Tjh(TjhParams(root=root, **params)).load(run)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return load(DATA, tmp_path_factory.mktemp("tjh"))


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    table = pd.read_excel(DATA / FILE)
    table["PATIENT_ID"] = table["PATIENT_ID"].ffill()
    return table


@needs_data
def test_first_day_facts(cohort: Cohort) -> None:
    assert cohort.provenance.n_patients_read == 375
    assert cohort.provenance.exclusions == (
        ("no measurement in the window", 43),
        ("stay ended at or before the prediction time", 6),
    )
    assert len(cohort.cases) == 326
    assert cohort.labels.mean() == pytest.approx(0.460, abs=5e-4)
    assert len(set(cohort.cases.patient_ids)) == 326
    assert "71 lie after discharge" in cohort.provenance.notes[0]
    assert "14 rows without a date" in cohort.provenance.notes[0]


@needs_data
def test_two_day_facts(tmp_path: Path) -> None:
    cohort = load(DATA / FILE, tmp_path, window_hours=48)
    assert cohort.provenance.exclusions == (
        ("no measurement in the window", 375 - 356),
        ("stay ended at or before the prediction time", 32),
    )
    assert len(cohort.cases) == 324
    assert cohort.labels.mean() == pytest.approx(0.423, abs=5e-4)


@needs_data
def test_measurements_keep_their_times_and_are_converted(cohort: Cohort, published: pd.DataFrame) -> None:
    checked = 0
    for case in list(cohort.cases)[::40]:
        rows = published[(published["PATIENT_ID"] == int(case.patient_id)) & published["RE_DATE"].notna()]
        hours = (rows["RE_DATE"] - rows["Admission time"]).dt.total_seconds() / 3600
        for column, name, factor in (
            ("hemoglobin", "hemoglobin", 0.1),
            ("glucose", "glucose", 18.0156),
            ("creatinine", "creatinine", 0.011312),
        ):
            measured = rows[column].notna() & (hours <= 24)
            values = case.values_in_order([name])[:, 0]
            seen = ~np.isnan(values)
            np.testing.assert_allclose(case.times[seen], hours[measured])
            np.testing.assert_allclose(values[seen], rows.loc[measured, column] * factor, rtol=1e-6)
            checked += int(seen.sum())
    assert checked > 10


@needs_data
def test_times_increase_inside_the_window_and_values_are_plausible(cohort: Cohort) -> None:
    low, high = np.array([feature.plausible for feature in cohort.cases.features]).T
    for case in cohort.cases:
        assert (np.diff(case.times) > 0).all()
        assert 0 <= case.times[0] <= case.times[-1] <= 24
        values = case.values_in_order(case.features)
        assert not np.isnan(values).all(axis=1).any()
        # float32 rounds a limit by less than one part in a million
        assert (np.isnan(values) | ((values >= low - 1e-6) & (values <= high * (1 + 1e-6)))).all()
        assert values.dtype == np.float32


@needs_data
def test_codes_are_removed_and_counted(cohort: Cohort, published: pd.DataFrame) -> None:
    hours = (published["RE_DATE"] - published["Admission time"]).dt.total_seconds() / 3600
    coded = ((published["Platelet count"] == -1) & (hours <= 24)).sum()
    assert cohort.provenance.implausible["platelets"] == coded > 0


@needs_data
def test_cells_of_urine_are_no_cells_of_blood(cohort: Cohort, published: pd.DataFrame, tmp_path: Path) -> None:
    hours = (published["RE_DATE"] - published["Admission time"]).dt.total_seconds() / 3600
    counted = published["White blood cell count"].notna()
    urine = counted & published["hemoglobin"].isna()
    assert (urine.sum(), published["PH value"][urine].between(5, 7).sum()) == (170, 170)
    assert "170 urinalyses" in cohort.provenance.notes[-1]
    as_blood = load(DATA, tmp_path, cells_of_urine="as_blood")
    assert as_blood.cases.case_ids == cohort.cases.case_ids
    changed = 0
    for case, before in zip(cohort.cases, as_blood.cases, strict=True):
        rows = (published["PATIENT_ID"] == int(case.patient_id)) & counted & (hours <= 24) & (hours >= 0)
        for found, kept in ((case, rows & ~urine), (before, rows)):
            white = found.values_in_order(["white_blood_cells"])[:, 0]
            expected = published["White blood cell count"][
                kept & published["White blood cell count"].between(0.01, 1000)
            ]
            np.testing.assert_allclose(np.sort(white[~np.isnan(white)]), np.sort(expected), rtol=1e-6)
        changed += int((rows & urine).any())
        others = [name for name in case.features if name not in ("white_blood_cells", "red_blood_cells")]
        kept_times = np.isin(before.times, case.times)
        np.testing.assert_array_equal(case.values_in_order(others), before.values_in_order(others)[kept_times])
    assert changed == 69


@needs_data
def test_labels_and_static_facts_are_the_patients_own(cohort: Cohort, published: pd.DataFrame) -> None:
    patients = published.groupby("PATIENT_ID")[["age", "gender", "outcome"]].first()
    for case, label in zip(cohort.cases, cohort.labels, strict=True):
        row = patients.loc[float(case.patient_id)]
        assert label == row["outcome"]
        assert case.static == {"age": row["age"], "sex": float(row["gender"] == 1)}


@needs_data
def test_every_numeric_column_is_in_the_vocabulary(published: pd.DataFrame) -> None:
    columns = {str(column).strip() for column in published.columns}
    described = {"PATIENT_ID", "RE_DATE", "age", "gender", "Admission time", "Discharge time", "outcome"}
    held = {item.keys["column"] for item in vocabulary().source("tjh")}
    assert columns - described - held == {"2019-nCoV nucleic acid detection"}
    assert set(published["2019-nCoV nucleic acid detection"].dropna()) == {-1}


def small_table(rows: int = 6) -> pd.DataFrame:
    """A table in the published form: two patients, all laboratory columns filled with a middling value."""
    admission = datetime(2020, 2, 1, 8)
    table = pd.DataFrame(
        {
            "PATIENT_ID": [1.0, None, None, 2.0, None, None][:rows],
            "RE_DATE": [admission + timedelta(hours=2 * i) for i in range(rows)],
            "age": [70] * rows,
            "gender": [1, 1, 1, 2, 2, 2][:rows],
            "Admission time": [admission] * rows,
            "Discharge time": [admission + timedelta(days=9)] * rows,
            "outcome": [0, 0, 0, 1, 1, 1][:rows],
        }
    )
    vocab = vocabulary()
    for item in vocab.source("tjh"):
        zero, one = vocab.from_source(item, [0.0, 1.0])
        low, high = vocab.concept(item.concept).plausible
        table[str(item.keys["column"])] = ((low + high) / 2 - zero) / (one - zero)
    return table


def written(table: pd.DataFrame, folder: Path) -> Path:
    table.to_excel(folder / FILE, index=False)
    return folder


def test_a_small_table_in_the_published_form_is_read(tmp_path: Path) -> None:
    cohort = load(written(small_table(), tmp_path), tmp_path)
    assert cohort.cases.case_ids == ("1", "2")
    assert cohort.labels.tolist() == [0, 1]
    assert [case.times.tolist() for case in cohort.cases] == [[0, 2, 4], [6, 8, 10]]
    assert [case.static["sex"] for case in cohort.cases] == [1.0, 0.0]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    for column in ("RE_DATE", "serum sodium", "outcome"):
        written(small_table().drop(columns=column), tmp_path)
        with pytest.raises(UserError, match=f"column '{column}' is missing") as raised:
            load(tmp_path, tmp_path)
        assert FILE in raised.value.message


def test_text_where_numbers_belong_is_named(tmp_path: Path) -> None:
    table = small_table()
    table["glucose"] = table["glucose"].astype(object)
    table.loc[3, "glucose"] = "haemolysed"
    with pytest.raises(UserError, match=r"column 'glucose' must hold numbers .*haemolysed"):
        load(written(table, tmp_path), tmp_path)


def test_impossible_units_stop(tmp_path: Path) -> None:
    table = small_table()
    table["PH value"] = 7400.0
    with pytest.raises(UserError, match=r"column 'PH value'.*median of 6 values.* is 7400"):
        load(written(table, tmp_path), tmp_path)


def test_an_empty_outcome_is_named_with_its_row(tmp_path: Path) -> None:
    table = small_table()
    table.loc[4, "outcome"] = None
    with pytest.raises(UserError, match="column 'outcome' is empty in row 6"):
        load(written(table, tmp_path), tmp_path)


def test_an_outcome_is_0_or_1_and_the_same_in_all_rows_of_a_patient(tmp_path: Path) -> None:
    for change, message in (
        ({4: 0}, "column 'outcome' contradicts the patient's first row: patient 2 has 0 in row 6"),
        ({0: 2, 1: 2, 2: 2}, "column 'outcome' must hold 0 or 1: patient 1 has 2 in row 2"),
    ):
        table = small_table()
        for row, outcome in change.items():
            table.loc[row, "outcome"] = outcome
        with pytest.raises(UserError, match=message):
            load(written(table, tmp_path), tmp_path)
    table = small_table()
    table["outcome"] = table["outcome"].astype(object)
    table.loc[3, "outcome"] = "NA"
    with pytest.raises(UserError, match="column 'outcome' is empty in row 5"):
        load(written(table, tmp_path), tmp_path)


@pytest.mark.parametrize("content", [b"", b"no excel file", b"PK\x03\x04 broken"])
def test_a_corrupt_file_is_said_to_be_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(UserError, match="can't be read as an Excel file"):
        load(tmp_path, tmp_path)


@needs_data
def test_a_truncated_file_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes((DATA / FILE).read_bytes()[:200_000])
    with pytest.raises(UserError, match="can't be read as an Excel file"):
        load(tmp_path, tmp_path)


def test_missing_root_and_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        Tjh(TjhParams(root=tmp_path / "nowhere")).files()
    with pytest.raises(UserError, match=FILE):
        Tjh(TjhParams(root=tmp_path)).files()


def test_parameters_are_strict() -> None:
    assert TjhParams(root="~/x").root == Path.home() / "x"  # type: ignore[arg-type]
    for wrong in ({"window_hours": 0}, {"task": "readmission"}, {"windowhours": 3}):
        with pytest.raises(ValidationError):
            TjhParams(root="x", **wrong)  # type: ignore[arg-type]
