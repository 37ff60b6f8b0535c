"""Writes the synthetic hospital as MIMIC-IV v3.1 does: the same files, columns, identifiers, units and date shift.

The data are SYNTHETIC: no record of a real person went into them, nor any estimate from records. They exist so that the
whole pipeline, from MIMIC-IV's CSV files to the report, runs without access to MIMIC-IV.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl

from eagbench_plugins.datasets.mimic4.synthetic_charting import Grid
from eagbench_plugins.datasets.mimic4.synthetic_course import (
    DAY,
    HOUR,
    Admissions,
    Ints,
    Patients,
    Stays,
    simulate,
)
from eagbench_plugins.datasets.mimic4.synthetic_events import (
    EPOCH,
    compress,
    empty,
    time_text,
    write_events,
    write_table,
)
from eagbench_plugins.datasets.mimic4.synthetic_items import CHARTED, LABS
from eagbench_plugins.datasets.mimic4.synthetic_parts import Density, Part, parts
from eagbench_plugins.datasets.mimic4.synthetic_unread import UNREAD
from eagbench_plugins.datasets.mimic4.tables import TABLES, TRUTH_COLUMNS, TRUTH_FILE

# Parts in memory: about 0.4 GB each.
_MOST_THREADS = 4
_CARE_UNITS = (
    "Medical Intensive Care Unit (MICU)",
    "Surgical Intensive Care Unit (SICU)",
    "Cardiac Vascular Intensive Care Unit (CVICU)",
    "Coronary Care Unit (CCU)",
    "Neuro Surgical Intensive Care Unit (Neuro SICU)",
)
_CARE_UNIT_SHARES = (0.40, 0.20, 0.18, 0.14, 0.08)
_YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")


def write_hospital(folder: Path, patients: int, seed: int, density: Density = "sparse") -> None:
    """Write hosp/*.csv.gz, icu/*.csv.gz and the file with the true probabilities.

    The same arguments write the same bytes: the compressed files contain no time of day and no file name. A hospital of
    several parts is written by several threads; each file is then a sequence of gzip members.

    Args:
        folder: An existing folder.
        patients: Number of patients, each with at least one ICU stay.
        seed: Seed of everything drawn.
        density: `sparse` charts only items that are read, `mimic` as many events as MIMIC-IV has.
    """
    people, admissions, stays = simulate(patients, seed)
    cut = list(parts(people, admissions, stays, seed, density))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    for name in ("hosp", "icu"):
        (folder / name).mkdir(exist_ok=True)
    # A hospital of one part draws its grid first and its events last, as it did when there were no parts.
    grids = [Grid(rng, admissions, stays)] if len(cut) == 1 else []
    write_table(folder, TABLES["patients"], _patients(rng, people))
    write_table(folder, TABLES["admissions"], _admissions(rng, people, admissions))
    write_table(folder, TABLES["icustays"], _icustays(rng, people, admissions, stays))
    for grid in grids:
        write_events(folder, cut[0], rng, grid, density)
    if len(cut) > 1:
        _write_parts(folder, cut, density)
    write_table(folder, TABLES["d_items"], _d_items(density))
    write_table(folder, TABLES["d_labitems"], _d_labitems())
    truth = pl.DataFrame(
        {
            "subject_id": people.subject_id[admissions.patient],
            "hadm_id": admissions.hadm_id,
            "probability_in_hospital_death": admissions.death_probability,
            "probability_readmission_or_death_30_days": admissions.readmission_probability,
        }
    )
    compress(folder / TRUTH_FILE, truth.select(TRUTH_COLUMNS))


def _write_parts(folder: Path, cut: Sequence[Part], density: Density) -> None:
    """Write the events of all parts, some at a time, each into a scratch folder, and join their files in order."""
    for name in ("chartevents", "labevents"):  # of an attempt that was killed
        (folder / f"{TABLES[name].file}.gz").unlink(missing_ok=True)

    def write(part: Part) -> Path:
        place = folder / f"part{part.number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        rng = part.draws(4)
        write_events(place, part, rng, Grid(rng, part.admissions, part.stays), density)
        return place

    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for place in pool.map(write, cut):
            for path in place.rglob("*.gz"):
                with path.open("rb") as written, (folder / path.relative_to(place)).open("ab") as whole:
                    shutil.copyfileobj(written, whole)
            shutil.rmtree(place)


def _optional(minutes: Ints, known: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> pl.Series:
    return pl.Series([int(m) if k else None for m, k in zip(minutes, known, strict=True)], dtype=pl.Int64)


def _choice(rng: np.random.Generator, options: tuple[str, ...], shares: tuple[float, ...], count: int) -> pl.Series:
    return pl.Series(rng.choice(np.array(options), size=count, p=shares))


def _patients(rng: np.random.Generator, people: Patients) -> pl.DataFrame:
    count = len(people.subject_id)
    return pl.DataFrame(
        {
            "subject_id": people.subject_id,
            "gender": np.where(people.is_male, "M", "F"),
            "anchor_age": people.age,
            "anchor_year": people.anchor_year,
            "anchor_year_group": _choice(rng, _YEAR_GROUPS, (0.2,) * 5, count),
            "died": _optional(people.died_minute, people.died_minute >= 0),
        }
    ).with_columns((EPOCH + pl.duration(minutes=pl.col("died"))).dt.strftime("%Y-%m-%d").alias("dod"))


def _admissions(rng: np.random.Generator, people: Patients, admissions: Admissions) -> pl.DataFrame:
    count = len(admissions.hadm_id)
    emergency = rng.random(count) < 0.75
    homes = ("HOME", "HOME HEALTH CARE", "SKILLED NURSING FACILITY", "REHAB", "CHRONIC/LONG TERM ACUTE CARE")
    alive = rng.choice(np.array(homes), size=count, p=(0.32, 0.30, 0.20, 0.12, 0.06))
    location = np.where(admissions.died, "DIED", np.where(admissions.hospice, "HOSPICE", alive))
    frame = pl.DataFrame(
        {
            "subject_id": people.subject_id[admissions.patient],
            "hadm_id": admissions.hadm_id,
            "admit": admissions.admit,
            "discharge": admissions.discharge,
            "death": _optional(admissions.discharge, admissions.died),
            "registered": _optional(admissions.admit - rng.integers(60, 8 * HOUR, count), emergency),
            "left": _optional(admissions.admit + rng.integers(1, 10, count), emergency),
            "admission_type": np.where(emergency, "EW EMER.", "SURGICAL SAME DAY ADMISSION"),
            "admit_provider_id": [f"P{code:05d}" for code in rng.integers(0, 99999, count)],
            "admission_location": np.where(emergency, "EMERGENCY ROOM", "PHYSICIAN REFERRAL"),
            "discharge_location": location,
            "insurance": _choice(rng, ("Medicare", "Private", "Medicaid", "Other"), (0.5, 0.28, 0.17, 0.05), count),
            "language": _choice(rng, ("English", "Spanish", "Russian", "Chinese"), (0.9, 0.05, 0.02, 0.03), count),
            "marital_status": _choice(
                rng, ("MARRIED", "SINGLE", "WIDOWED", "DIVORCED"), (0.46, 0.30, 0.15, 0.09), count
            ),
            "race": _choice(
                rng,
                ("WHITE", "BLACK/AFRICAN AMERICAN", "HISPANIC OR LATINO", "ASIAN", "UNKNOWN"),
                (0.68, 0.11, 0.05, 0.04, 0.12),
                count,
            ),
            "hospital_expire_flag": admissions.died.astype(np.int64),
        }
    )
    return frame.with_columns(
        time_text("admit").alias("admittime"),
        time_text("discharge").alias("dischtime"),
        time_text("death").alias("deathtime"),
        time_text("registered").alias("edregtime"),
        time_text("left").alias("edouttime"),
    ).sort("subject_id", "hadm_id")


def _icustays(rng: np.random.Generator, people: Patients, admissions: Admissions, stays: Stays) -> pl.DataFrame:
    unit = rng.choice(np.array(_CARE_UNITS), size=len(stays.stay_id), p=_CARE_UNIT_SHARES)
    return (
        pl.DataFrame(
            {
                "subject_id": people.subject_id[admissions.patient[stays.admission]],
                "hadm_id": admissions.hadm_id[stays.admission],
                "stay_id": stays.stay_id,
                "first_careunit": unit,
                "last_careunit": unit,
                "in": stays.start,
                "out": stays.end,
                "los": (stays.end - stays.start) / DAY,
            }
        )
        .with_columns(time_text("in").alias("intime"), time_text("out").alias("outtime"))
        .sort("subject_id", "hadm_id", "stay_id")
    )


def _d_items(density: Density) -> pl.DataFrame:
    items = [*CHARTED.values(), *(UNREAD if density == "mimic" else ())]
    return (
        pl.DataFrame(
            {
                "itemid": [item.itemid for item in items],
                "label": [item.label for item in items],
                "abbreviation": [item.abbreviation for item in items],
                "linksto": ["chartevents"] * len(items),
                "category": [item.category for item in items],
                "unitname": [item.unit or None for item in items],
                "param_type": [item.kind for item in items],
            }
        )
        .with_columns(*empty("lownormalvalue", "highnormalvalue"))
        .sort("itemid")
    )


def _d_labitems() -> pl.DataFrame:
    items = [item for panel in LABS.values() for item, _ in panel]
    return pl.DataFrame(
        {
            "itemid": [item.itemid for item in items],
            "label": [item.label for item in items],
            "fluid": ["Blood"] * len(items),
            "category": [item.category for item in items],
        }
    ).sort("itemid")
