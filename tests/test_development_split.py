"""A split to compare ideas on holds only training and tuning patients of the run that it came from."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT


def divided(run: Path, out: Path, seed: int, *options: str) -> dict[str, str]:
    script = str(ROOT / "scripts" / "development_split.py")
    command = [sys.executable, script, str(run), str(out), "--seed", str(seed), *options]
    subprocess.run(command, check=True, timeout=60)
    with out.open() as file:
        return {row["patient_id"]: row["part"] for row in csv.DictReader(file)}


def test_only_training_patients_are_held_out_and_no_held_out_patient_is_used(tmp_path: Path) -> None:
    parts = ["train"] * 70 + ["tuning"] * 10 + ["held_out"] * 20
    ids = [f"p{i:03d}" for i in range(100)]
    # A patient with two stays is there twice; a second fold is no business of ours.
    table = {
        "patient_id": [*ids, "p000", "p099"],
        "part": [*parts, "train", "train"],
        "fold": [0] * 101 + [1],
    }
    pq.write_table(pa.table(table), tmp_path / "patients.parquet")
    found = divided(tmp_path, tmp_path / "a.csv", 7)
    training = {patient for patient, part in found.items() if part == "train"}
    few, more = (divided(tmp_path, tmp_path / f"{n}.csv", 7, "--training", str(n)) for n in (20, 30))
    for some, n in ((few, 20), (more, 30)):
        assert Counter(some.values()) == {"train": n, "tuning": 10, "held_out": 21}
        assert some.items() <= found.items()
    assert few.items() <= more.items()
    assert training > {patient for patient, part in more.items() if part == "train"}
    assert Counter(found.values()) == {"train": 49, "tuning": 10, "held_out": 21}
    assert set(found) == set(ids[:80])
    assert {found[patient] for patient in ids[70:80]} == {"tuning"}
    assert divided(tmp_path, tmp_path / "b.csv", 7) == found
    assert divided(tmp_path, tmp_path / "c.csv", 8) != found
    for wrong in ("0", "50"):
        with pytest.raises(subprocess.CalledProcessError):
            divided(tmp_path, tmp_path / "no.csv", 7, "--training", wrong)
    assert not (tmp_path / "no.csv").exists()
