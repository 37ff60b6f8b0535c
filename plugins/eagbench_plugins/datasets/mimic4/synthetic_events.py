"""Writes the charted and laboratory events of a part of the synthetic hospital, and CSV files as MIMIC-IV has them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl

from eagbench_plugins.datasets.mimic4.synthetic_charting import Grid, chart, measure
from eagbench_plugins.datasets.mimic4.synthetic_parts import Density, Part
from eagbench_plugins.datasets.mimic4.synthetic_unread import unread
from eagbench_plugins.datasets.mimic4.tables import TABLES, Table

EPOCH = pl.datetime(2100, 1, 1)
# Identifiers of a part's laboratory results and specimens begin at its number times this.
_IDS = 10_000_000


def write_events(folder: Path, part: Part, rng: np.random.Generator, grid: Grid, density: Density) -> None:
    """Write icu/chartevents.csv.gz and hosp/labevents.csv.gz of a part; only the first part's have a header.

    Args:
        folder: An existing folder.
        part: The patients.
        rng: For what is drawn beside the values.
        grid: Their hours in the ICU.
        density: Whether items are charted that nobody reads.
    """
    for name in ("hosp", "icu"):
        (folder / name).mkdir(exist_ok=True)
    charted = chart(part.draws(2), part.people, part.admissions, part.stays, grid)
    if density == "mimic":
        charted = pl.concat([charted, unread(part.draws(5), grid)])
    has_header = part.number == 0
    write_table(folder, TABLES["chartevents"], _chartevents(rng, charted, part), has_header)
    del charted
    measured = measure(part.draws(3), part.people, part.admissions, part.stays, grid)
    write_table(folder, TABLES["labevents"], _labevents(rng, measured, part), has_header)


def write_table(folder: Path, table: Table, frame: pl.DataFrame, has_header: bool = True) -> None:
    """Write a table with its columns in MIMIC-IV's order."""
    compress(folder / f"{table.file}.gz", frame.select(table.columns), has_header)


def compress(path: Path, frame: pl.DataFrame, has_header: bool = True) -> None:
    """Write a frame as gzipped CSV, without a time of day or a name in it."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed:
        frame.write_csv(packed, include_header=has_header)  # type: ignore[call-overload]


def time_text(minute: str) -> pl.Expr:
    """Format a column of minutes since 2100 as MIMIC-IV writes times; null stays null."""
    return (EPOCH + pl.duration(minutes=pl.col(minute))).dt.strftime("%Y-%m-%d %H:%M:%S")


def empty(*names: str) -> list[pl.Expr]:
    """Return columns of text without any."""
    return [pl.lit(None, dtype=pl.String).alias(name) for name in names]


def _chartevents(rng: np.random.Generator, events: pl.DataFrame, part: Part) -> pl.DataFrame:
    people, admissions, stays = part.people, part.admissions, part.stays
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
        time_text("minute").alias("charttime"),
        (pl.col("minute") + pl.Series(rng.integers(1, 45, len(events)))).alias("stored"),
        pl.lit(0).alias("warning"),
    ).with_columns(time_text("stored").alias("storetime"))


def _labevents(rng: np.random.Generator, events: pl.DataFrame, part: Part) -> pl.DataFrame:
    people, admissions = part.people, part.admissions
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
        pl.Series("labevent_id", part.number * _IDS + np.arange(1, count + 1)),
        (pl.col("specimen") + (part.number + 1) * _IDS).alias("specimen_id"),
        pl.when(unlinked).then(None).otherwise(pl.col("hadm")).alias("hadm_id"),
        time_text("minute").alias("charttime"),
        (pl.col("minute") + pl.Series(rng.integers(20, 150, count))).alias("stored"),
        pl.lit("STAT").alias("priority"),
        *empty("order_provider_id", "ref_range_lower", "ref_range_upper", "flag", "comments"),
    ).with_columns(time_text("stored").alias("storetime"))
