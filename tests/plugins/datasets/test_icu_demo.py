"""The open ICU demos in YAIB's form: the facts of the data's README, planted unit errors, and bad files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from pydantic import ValidationError

from eagbench.contracts.components import Dataset
from eagbench.contracts.records import Cohort
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets.icu_demo import IcuDemo, IcuDemoParams
from tests.conftest import Finished

PARTS = {"mimic_demo": (99, 21), "eicu_demo": (1367, 70)}


def load(root: Path, tmp_path: Path, **params: Any) -> Cohort:
    run = StageRun(params={}, inputs={}, seed=0, out=tmp_path)
    return IcuDemo(IcuDemoParams(root=root, **params)).load(run)


@pytest.fixture(scope="module")
def cohorts(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Cohort]:
    folder = tmp_path_factory.mktemp("icu_demo")
    return {part: load(shared_data / "icu-demo" / part, folder) for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_facts(cohorts: dict[str, Cohort], part: str) -> None:
    cohort = cohorts[part]
    assert (len(cohort.cases), int(cohort.labels.sum())) == PARTS[part]
    assert cohort.provenance.n_patients_read == len(cohort.cases)
    assert cohort.provenance.patient_is_stay
    assert "stands for a patient" in cohort.provenance.notes[0]
    assert len(cohort.cases.features) == 48
    assert len(set(cohort.cases.patient_ids)) == len(cohort.cases)


def test_it_is_a_dataset() -> None:
    assert isinstance(IcuDemo(IcuDemoParams(root=Path("x"))), Dataset)


@pytest.mark.parametrize("part", PARTS)
def test_the_records_are_those_of_the_files(cohorts: dict[str, Cohort], shared_data: Path, part: str) -> None:
    """An independent reading with pandas: every number below 24 hours, and no other."""
    folder = shared_data / "icu-demo" / part
    rows, facts = pd.read_parquet(folder / "dyn.parquet"), pd.read_parquet(folder / "sta.parquet").set_index("stay_id")
    labels = pd.read_parquet(folder / "outc.parquet").set_index("stay_id")["label"]
    rows = rows[rows["time"] < pd.Timedelta("24h")]
    checked = 0
    cohort = cohorts[part]
    for case, label in list(zip(cohort.cases, cohort.labels, strict=True))[::5]:
        mine = rows[rows["stay_id"] == int(case.case_id)]
        hours = mine["time"].dt.total_seconds().to_numpy() / 3600
        for column, name in (("glu", "glucose"), ("crea", "creatinine"), ("urine", "urine_output"), ("k", "potassium")):
            known = mine[column].notna().to_numpy()
            series = case.values_in_order([name])[:, 0]
            np.testing.assert_array_equal(case.times[~np.isnan(series)], hours[known])
            np.testing.assert_allclose(series[~np.isnan(series)], mine[column].to_numpy()[known], rtol=1e-6)
            checked += int(known.sum())
        static: Any = facts.loc[int(case.case_id)]
        np.testing.assert_equal(case.static["age"], static["age"])
        assert case.static["sex"] == float(static["sex"] == "Male")
        assert label == labels[int(case.case_id)]
        assert case.times.max() < 24
    assert checked > 300


def test_zeros_of_a_monitor_are_removed_and_counted(cohorts: dict[str, Cohort]) -> None:
    assert cohorts["eicu_demo"].provenance.implausible["respiratory_rate"] == 154
    heights = [case.static["height"] for case in cohorts["eicu_demo"].cases]
    assert np.nanmin(heights) >= 100  # the file has 33.6 cm


def test_a_shorter_window_is_the_beginning_of_the_longer_one(
    cohorts: dict[str, Cohort], shared_data: Path, tmp_path: Path
) -> None:
    whole = {case.case_id: case for case in cohorts["mimic_demo"].cases}
    short = load(shared_data / "icu-demo" / "mimic_demo", tmp_path, window_hours=6)
    for case in short.cases:
        first = whole[case.case_id].times < 6
        same = whole[case.case_id].values_in_order(case.features)[first]
        np.testing.assert_array_equal(case.values_in_order(case.features), same)


def copied(shared_data: Path, folder: Path, part: str = "mimic_demo") -> Path:
    """The part's files, writable."""
    for name in ("sta", "dyn", "outc"):
        (folder / f"{name}.parquet").write_bytes((shared_data / "icu-demo" / part / f"{name}.parquet").read_bytes())
    return folder


def rewrite(path: Path, **columns: pl.Expr) -> None:
    pl.read_parquet(path).with_columns(**columns).write_parquet(path)


PLANTED = [
    ("glu", "glucose", 1 / 18.0156, "mg/dL", "mmol/L"),
    ("ca", "calcium", 1 / 4.0078, "mg/dL", "mmol/L"),
    ("crea", "creatinine", 88.4, "mg/dL", "umol/L"),
    ("hgb", "hemoglobin", 10.0, "g/dL", "g/L"),
    ("mg", "magnesium", 1 / 2.4305, "mg/dL", "mmol/L"),
    ("fio2", "fraction_inspired_oxygen", 0.01, "%", "fraction"),
]


