"""Runs on splits that somebody else made: in the proof of `verify` as any other, and said in the report."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import Finished

BENCHMARK = """\
name: given
data: {data}
split: {split}
methods: [logistic_regression]
metrics: [auroc, brier]
intervals: {{resamples: 100}}
"""
SYNTHETIC = "{name: mimic4, root: synthetic, synthetic_patients: 400}"


def run(folder: Path, run_command: Callable[..., Finished], data: str, split: str, name: str = "out") -> Finished:
    (folder / "given.yaml").write_text(BENCHMARK.format(data=data, split=split))
    env = {"EAGBENCH_STORE": str(folder / "store")}
    return run_command("run", folder / "given.yaml", "--out", folder / name, env=env)


def parts_of(out: Path) -> dict[str, str]:
    return {row["patient_id"]: row["part"] for row in pq.read_table(out / "patients.parquet").to_pylist()}


@pytest.fixture(scope="module")
def by_years(tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., Finished]) -> Path:
    folder = tmp_path_factory.mktemp("years")
    split = "{by: anchor_year_group, train: [2008 - 2010, 2011 - 2013], held_out: [2017 - 2019, 2020 - 2022]}"
    done = run(folder, run_command, SYNTHETIC, split)
    assert done.code == 0, done.err
    return folder


def test_later_years_are_held_out_and_it_is_proved_and_said(
    by_years: Path, run_command: Callable[..., Finished]
) -> None:
    out = by_years / "out"
    done = run_command("verify", out)
    assert done.code == 0
    assert "1 folds with disjoint patients" in done.out
    manifest = json.loads((out / "manifest.json").read_text())
    [notes] = manifest["split_notes"].values()
    assert notes == [
        "Patients are divided by anchor_year_group.",
        "90 cases are in no part: no part names their anchor_year_group.",
    ]
    assert [(p["part"], p["n_cases"]) for p in manifest["parts"]] == [("train", 124), ("tuning", 14), ("held_out", 169)]
    report = (out / "report.html").read_text()
    assert "by anchor_year_group: 2017 - 2019 and 2020 - 2022 held out" in report
    assert "90 cases are in no part" in report


def test_a_file_gives_the_same_parts_wherever_it_is(by_years: Path, run_command: Callable[..., Finished]) -> None:
    parts = parts_of(by_years / "out")
    for place in ("here", "there"):
        (by_years / place).mkdir()
        with (by_years / place / "splits.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([("patient_id", "part"), *parts.items()])
    split = "{{file: {}, missing: leave_out}}"
    done = run(by_years, run_command, SYNTHETIC, split.format(by_years / "here" / "splits.csv"), "file")
    assert done.code == 0, done.err
    assert parts_of(by_years / "file") == parts
    for table in ("results.csv", "comparisons.csv"):
        assert (by_years / "file" / table).read_bytes() == (by_years / "out" / table).read_bytes()
    assert run_command("verify", by_years / "file").code == 0
    done = run(by_years, run_command, SYNTHETIC, split.format(by_years / "there" / "splits.csv"), "moved")
    assert "stages: 0 computed" in done.out
    (by_years / "there" / "splits.csv").unlink()
    done = run(by_years, run_command, SYNTHETIC, split.format(by_years / "there" / "splits.csv"), "gone")
    assert done.code == 2
    assert "split.file: there is no file" in done.err


def test_a_patient_moved_into_training_behind_the_split_is_found(
    by_years: Path, run_command: Callable[..., Finished]
) -> None:
    out = by_years / "tampered"
    parts = by_years / "out"
    out.mkdir()
    for path in parts.rglob("*"):
        if path.is_file():
            (out / path.relative_to(parts)).parent.mkdir(parents=True, exist_ok=True)
            (out / path.relative_to(parts)).write_bytes(path.read_bytes())
    table = pq.read_table(out / "patients.parquet").to_pylist()
    moved = next(row for row in table if row["part"] == "held_out")
    pq.write_table(
        pq.read_table(out / "patients.parquet").from_pylist([*table, {**moved, "part": "train"}]),
        out / "patients.parquet",
    )
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"]["patients.parquet"] = hashlib.sha256((out / "patients.parquet").read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps(manifest))
    done = run_command("verify", out)
    assert done.code != 0
    assert "1 patients are both trained on and held out" in done.out + done.err


def test_hospitals_are_left_out_whole(tmp_path: Path, run_command: Callable[..., Finished], shared_data: Path) -> None:
    root = shared_data / "eicu-crd-demo"
    data = f"{{name: eicu, root: {root}, access: open, tables: [lab], window_hours: 6}}"
    done = run(tmp_path, run_command, data, "{by: hospital, folds: 3, tuning: 0.2}")
    assert done.code != 0
    assert "the split by hospital puts 1 of the patients into two parts" in done.err
    done = run(tmp_path, run_command, data, "{by: hospital, folds: 3, tuning: 0.2, overlap: leave_out}")
    assert done.code == 0, done.err
    assert run_command("verify", tmp_path / "out").code == 0
    assert "divided by hospital into 3 folds" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("splt", "'splt' doesn't name a split; the only word is `source`"),
        ("{file: x.csv, tunin: 0.1}", "did you mean 'tuning'? choices: file, missing, overlap, seed, tuning"),
        ("{by: icu_type, held_out: [a], tran: [b]}", "did you mean 'train'? choices: by, folds, held_out"),
        ("{by: icu_type, held_out: [a], train: [a]}", "a is named twice"),
        ("{by: icu_type}", "give the values of 'icu_type' to hold out"),
        ("{by: source, tuning: 1.5}", "'split.tuning': input should be less than 1, not 1.5"),
        ("source", "the data set has no split of its own"),
    ],
)
def test_what_is_wrong_with_a_split_is_said(
    tmp_path: Path, run_command: Callable[..., Finished], split: str, said: str
) -> None:
    done = run(tmp_path, run_command, "{name: mimic4, root: synthetic, synthetic_patients: 100}", split)
    assert done.code == 2
    assert said in done.err
