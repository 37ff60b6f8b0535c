"""Patients, not stays, are split; every share and class is where it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eagbench.contracts.records import Cohort, Provenance
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort_files import read_cases, read_labels, read_reference_probabilities, write_cohort
from eagbench.stages.split import assign, patient_set_hash, read_assignment, read_parts
from tests.builders import make_case, make_cohort_cases


def cohort(n_patients: int, stays: int, positive_share: float) -> Cohort:
    rng = np.random.default_rng(n_patients)
    items, labels = [], []
    for p in range(n_patients):
        for s in range(1 + p % stays):
            items.append(
                make_case({"a": [1.0, np.nan], "b": [np.nan, 2.0]}, case_id=f"c{p}-{s}", patient_id=f"p{p:04}")
            )
            labels.append(int(rng.random() < positive_share))
    return Cohort(
        cases=make_cohort_cases(items, ["a", "b"]),
        labels=np.array(labels),
        provenance=Provenance("made", "synthetic", "none", False, n_patients, (("too young", 3),)),
        reference_probabilities={"oracle": np.linspace(0, 1, len(labels))},
    )


def split(folder: Path, made: Cohort, **params: Any) -> Path:
    (folder / "cohort").mkdir()
    (folder / "split").mkdir()
    write_cohort(made, folder / "cohort")
    defaults = {"train": 0.7, "tuning": 0.1, "held_out": 0.2, "folds": None, "seed": 0, "limit": None}
    run = StageRun({**defaults, **params}, {"cohort": folder / "cohort"}, 0, folder / "split")
    assign(run)
    return folder / "split"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(60, 200), stays=st.integers(1, 4), folds=st.sampled_from([None, 3]), seed=st.integers(0, 5))
def test_no_patient_is_in_two_parts(
    tmp_path_factory: pytest.TempPathFactory, n: int, stays: int, folds: int | None, seed: int
) -> None:
    made = cohort(n, stays, 0.4)
    folder = split(tmp_path_factory.mktemp("s"), made, folds=folds, seed=seed)
    table = read_assignment(folder).to_pylist()
    for fold in {row["fold"] for row in table}:
        rows = [row for row in table if row["fold"] == fold]
        assert sorted(row["case_id"] for row in rows) == sorted(made.cases.case_ids)
        patients = {
            part: {r["patient_id"] for r in rows if r["part"] == part} for part in ("train", "tuning", "held_out")
        }
        assert not patients["train"] & patients["held_out"]
        assert not patients["tuning"] & patients["held_out"]
        assert not patients["train"] & patients["tuning"]
    held_out = [row["case_id"] for row in table if row["part"] == "held_out"]
    assert len(held_out) == len(set(held_out))
    if folds:
        assert sorted(held_out) == sorted(made.cases.case_ids)  # every case is held out exactly once


def test_shares_and_strata(tmp_path: Path) -> None:
    made = cohort(1000, 1, 0.2)
    parts = {part["part"]: part for part in read_parts(split(tmp_path, made))}
    assert [parts[p]["n_patients"] for p in ("train", "tuning", "held_out")] == [700, 100, 200]
    overall = made.labels.mean()
    assert all(abs(part["n_positive"] / part["n_cases"] - overall) < 0.011 for part in parts.values())


def test_the_seed_and_nothing_else_decides(tmp_path: Path) -> None:
    made = cohort(80, 2, 0.4)
    for name in "abc":
        (tmp_path / name).mkdir()
    a, b, c = (split(tmp_path / name, made, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    assert read_assignment(a).equals(read_assignment(b))
    assert not read_assignment(a).equals(read_assignment(c))


def test_limit_takes_patients(tmp_path: Path) -> None:
    made = cohort(200, 3, 0.4)
    rows = read_assignment(split(tmp_path, made, limit=100)).to_pylist()
    chosen = {row["patient_id"] for row in rows}
    assert len(chosen) == 100
    assert len(rows) == sum(p in chosen for p in made.cases.patient_ids)


@pytest.mark.parametrize(("n", "share"), [(100, 0.0), (100, 1.0), (100, 0.01)])
def test_a_part_of_one_class_is_the_users_to_mend(tmp_path: Path, n: int, share: float) -> None:
    with pytest.raises(UserError, match=r"one class only|can't be divided"):
        split(tmp_path, cohort(n, 1, share))


def test_a_cohort_survives_the_way_through_files(tmp_path: Path) -> None:
    made = cohort(12, 2, 0.5)
    write_cohort(made, tmp_path)
    read = read_cases(tmp_path)
    assert (read.features, read.static_names, read.task) == (
        made.cases.features, made.cases.static_names, made.cases.task,
    )  # fmt: skip
    for before, after in zip(made.cases, read, strict=True):
        assert (before.case_id, before.patient_id, before.static) == (after.case_id, after.patient_id, after.static)
        np.testing.assert_array_equal(before.times, after.times)
        np.testing.assert_array_equal(before.values, after.values)
    assert list(read_labels(tmp_path).values()) == made.labels.tolist()
    oracle = read_reference_probabilities(tmp_path)["oracle"]
    assert list(oracle.values()) == pytest.approx(made.reference_probabilities["oracle"])


def test_the_patient_hash_ignores_order_and_repeats() -> None:
    assert patient_set_hash(["b", "a", "b"]) == patient_set_hash(["a", "b"]) != patient_set_hash(["a"])
