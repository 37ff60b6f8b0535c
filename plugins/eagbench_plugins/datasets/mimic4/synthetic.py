"""Writes the synthetic hospital as MIMIC-IV v3.1 does: the same files, columns, identifiers, units and date shift.

The data are SYNTHETIC: no record of a real person went into them, nor any estimate from records. They exist so that the
whole pipeline, from MIMIC-IV's CSV files to the report, runs without access to MIMIC-IV.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl

from eagbench_plugins.datasets.mimic4.synthetic_charting import Grid, chart, measure
from eagbench_plugins.datasets.mimic4.synthetic_course import (
    DAY,
    HOUR,
    Admissions,
    Ints,
    Patients,
    Stays,
    simulate,
)
from eagbench_plugins.datasets.mimic4.synthetic_items import CHARTED, LABS
from eagbench_plugins.datasets.mimic4.tables import TABLES, TRUTH_COLUMNS, TRUTH_FILE, Table

_EPOCH = pl.datetime(2100, 1, 1)
_CARE_UNITS = (
    "Medical Intensive Care Unit (MICU)",
    "Surgical Intensive Care Unit (SICU)",
    "Cardiac Vascular Intensive Care Unit (CVICU)",
    "Coronary Care Unit (CCU)",
    "Neuro Surgical Intensive Care Unit (Neuro SICU)",
)
_CARE_UNIT_SHARES = (0.40, 0.20, 0.18, 0.14, 0.08)
_YEAR_GROUPS = ("2008 - 2010", "2011 - 2013", "2014 - 2016", "2017 - 2019", "2020 - 2022")


def write_hospital(folder: Path, patients: int, seed: int) -> None:
    """Write hosp/*.csv.gz, icu/*.csv.gz and the file with the true probabilities.

    The same arguments write the same bytes: the compressed files contain no time of day and no file name.

    Args:
        folder: An existing folder.
        patients: Number of patients, each with at least one ICU stay.
        seed: Seed of everything drawn.
    """
    people, admissions, stays = simulate(patients, seed)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    grid = Grid(rng, admissions, stays)
    _write(folder, TABLES["patients"], _patients(rng, people))
    _write(folder, TABLES["admissions"], _admissions(rng, people, admissions))
    _write(folder, TABLES["icustays"], _icustays(rng, people, admissions, stays))
    _write(
        folder,
        TABLES["chartevents"],
        _chartevents(rng, chart(seed, people, admissions, stays, grid), people, admissions, stays),
    )
    _write(
        folder, TABLES["labevents"], _labevents(rng, measure(seed, people, admissions, stays, grid), people, admissions)
    )
    _write(folder, TABLES["d_items"], _d_items())
    _write(folder, TABLES["d_labitems"], _d_labitems())
    truth = pl.DataFrame(
        {
            "subject_id": people.subject_id[admissions.patient],
            "hadm_id": admissions.hadm_id,
            "probability_in_hospital_death": admissions.death_probability,
            "probability_readmission_or_death_30_days": admissions.readmission_probability,
        }
    )
    _compress(folder / TRUTH_FILE, truth.select(TRUTH_COLUMNS))


def _write(folder: Path, table: Table, frame: pl.DataFrame) -> None:
    path = folder / f"{table.file}.gz"
    path.parent.mkdir(exist_ok=True)
    _compress(path, frame.select(table.columns))


def _compress(path: Path, frame: pl.DataFrame) -> None:
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed:
        frame.write_csv(packed)  # type: ignore[call-overload]


def _time(minute: str) -> pl.Expr:
    """Format a column of minutes since 2100 as MIMIC-IV writes times; null stays null."""
    return (_EPOCH + pl.duration(minutes=pl.col(minute))).dt.strftime("%Y-%m-%d %H:%M:%S")


def _empty(*names: str) -> list[pl.Expr]:
    return [pl.lit(None, dtype=pl.String).alias(name) for name in names]


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
    ).with_columns((_EPOCH + pl.duration(minutes=pl.col("died"))).dt.strftime("%Y-%m-%d").alias("dod"))


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
        _time("admit").alias("admittime"),
        _time("discharge").alias("dischtime"),
        _time("death").alias("deathtime"),
        _time("registered").alias("edregtime"),
        _time("left").alias("edouttime"),
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
        .with_columns(_time("in").alias("intime"), _time("out").alias("outtime"))
        .sort("subject_id", "hadm_id", "stay_id")
    )


def _chartevents(
    rng: np.random.Generator, events: pl.DataFrame, people: Patients, admissions: Admissions, stays: Stays
) -> pl.DataFrame:
    admission = stays.admission
    keys = pl.DataFrame(
        {
            "stay": np.arange(len(admission)),
            "subject_id": people.subject_id[admissions.patient[admission]],
            "hadm_id": admissions.hadm_id[admission],
            "stay_id": stays.stay_id,
            "out": stays.end,
            "caregiver_id": rng.integers(1, 99_999, len(admission)),
        }
    )
    # Nothing is charted at or after the end of a stay.
    events = events.join(keys, on="stay").filter(pl.col("minute") < pl.col("out"))
    events = events.sort("subject_id", "hadm_id", "stay_id", "minute", "itemid")
    return events.with_columns(
        _time("minute").alias("charttime"),
        (pl.col("minute") + pl.Series(rng.integers(1, 45, len(events)))).alias("stored"),
        pl.lit(0).alias("warning"),
    ).with_columns(_time("stored").alias("storetime"))


def _labevents(
    rng: np.random.Generator, events: pl.DataFrame, people: Patients, admissions: Admissions
) -> pl.DataFrame:
    keys = pl.DataFrame(
        {
            "admission": np.arange(len(admissions.hadm_id)),
            "subject_id": people.subject_id[admissions.patient],
            "hadm": admissions.hadm_id,
        }
    )
    events = events.join(keys, on="admission").sort("subject_id", "minute", "specimen", "itemid")
    count = len(events)
    # In MIMIC-IV some results of a stay lack the admission's id.
    unlinked = pl.Series(rng.random(count) < 0.02)
    return events.with_columns(
        pl.Series("labevent_id", np.arange(1, count + 1)),
        (pl.col("specimen") + 10_000_000).alias("specimen_id"),
        pl.when(unlinked).then(None).otherwise(pl.col("hadm")).alias("hadm_id"),
        _time("minute").alias("charttime"),
        (pl.col("minute") + pl.Series(rng.integers(20, 150, count))).alias("stored"),
        pl.lit("STAT").alias("priority"),
        *_empty("order_provider_id", "ref_range_lower", "ref_range_upper", "flag", "comments"),
    ).with_columns(_time("stored").alias("storetime"))


def _d_items() -> pl.DataFrame:
    return (
        pl.DataFrame(
            {
                "itemid": [item.itemid for item in CHARTED.values()],
                "label": [item.label for item in CHARTED.values()],
                "abbreviation": [item.abbreviation for item in CHARTED.values()],
                "linksto": ["chartevents"] * len(CHARTED),
                "category": [item.category for item in CHARTED.values()],
                "unitname": [item.unit or None for item in CHARTED.values()],
                "param_type": [item.kind for item in CHARTED.values()],
            }
        )
        .with_columns(*_empty("lownormalvalue", "highnormalvalue"))
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
