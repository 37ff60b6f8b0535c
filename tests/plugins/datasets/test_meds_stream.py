"""MEDS in blocks: the cohorts of the former loader, whatever the size of a block, and no more memory for more data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from eagbench.api import Cohort, StageRun, UserError
from eagbench_plugins.datasets import case_partitions
from eagbench_plugins.datasets.meds import loader, shards
from eagbench_plugins.datasets.meds.dataset import Meds
from eagbench_plugins.datasets.meds.params import MedsParams

CONVERTED = Path(__file__).parent / "converted"
EICU, MIMIC = CONVERTED / "eicu_meds", CONVERTED / "mimic_iv_meds"
PARAMS = {"task": "in_hospital_mortality", "outcome": "die", "access": "open"}
# Computed with the loader that held everything (revision 8eaf6c4).
FORMER: list[tuple[Path, dict[str, Any], str]] = [
    (
        EICU,
        {"codes": "eicu-meds", "patients": EICU / "patients.csv", "window_hours": 24},
        "6a37d1d2c5a32584d3c9047b8c4c0cf0585f8c70fadfbe18ebf8ba1583a94cd2",
    ),
    (
        EICU,
        {"codes": "eicu-meds", "window_hours": 48, "concepts": ["glucose", "ph", "sodium"]},
        "68bcae9509d204e77d7c2203b1e36494ace9f47888a5a79004b93db67f1fd135",
    ),
    (
        MIMIC,
        {"codes": "mimic-iv-meds", "window_hours": 24},
        "e88cd7e45296e4c9adaa4848d8cbd743685810b918162afdfff24584d978678e",
    ),
    (
        MIMIC,
        {"codes": "mimic-iv-meds", "window_hours": 1000, "concepts": ["glucose", "heart_rate"]},
        "2e90e87c8641d12f3c9cfcb6bd639f02bbe4e631ef117206cd7d45ed7c6a39e9",
    ),
]


def load(root: Path, folder: Path, **params: Any) -> Cohort:
    folder.mkdir()
    given = {**PARAMS, "labels": root / "labels.parquet", **params}
    return Meds(MedsParams(root=root, **given)).load(StageRun({}, {}, 0, folder)).collect()


def digest(cohort: Cohort) -> str:
    found = hashlib.sha256()
    for case, label in zip(cohort.cases, cohort.labels, strict=True):
        found.update(repr((case.case_id, case.patient_id, case.features, dict(case.static), int(label))).encode())
        found.update(case.times.tobytes())
        found.update(case.values_in_order(case.features).tobytes())
    facts = [
        list(cohort.cases.static_names),
        dataclasses.asdict(cohort.cases.task),
        dict(cohort.groups),
        dataclasses.asdict(cohort.provenance),
    ]
    found.update(json.dumps(facts, sort_keys=True).encode())
    return found.hexdigest()


@pytest.mark.parametrize(("rows", "cases"), [(2**17, 1000), (40, 3), (7, 1)])
@pytest.mark.parametrize(("root", "params", "former"), FORMER)
def test_the_cohort_is_that_of_the_former_loader(
    root: Path,
    params: dict[str, Any],
    former: str,
    rows: int,
    cases: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (case_partitions, loader):
        monkeypatch.setattr(module, "CASES", cases)
    monkeypatch.setattr(case_partitions, "_WAITING", rows)
    monkeypatch.setattr(shards, "ROWS", rows)
    assert digest(load(root, tmp_path / "stage", **params)) == former


def test_subjects_may_be_in_any_order_and_in_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MEDS promises more, but a source that breaks it makes the same cohort."""
    monkeypatch.setattr(shards, "ROWS", 50)
    rows = pl.concat([pl.read_parquet(path) for path in sorted((EICU / "data").rglob("*.parquet"))])
    # Of two values at one time the later row counts: there must be no such pair.
    rows = rows.filter(~rows.select("subject_id", "time", "code").is_duplicated())
    given = {"labels": EICU / "labels.parquet", "codes": "eicu-meds", "window_hours": 24}
    found = []
    for name, frame in (("sorted", rows), ("mixed", rows.sample(fraction=1, shuffle=True, seed=1))):
        (tmp_path / name / "data").mkdir(parents=True)
        for i in range(3):
            frame.gather_every(3, i).write_parquet(tmp_path / name / "data" / f"{i}.parquet", row_group_size=97)
        found.append(digest(load(tmp_path / name, tmp_path / f"{name}_stage", **given)))
    assert found[0] == found[1]


