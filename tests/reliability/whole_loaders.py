"""Damaged copies of small data sets through whole loaders: an input error that names what is wrong, or a sane cohort.

Bytes are flipped, cut and doubled, lines and columns swapped, files emptied, left out, exchanged and gzipped.
"""

from __future__ import annotations

import gzip
import math
import random
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from eagbench.contracts.records import Cohort
from eagbench.contracts.rules import ContractError, check_cohort
from eagbench.contracts.stages import StageRun
from eagbench.errors import UserError
from eagbench.stages.cohort import read_cohort
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets.eicu.dataset import Eicu
from eagbench_plugins.datasets.icu_demo import IcuDemo
from eagbench_plugins.datasets.long_csv.dataset import LongCsv
from eagbench_plugins.datasets.meds.dataset import Meds
from eagbench_plugins.datasets.mimic4.dataset import Mimic4
from eagbench_plugins.datasets.mimic4.synthetic import write_hospital
from eagbench_plugins.datasets.physionet2012 import PhysioNet2012
from eagbench_plugins.datasets.tjh import Tjh
from tests.plugins.datasets import test_eicu, test_meds, test_physionet2012, test_tjh
from tests.reliability.rows import Row

SMALL, FULL = 4, 200
OUTCOME = {"task": "in_hospital_mortality", "outcome": "die before leaving the hospital"}


@dataclass(frozen=True, slots=True)
class Source:
    """A small data set: its loader, how its files are made, and the parameters beside `root`."""

    dataset: Any
    write: Callable[[Path], object]
    params: Callable[[Path], Mapping[str, Any]]


def _long_csv(root: Path) -> None:
    units = {"heart_rate": (80, "beats/min"), "temperature": (37, "degC")}
    rows = [
        f"{stay},{hour},{name},{value},{unit}\n"
        for stay in range(6)
        for hour in range(8)
        for name, (value, unit) in units.items()
    ]
    (root / "events.csv").write_text("stay_id,time,variable,value,unit\n" + "".join(rows))
    stays = [f"{stay},{stay % 2},{50 + stay},m\n" for stay in range(6)]
    (root / "outcomes.csv").write_text("stay_id,outcome,age,sex\n" + "".join(stays))


def _eicu(root: Path) -> None:
    patients = [{"patientunitstayid": i, "patienthealthsystemstayid": i, "uniquepid": f"p{i}"} for i in range(1, 7)]
    rows = [{"patientunitstayid": i, "labresultoffset": 60 * h} for i in range(1, 7) for h in range(5)]
    test_eicu.write(root, patients, lab=rows)


def _physionet(root: Path) -> None:
    rows = "01:00,HR,80\n02:30,Temp,37.1\n03:00,Na,140\n"
    test_physionet2012.write(root, {str(i): test_physionet2012.record(i, rows) for i in range(1, 8)})


def _meds(root: Path) -> None:
    rows = [(i, h, "LOINC//2160-0//mg/dL", 1.0, None) for i in range(1, 5) for h in range(1, 6)]
    test_meds.small(root, rows, [(i, test_meds.NOON, i % 2 == 0) for i in range(1, 5)])
    (root / "codes.yaml").write_text("x: {concept: glucose, unit: mg/dL}\n")


def _icu_demo(root: Path) -> None:
    stays = pl.DataFrame({"stay_id": range(6), "age": 60.0, "sex": "Male", "height": 170.0, "weight": 80.0})
    hours = [(stay, timedelta(hours=hour)) for stay in range(6) for hour in range(4)]
    rows = pl.DataFrame(hours, schema={"stay_id": pl.Int64, "time": pl.Duration("ms")}, orient="row")
    columns = [str(item.keys["column"]) for item in vocabulary().source("icu_demo")]
    rows = rows.with_columns(pl.lit(80.0 if name == "hr" else None, pl.Float64).alias(name) for name in columns)
    stays.write_parquet(root / "sta.parquet")
    rows.write_parquet(root / "dyn.parquet")
    pl.DataFrame({"stay_id": range(6), "label": [0, 1] * 3}).write_parquet(root / "outc.parquet")


SOURCES: dict[str, Source] = {
    "tjh": Source(Tjh, lambda root: test_tjh.written(test_tjh.small_table(), root), lambda _: {}),
    "physionet2012": Source(PhysioNet2012, _physionet, lambda _: {}),
    "icu_demo": Source(IcuDemo, _icu_demo, lambda _: {}),
    "long_csv": Source(LongCsv, _long_csv, lambda _: OUTCOME),
    "meds": Source(Meds, _meds, lambda root: {**OUTCOME, "labels": root / "labels", "codes": root / "codes.yaml"}),
    "eicu": Source(Eicu, _eicu, lambda _: {"tables": ["lab"]}),
    "mimic4": Source(Mimic4, lambda root: write_hospital(root, patients=12, seed=1), lambda _: {}),
}