@pytest.mark.parametrize(("column", "concept", "factor", "expected", "found"), PLANTED)
def test_a_planted_unit_is_named(
    shared_data: Path, tmp_path: Path, column: str, concept: str, factor: float, expected: str, found: str
) -> None:
    rewrite(copied(shared_data, tmp_path) / "dyn.parquet", **{column: pl.col(column) * factor})
    with pytest.raises(UserError) as raised:
        load(tmp_path, tmp_path)
    assert raised.value.message.split(" column '")[1].startswith(f"{column}': {concept}: ")
    assert f"Expected unit: {expected}; found: {found}." in raised.value.message


def test_a_planted_unit_stops_a_run(
    shared_data: Path, tmp_path: Path, store_folder: Path, cli: Callable[..., Finished]
) -> None:
    root = tmp_path / "part"
    root.mkdir()
    rewrite(copied(shared_data, root) / "dyn.parquet", glu=pl.col("glu") / 18.0156)
    benchmark = tmp_path / "first.yaml"
    benchmark.write_text(
        f"name: planted\ndata: {{name: icu_demo, root: {root}}}\nsplit: {{folds: 3, seed: 0}}\n"
        "methods: [logistic_regression]\nmetrics: [auroc]\nseeds: [0]\n"
    )
    done = cli("run", benchmark, "--out", tmp_path / "out")
    assert done.code == 2
    for part in ("glucose", "Expected unit: mg/dL", "found: mmol/L", "dyn.parquet"):
        assert part in done.err
    assert "Traceback" not in done.err


def test_files_that_are_not_there(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        IcuDemo(IcuDemoParams(root=tmp_path / "nowhere")).files()
    (copied(shared_data, tmp_path) / "outc.parquet").unlink()
    with pytest.raises(UserError, match=r"there is no 'outc.parquet'"):
        IcuDemo(IcuDemoParams(root=tmp_path)).files()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("sta", lambda t: t.drop("height"), r"sta.parquet: column 'height' is missing"),
        ("dyn", lambda t: t.drop("hr"), r"dyn.parquet: column 'hr' is missing"),
        ("outc", lambda t: t.drop("label"), r"outc.parquet: column 'label' is missing"),
        ("dyn", lambda t: t.with_columns(hr=pl.lit("fast")), "column 'hr' must hold numbers, not String"),
        ("dyn", lambda t: t.with_columns(time=pl.lit(3.0)), "column 'time' must hold the time since ICU admission"),
        ("sta", lambda t: t.with_columns(stay_id=pl.lit("a")), "'stay_id' must hold a whole number"),
        ("sta", lambda t: t.head(50), "49 stays are not in sta.parquet"),
        ("sta", lambda t: pl.concat([t, t.head(1)]), "a stay appears twice"),
        ("outc", lambda t: t.head(50), "49 stays have no label"),
        ("outc", lambda t: t.with_columns(label=pl.lit(2)), "99 stays have no label of 0 or 1"),
        (
            "outc",
            lambda t: t.with_columns(
                label=pl.when(pl.col("stay_id") == t["stay_id"][3]).then(pl.lit("NA")).otherwise(pl.lit("0"))
            ),
            "1 stays have no label of 0 or 1, the first is [0-9]+, which has 'NA'",
        ),
        (
            "outc",
            lambda t: pl.concat([t, t.head(1).with_columns(label=1 - pl.col("label"))]),
            r"several labels \((0, 1|1, 0)\)",
        ),
    ],
)
def test_bad_tables_are_named(
    shared_data: Path, tmp_path: Path, file: str, change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    path = copied(shared_data, tmp_path) / f"{file}.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(UserError, match=message):
        load(tmp_path, tmp_path)


def test_a_cut_file_is_said_to_be_so(shared_data: Path, tmp_path: Path) -> None:
    path = copied(shared_data, tmp_path) / "dyn.parquet"
    for content in (b"", b"no parquet", path.read_bytes()[:5000]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"dyn.parquet: can't be read as Parquet"):
            load(tmp_path, tmp_path)


def test_parameters_are_strict() -> None:
    for wrong in ({"window_hours": 25}, {"task": "in_hospital_mortality"}, {"hours": 3}):
        with pytest.raises(ValidationError):
            IcuDemoParams(root="x", **wrong)  # type: ignore[arg-type]


def test_every_variable_of_the_files_is_mapped(shared_data: Path) -> None:
    schema = pl.read_parquet_schema(shared_data / "icu-demo" / "eicu_demo" / "dyn.parquet")
    assert {str(item.keys["column"]) for item in vocabulary().source("icu_demo")} == set(schema) - {"stay_id", "time"}