def test_damaged_pages_of_a_shard_are_named(tmp_path: Path) -> None:
    """The footer is whole, so the schema can be read, and the pages are not."""
    path = write(tmp_path, subjects=3, events=40)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(UserError, match="can't be read as Parquet") as raised:
        load(tmp_path, tmp_path / "stage")
    assert str(path) in raised.value.message


def write(root: Path, subjects: int, events: int) -> Path:
    """Write a MEDS data set of one shard: so many laboratory values of each subject, and a label."""
    start = datetime(2150, 1, 1)
    rng = np.random.default_rng(0)
    n = subjects * events
    codes = pl.Series(["LOINC//2345-7//mg/dL", "LOINC//2160-0//mg/dL", "NOTE//nobody reads this"])
    usual = np.array([100, 1, 0])  # glucose, creatinine
    which = rng.integers(0, 3, n)
    hours = np.sort(rng.uniform(0, 48, (subjects, events)), axis=1).ravel()
    (root / "data").mkdir(parents=True)
    pl.DataFrame(
        {
            "subject_id": np.repeat(np.arange(subjects), events),
            "time": pl.Series((hours * 3600e6).astype(np.int64)).cast(pl.Duration("us")) + start,
            "code": codes.gather(which),
            "numeric_value": (usual[which] * rng.integers(80, 120, n) / 100).astype(np.float32),
        }
    ).write_parquet(root / "data" / "0.parquet")
    pl.DataFrame(
        {
            "subject_id": np.arange(subjects),
            "prediction_time": [start + timedelta(hours=48)] * subjects,
            "boolean_value": np.arange(subjects) % 2 == 0,
        },
        schema_overrides={"prediction_time": pl.Datetime("us")},
    ).write_parquet(root / "labels.parquet")
    return root / "data" / "0.parquet"


# Prints by how many bytes loading lets the process grow, after a small data set.
CHILD = """
import sys
from pathlib import Path
from eagbench.api import StageRun
from eagbench_plugins.datasets import case_partitions
from eagbench_plugins.datasets.meds import loader, shards
from eagbench_plugins.datasets.meds.dataset import Meds
from eagbench_plugins.datasets.meds.params import MedsParams

shards.ROWS, case_partitions._WAITING = 20_000, 40_000
case_partitions.CASES = loader.CASES = 50


def number(key):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if key in line)


def load(root, out):
    out.mkdir()
    dataset = Meds(MedsParams(
        root=root, labels=root / "labels.parquet", task="t", outcome="o", access="open", unknown=["age", "sex"]
    ))
    sizes = []
    dataset.load(StageRun({}, {}, 0, out)).read(lambda block: sizes.append(len(block.items)))
    assert sum(sizes) > 0


load(Path(sys.argv[1]), Path(sys.argv[3]) / "small")
before = number("VmRSS:")
load(Path(sys.argv[2]), Path(sys.argv[3]) / "large")
print(1024 * (number("VmHWM:") - before))
"""


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    """Ten times the events take at most twice the memory of those that fill the blocks."""
    write(tmp_path / "warm", subjects=60, events=100)
    grown = []
    for subjects in (120, 1200):
        write(tmp_path / str(subjects), subjects, events=400)
        out = tmp_path / f"{subjects}_out"
        out.mkdir()
        arguments = [tmp_path / "warm", tmp_path / str(subjects), out]
        done = subprocess.run(
            [sys.executable, "-c", CHILD, *map(str, arguments)],
            env={**os.environ, "POLARS_MAX_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        grown.append(int(done.stdout))
    assert grown[1] < 2 * grown[0], grown