def _damage(root: Path, rng: random.Random) -> str:
    """Damage one file, and say how."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    path = rng.choice(files)
    packed = path.name.endswith(".gz")
    content = path.read_bytes()
    inside = packed and rng.random() < 0.6
    text = gzip.decompress(content) if inside else content
    kind = rng.choice(sorted(_DAMAGES))
    changed = _DAMAGES[kind](text, rng)
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(gzip.compress(changed, 1) if inside else changed)
    if rng.random() < 0.05:
        other = rng.choice(files)
        shutil.copyfile(other, path) if other.is_file() and other != path else None
    return f"{kind} in {path.name}{' unpacked' if inside else ''}"


def _flipped(text: bytes, rng: random.Random) -> bytes:
    changed = bytearray(text)
    for _ in range(rng.choice((1, 1, 3, 30))):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _lines(text: bytes, rng: random.Random) -> bytes:
    lines = text.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _cells(text: bytes, rng: random.Random) -> bytes:
    """Change the cells of a few lines: swapped, empty, or odd."""
    lines = text.split(b"\n")
    for _ in range(rng.choice((1, 1, 4))):
        place = rng.randrange(len(lines))
        cells = lines[place].split(b",")
        one, other = rng.randrange(len(cells)), rng.randrange(len(cells))
        odd = (
            b"",
            b"NA",
            b"inf",
            b"-1",
            b"1e400",
            b'"',
            b"9999-12-31 23:59:59",
            b"0001-01-01 00:00:00",
            b"x",
            b"9" * 400,
        )
        cells[one], cells[other] = rng.choice((cells[other], *odd)), cells[one]
        lines[place] = b",".join(cells)
    return b"\n".join(lines)


_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "bytes": _flipped,
    "another end": lambda text, rng: text[: rng.randrange(len(text))],
    "a line twice": lambda text, rng: text + b"\n" + rng.choice(text.split(b"\n")),
    "everything twice": lambda text, _: text + text,
    "swapped lines": _lines,
    "cells": _cells,
    "more cells": _cells,
    "no content": lambda text, _: b"",
    "no file": lambda text, _: None,
    "a cut in the middle": lambda text, rng: text[: len(text) // 2] + text[len(text) // 2 + rng.randrange(1, 50) :],
    "zeros": lambda text, rng: bytes(rng.randrange(1, 5_000)),
    "UTF-16": lambda text, _: text.decode("latin-1").encode("utf-16"),
}


def _sane(cohort: Cohort) -> str | None:
    """Say what is wrong with a cohort that was read from a damaged source."""
    try:
        check_cohort(cohort)
    except ContractError as error:
        return str(error)
    for case in cohort.cases:
        if not np.isfinite(case.times).all() or (case.times < 0).any():
            return f"times of case {case.case_id}: {case.times}"
        if np.isinf(case.values).any():
            return f"an infinite value in case {case.case_id}"
        wrong = {name: value for name, value in case.static.items() if math.isinf(value)}
        if wrong:
            return f"facts of case {case.case_id}: {wrong}"
    return None


def _row(name: str, source: Source, times: int, rng: random.Random, folder: Path) -> Row:
    whole = folder / name
    whole.mkdir()
    source.write(whole)
    lost: list[str] = []
    refused = 0
    for number in range(times):
        root, out = folder / f"{name}-{number}", folder / f"{name}-{number}-out"
        shutil.copytree(whole, root)
        out.mkdir()
        damage = "nothing" if number == 0 else _damage(root, rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = source.dataset(source.dataset.Params(root=str(root), **source.params(root)))
                dataset.files()
                wrong = _sane(read_cohort(dataset, StageRun(params={}, inputs={}, seed=0, out=out)))
        except UserError as error:
            refused += 1
            wrong = f"it was refused: {error.what}" if number == 0 else None
        except Exception as error:  # noqa: BLE001 - no other is allowed
            wrong = f"{type(error).__name__}: {str(error)[:200]}"
        if wrong is not None:
            lost.append(f"{damage}: {wrong}")
        shutil.rmtree(root)
        shutil.rmtree(out)
    said = f"an input error ({refused / times:.0%}) or a sane cohort"
    return Row(f"damaged copies of a small {name}", times, said, tuple(lost))


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Load so many damaged copies, as many with each loader; the first one of each is whole."""
    each = max(2, math.ceil(times / len(SOURCES)))
    return [_row(name, source, each, random.Random(f"{seed} {name}"), folder) for name, source in SOURCES.items()]
