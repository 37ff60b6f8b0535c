"""Splits that somebody else made: what they say is done, and what is wrong with them is said."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.contracts.records import SOURCE_SPLIT, Cohort, Provenance
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages import nested_split
from eagbench.stages.cohort_files import write_cohort
from eagbench.stages.given_split import from_fact, from_file, from_source, read_notes
from eagbench.stages.split import read_assignment
from eagbench.stages.split_file import read_split_file
from tests.builders import make_case, make_cohort_cases

PARAMS = {"tuning": 0.2, "missing": "refuse", "overlap": "refuse", "folds": None, "seed": 0, "limit": None}


def cohort(groups: Mapping[str, tuple[str, ...]] | None = None) -> Cohort:
    """40 patients with two cases each, `p00-0` and `p00-1`; every third patient has the outcome in both."""
    items = [
        make_case({"a": [1.0]}, case_id=f"p{p:02}-{stay}", patient_id=f"p{p:02}") for p in range(40) for stay in (0, 1)
    ]
    return Cohort(
        cases=make_cohort_cases(items, ["a"]),
        labels=np.array([int(p % 3 == 0) for p in range(40) for _ in (0, 1)]),
        provenance=Provenance("made", "synthetic", "none", False, 40),
        groups=groups or {},
    )


def run(folder: Path, function: Any, made: Cohort, **params: Any) -> dict[str, list[str]]:
    """Run a split in a new folder (`latest`) and return the case ids of each part (of the first fold)."""
    place = Path(tempfile.mkdtemp(dir=folder))
    for name in ("cohort", "split"):
        (place / name).mkdir()
    write_cohort(made, place / "cohort")
    function(StageRun({**PARAMS, **params}, {"cohort": place / "cohort"}, 0, place / "split"))
    (folder / "latest").write_text(str(place))
    rows = [row for row in read_assignment(place / "split").to_pylist() if row["fold"] == 0]
    return {part: [row["case_id"] for row in rows if row["part"] == part] for part in ("train", "tuning", "held_out")}


def latest(folder: Path, name: str = "split") -> Path:
    return Path((folder / "latest").read_text()) / name


def csv_of(folder: Path, rows: Mapping[str, str], header: str = "patient_id,part") -> str:
    path = folder / "splits.csv"
    path.write_text("\n".join([header, *(f"{key},{part}" for key, part in rows.items())]) + "\n")
    return str(path)


BY_PATIENT = {f"p{p:02}": "held_out" if p < 10 else "tuning" if p < 18 else "train" for p in range(40)}


def test_a_file_decides_and_nothing_else(tmp_path: Path) -> None:
    parts = run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, BY_PATIENT), seed=7)
    assert parts == {
        part: [f"{p}-{stay}" for p, its in BY_PATIENT.items() if its == part for stay in (0, 1)]
        for part in ("train", "tuning", "held_out")
    }
    digest = hashlib.sha256((tmp_path / "splits.csv").read_bytes()).hexdigest()
    assert read_notes(latest(tmp_path)) == [f"The split is that of the file splits.csv, SHA-256 {digest}."]


def test_parquet_by_whole_numbers_says_the_same_as_csv_with_a_byte_order_mark(tmp_path: Path) -> None:
    table = pa.table({"subject_id": pa.array([1, 2, 3]), "split": ["train", "tuning", "held_out"]})
    pq.write_table(table, tmp_path / "splits.parquet")
    (tmp_path / "splits.csv").write_bytes(b"\xef\xbb\xbfsubject_id, split\r\n1,train\r\n2, tuning\r\n3,held_out\r\n")
    expected = {"1": "train", "2": "tuning", "3": "held_out"}
    assert read_split_file(tmp_path / "splits.parquet").parts == expected
    assert read_split_file(tmp_path / "splits.csv").parts == expected


def test_ids_keep_their_leading_zeros(tmp_path: Path) -> None:
    assert read_split_file(Path(csv_of(tmp_path, {"007": "train"}))).parts == {"007": "train"}


def test_tuning_is_drawn_from_training_patients_by_the_seed(tmp_path: Path) -> None:
    given = {p: "train" if part == "tuning" else part for p, part in BY_PATIENT.items()}
    parts = run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, given))
    again = run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, given))
    other = run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, given), seed=1)
    assert parts == again
    assert parts["tuning"] != other["tuning"]
    assert parts["held_out"] == other["held_out"]
    assert len(parts["tuning"]) == 12  # 20 % of 30 patients, with two cases each
    assert not {case[:3] for case in parts["tuning"]} & {case[:3] for case in parts["train"]}


def test_a_case_that_a_file_does_not_name_is_refused_unless_declared(tmp_path: Path) -> None:
    file = csv_of(tmp_path, {p: part for p, part in BY_PATIENT.items() if p != "p39"})
    with pytest.raises(UserError, match=r"does not say in which part 2 of 80 cases are, the first is p39-0 of patient"):
        run(tmp_path, from_file, cohort(), file=file)
    parts = run(tmp_path, from_file, cohort(), file=file, missing="leave_out")
    assert sum(map(len, parts.values())) == 78
    assert "2 cases are in no part: the file splits.csv does not name them." in read_notes(latest(tmp_path))


def test_unknown_ids_are_counted_and_a_file_of_another_cohort_is_refused(tmp_path: Path) -> None:
    run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, {**BY_PATIENT, "x1": "train", "x2": "held_out"}))
    assert "2 of its 42 patients are not in the cohort." in read_notes(latest(tmp_path))
    with pytest.raises(UserError, match=r"none of its 1 patients is in the cohort: it names 'P00', the cohort 'p00'"):
        run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, {"P00": "train"}))


def test_a_patient_in_two_parts_is_refused_or_keeps_the_held_out_cases(tmp_path: Path) -> None:
    by_case = {f"{p}-{stay}": part for p, part in BY_PATIENT.items() for stay in (0, 1)} | {"p00-1": "train"}
    file = csv_of(tmp_path, by_case, "case_id,part")
    with pytest.raises(UserError, match=r"splits.csv puts 1 of the patients into two parts, the first is p00"):
        run(tmp_path, from_file, cohort(), file=file)
    parts = run(tmp_path, from_file, cohort(), file=file, overlap="leave_out")
    assert "p00-0" in parts["held_out"]
    assert "p00-1" not in [case for cases in parts.values() for case in cases]
    assert any(note.startswith("1 cases of 1 patients are in no part") for note in read_notes(latest(tmp_path)))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("patient_id,part\np1,train\np1,held_out\n", "patient_id p1 is in two parts, train and held_out"),
        ("patient_id,part\np1,test\n", "row 1 names the part 'test'"),
        ("patient_id,part\np1\n", "row 1 has no part"),
        ("patient_id,part\n,train\n", "row 1 has no patient_id"),
        ("patient,part\np1,train\n", "has no column patient_id or subject_id or case_id"),
        ("patient_id,case_id,part\np1,c,train\n", "has the columns patient_id and case_id"),
        ("patient_id,fold\np1,1\n", "has no column part or split"),
        ("", "has no column patient_id"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(UserError, match=what):
        read_split_file(tmp_path / "splits.csv")


def test_ids_that_became_floating_point_numbers_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"patient_id": [1.0, None], "part": ["train", "train"]}), tmp_path / "splits.parquet")
    with pytest.raises(UserError, match="holds double, expected text or whole numbers"):
        read_split_file(tmp_path / "splits.parquet")
    (tmp_path / "splits.parquet").write_bytes(b"no")
    with pytest.raises(UserError, match="can't be read as Parquet"):
        read_split_file(tmp_path / "splits.parquet")


def test_the_source_s_own_split_decides(tmp_path: Path) -> None:
    own = tuple(BY_PATIENT[f"p{p:02}"] for p in range(40) for _ in (0, 1))
    parts = run(tmp_path, from_source, cohort({SOURCE_SPLIT: own}))
    assert {part: len(cases) for part, cases in parts.items()} == {"train": 44, "tuning": 16, "held_out": 20}
    with pytest.raises(UserError, match="has no split of its own"):
        run(tmp_path, from_source, cohort())
    with pytest.raises(UserError, match="has the part 'dev'"):
        run(tmp_path, from_source, cohort({SOURCE_SPLIT: ("dev", *own[1:])}))
    with pytest.raises(UserError, match="own split does not say in which part 1 of 80"):
        run(tmp_path, from_source, cohort({SOURCE_SPLIT: ("", *own[1:])}))


YEARS = tuple(("2008", "2011", "2014", "2017")[p % 4] for p in range(40) for _ in (0, 1))


def test_years_divide_the_patients_and_years_that_are_not_named_are_left_out(tmp_path: Path) -> None:
    parts = run(tmp_path, from_fact, cohort({"years": YEARS}), by="years", train=["2008", "2011"], held_out=["2017"])
    assert {case[:3] for case in parts["held_out"]} == {f"p{p:02}" for p in range(3, 40, 4)}
    assert {case[:3] for part in ("train", "tuning") for case in parts[part]} == {
        f"p{p:02}" for p in range(40) if p % 4 < 2
    }
    assert "20 cases are in no part: no part names their years." in read_notes(latest(tmp_path))
    rest = run(tmp_path, from_fact, cohort({"years": YEARS}), by="years", train=None, held_out=["2017"])
    assert len(rest["train"]) + len(rest["tuning"]) == 60


def test_an_unknown_fact_or_value_is_refused_with_choices(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no fact 'year'") as error:
        run(tmp_path, from_fact, cohort({"years": YEARS}), by="year", train=None, held_out=["2017"])
    assert "did you mean 'years'" in str(error.value.hint)
    with pytest.raises(UserError, match="no case of the cohort has the years '2018'"):
        run(tmp_path, from_fact, cohort({"years": YEARS}), by="years", train=None, held_out=["2018"])


def test_each_hospital_is_held_out_once_and_whole(tmp_path: Path) -> None:
    hospitals = tuple(f"h{p % 8}" for p in range(40) for _ in (0, 1))
    run(tmp_path, from_fact, cohort({"hospital": hospitals}), by="hospital", train=None, held_out=None, folds=3)
    rows = read_assignment(latest(tmp_path)).to_pylist()
    place = dict(zip(cohort().cases.case_ids, hospitals, strict=True))
    held_out = [row["case_id"] for row in rows if row["part"] == "held_out"]
    assert sorted(held_out) == sorted(place)
    for fold in range(3):
        mine = {
            part: {place[row["case_id"]] for row in rows if row["fold"] == fold and row["part"] == part}
            for part in ("train", "tuning", "held_out")
        }
        assert mine["held_out"]
        assert not (mine["train"] | mine["tuning"]) & mine["held_out"]
    with pytest.raises(UserError, match="8 values of hospital can't be divided into 9 folds"):
        run(tmp_path, from_fact, cohort({"hospital": hospitals}), by="hospital", train=None, held_out=None, folds=9)


def test_too_few_events_for_folds_of_hospitals_are_said(tmp_path: Path) -> None:
    made = cohort({"hospital": tuple(f"h{p % 8}" for p in range(40) for _ in (0, 1))})
    made.labels[:] = 1
    made.labels[0] = 0
    with pytest.raises(UserError, match=r"part of fold|can't be divided by hospital"):
        run(tmp_path, from_fact, made, by="hospital", train=None, held_out=None, folds=3)


def test_a_limit_takes_the_patients_that_it_takes_of_any_split(tmp_path: Path) -> None:
    parts = run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, BY_PATIENT), limit=30)
    order = np.random.default_rng([0, 1]).permutation(40)[:30]
    assert {case[:3] for cases in parts.values() for case in cases} == {f"p{p:02}" for p in order}


def test_a_part_of_one_class_is_refused(tmp_path: Path) -> None:
    given = {
        p: "held_out" if p == "p01" else part for p, part in BY_PATIENT.items() if part != "held_out" or p == "p01"
    }
    with pytest.raises(UserError, match="held-out part would hold 2 cases, 0 of them positive"):
        run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, given), missing="leave_out")


def test_a_sweep_does_not_take_back_what_a_split_left_out(tmp_path: Path) -> None:
    by_case = {f"{p}-{stay}": part for p, part in BY_PATIENT.items() for stay in (0, 1)}
    del by_case["p39-1"], by_case["p20-0"]
    run(tmp_path, from_file, cohort(), file=csv_of(tmp_path, by_case, "case_id,part"), missing="leave_out")
    (tmp_path / "nested").mkdir()
    inputs = {
        "cohort": latest(tmp_path, "cohort"),
        "split": latest(tmp_path),
        "split_cohort": latest(tmp_path, "cohort"),
    }
    params = {"scheme": "tuning_part", "folds": 1, "fold": 0, "seed": 0}
    nested_split.assign(StageRun(params, inputs, 0, tmp_path / "nested"))
    cases = read_assignment(tmp_path / "nested")["case_id"].to_pylist()
    assert sorted(cases) == sorted(case for case, part in by_case.items() if part != "held_out")
