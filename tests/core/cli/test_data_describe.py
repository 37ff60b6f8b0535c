"""`eagbench data describe` on real records: their known counts, and a leak where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from tests.conftest import Finished

Cli = Callable[..., Finished]
TJH = "time_series_375_prerpocess_en.xlsx"


def card(finished: Finished) -> dict[str, Any]:
    assert finished.code == 0, finished.err
    [found] = json.loads(finished.out)
    return dict(found)


@pytest.fixture
def whole_stays(shared_data: Path, tmp_path: Path) -> dict[str, Any]:
    """TJH as somebody would bring it in who forgets the prediction time: every row of every stay."""
    table = pd.read_excel(shared_data / "tjh" / TJH)
    table["PATIENT_ID"] = table["PATIENT_ID"].ffill().astype(int)
    hours = (table["RE_DATE"] - table["Admission time"]).dt.total_seconds() / 3600
    table = table.assign(stay_id=table["PATIENT_ID"], time=hours)
    columns = {
        "Lactate dehydrogenase": "lactate_dehydrogenase",
        "albumin": "albumin",
        "(%)lymphocyte": "lymphocytes_percent",
    }
    rows = table.melt(id_vars=["stay_id", "time"], value_vars=list(columns)).dropna()
    rows = rows[rows["time"] >= 0]
    rows["variable"] = rows["variable"].map(columns)
    units = {"lactate_dehydrogenase": "U/L", "albumin": "g/L", "lymphocytes_percent": "%"}
    rows["unit"] = rows["variable"].map(units)
    rows.to_csv(tmp_path / "events.csv", index=False)
    stays = table.groupby("stay_id").first().reset_index()[["stay_id", "outcome", "age", "gender"]]
    stays.assign(sex=stays["gender"].map({1: "M", 2: "F"})).drop(columns="gender").to_csv(
        tmp_path / "outcomes.csv", index=False
    )
    return {
        "name": "long_csv",
        "root": str(tmp_path),
        "window_hours": 2000,
        "task": "in_hospital_mortality",
        "outcome": "die",
        "access": "open",
    }


def test_whole_stays_of_tjh_raise_a_hint_and_the_first_day_none(
    cli: Cli, shared_data: Path, whole_stays: dict[str, Any]
) -> None:
    """In the first day no value alone is near-perfect; at the end of the stay lactate dehydrogenase is."""
    day = card(cli("data", "describe", "tjh", "--set", f"root={shared_data / 'tjh'}", "--format", "json"))
    assert (day["patients_read"], day["cases"], day["with_outcome"]) == (375, 326, 150)
    assert [row["cases"] for row in day["left_out"]] == [43, 6]
    assert not any("AUROC" in hint for hint in day["hints"])
    sets = [part for key, value in whole_stays.items() if key != "name" for part in ("--set", f"{key}={value}")]
    stay = card(cli("data", "describe", "long_csv", *sets, "--format", "json"))
    assert any(hint.startswith("last lactate_dehydrogenase: AUROC 0.98") for hint in stay["hints"])
    assert any(hint.startswith("hour of the last value") for hint in stay["hints"])


def test_a_benchmarks_card_judges_training_cases(
    cli: Cli, shared_data: Path, tmp_path: Path, store_folder: Path
) -> None:
    benchmark = tmp_path / "small.yaml"
    benchmark.write_text(
        yaml.safe_dump(
            {
                "name": "small",
                "data": {"name": "tjh", "root": str(shared_data / "tjh")},
                "split": {"train": 0.7, "tuning": 0.1, "held_out": 0.2},
                "methods": ["logistic_regression"],
                "metrics": ["auroc"],
            }
        )
    )
    found = card(cli("data", "describe", benchmark, "--format", "json"))
    parts = {row["part"]: row["cases"] for row in found["split"]}
    assert parts == {"train": 228, "tuning": 33, "held_out": 65}
    assert "training cases of the first fold" in found["hints_looked_for_in"]
    changed = cli("data", "describe", benchmark, "--set", "data.window_hours=48", "--format", "json")
    assert card(changed)["cases"] == 324
    assert {path.name for path in store_folder.iterdir() if path.is_dir()} >= {"cohort", "split"}
    assert not (store_folder / "expert").exists()  # nothing was trained


def test_physionet2012_by_unit_and_without_a_hint(cli: Cli, shared_data: Path) -> None:
    root = shared_data / "physionet2012"
    found = card(cli("data", "describe", "physionet2012", "--set", f"root={root}", "--format", "json"))
    units = {row["value"]: (row["cases"], row["with_outcome"]) for row in found["groups"] if row["fact"] == "icu_type"}
    assert units == {"CCU": (577, 81), "CSRU": (874, 43), "MICU": (1478, 275), "SICU": (1068, 155)}
    assert found["hints"] == []


def test_the_eicu_demo_is_suppressed_unless_it_is_declared_open(cli: Cli, shared_data: Path) -> None:
    root = shared_data / "eicu-crd-demo"
    command = ["data", "describe", "eicu", "--set", f"root={root}", "--set", "tables=[lab,physicalExam]"]
    closed = cli(*command, "--format", "json")
    assert "counts of a few patients are suppressed" in closed.err
    assert card(closed)["with_outcome"] is None
    opened = card(cli(*command, "--set", "access=open", "--format", "json"))
    assert (opened["cases"], opened["with_outcome"]) == (88, 4)


def test_the_synthetic_hospital_says_so(cli: Cli) -> None:
    described = cli("data", "describe", "mimic4", "--set", "root=synthetic", "--set", "synthetic_patients=200")
    assert described.code == 0, described.err
    assert "mimic4, SYNTHETIC" in described.out


def test_without_parameters_a_data_set_says_what_it_needs(cli: Cli) -> None:
    described = cli("data", "describe", "tjh")
    assert "parameters of `data:`" in described.out
    assert "eagbench data describe tjh --set root=FOLDER" in described.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tjh", "--format", "html"), "choices: text, md, json"),
        (("tjh", "--profile", "quick"), "has no profiles"),
        (("nowhere.yaml",), "nowhere.yaml"),
        (("tjhh",), "did you mean 'tjh'"),
    ],
)
def test_refusals(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    refused = cli("data", "describe", *arguments)
    assert refused.code == 2
    assert message in refused.err
