"""Turns eICU's tables into values in canonical units, one row per measurement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from eagbench.api import ResultTimes, SourceItem, UserError, Vocabulary
from eagbench_plugins.datasets.eicu.params import EicuParams
from eagbench_plugins.datasets.eicu.tables import EVENTS, Table
from eagbench_plugins.datasets.result_times import KnownInTime
from eagbench_plugins.datasets.stray_units import few_stray

_SCHEMA = {
    "stay": pl.String,
    "minutes": pl.Float64,
    "place": pl.Int64,
    "number": pl.Float64,
    "hospital_unit": pl.String,
    "system_unit": pl.String,
    "revised": pl.Float64,
    "row": pl.Int64,
}


@dataclass(frozen=True, slots=True)
class Measurements:
    """Values in canonical units.

    Attributes:
        rows: `stay`, `minutes`, `place` (position among the places), `value`; of several of a place at the same time
            the one revised last comes last.
        implausible: Values removed per feature because no living patient has them.
        stray_units: Values removed per feature because of their unit.
        unknown_units: Values whose hospital names an unknown unit, by that unit; they are read in the system's unit.
        result_times: When laboratory results were known, per feature.
    """

    rows: pl.DataFrame
    implausible: Mapping[str, int]
    stray_units: Mapping[str, int]
    unknown_units: Mapping[str, int]
    result_times: Mapping[str, ResultTimes]


def measurements(
    events: Mapping[str, pl.LazyFrame],
    stays: pl.Series,
    places: Sequence[SourceItem],
    params: EicuParams,
    vocabulary: Vocabulary,
) -> Measurements:
    """Collect all measurements of the given unit stays.

    Args:
        events: PyHealth's events in the window.
        stays: Ids of the unit stays.
        places: The vocabulary's places for the concepts, by precedence.
        params: The window's length, `periodic_minutes` and `availability`.
        vocabulary: Converts and cleans.

    Raises:
        UserError: A value is not a number, a concept is in a unit without conversion, or can't be in the named unit.
    """
    laboratory = [index for index, place in enumerate(places) if place.keys["table"] == "lab"]
    found = pl.concat(
        [pl.DataFrame(schema=_SCHEMA)]
        + [_table(table, events[table.name], stays, places, params.periodic_minutes) for table in _read(events)]
    )
    # The time of the last revision bounds from above when a result was first known.
    timed = found.with_columns(
        (pl.col("place").is_in(laboratory)).alias("laboratory"),
        ((pl.col("revised") - pl.col("minutes")) / 60).alias("lag_hours"),
        (pl.col("revised") >= params.window_hours * 60).alias("known_late"),
    )
    in_time = KnownInTime([place.concept for place in places], params.availability)
    found = in_time.keep(timed)
    found = found.sort("place", "hospital_unit", "system_unit", "stay", "minutes", "revised", "row", nulls_last=False)
    values = np.full(len(found), np.nan)
    raw = found["number"].to_numpy()
    implausible: Counter[str] = Counter()
    stray: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    of_place = dict(found.group_by("place").len().iter_rows())
    begin = 0
    for index, hospital, system, count in (
        found.group_by("place", "hospital_unit", "system_unit", maintain_order=True).len().iter_rows()
    ):
        place, part = places[index], slice(begin, begin + count)
        begin += count
        unit = _unit(place, hospital, system, vocabulary)
        if hospital and unit is not None and unit != hospital:
            unknown[hospital] += count
        with few_stray(stray, place.concept, count, of_place[index], _where(place, hospital)):
            converted = vocabulary.from_source(place, raw[part], unit)
            values[part], removed = vocabulary.clean(place.concept, converted, unit=unit or place.unit)
            implausible[place.concept] += removed
    rows = (
        found.with_columns(pl.Series("value", values))
        .filter(pl.col("value").is_not_nan())
        .sort("revised", "row", nulls_last=False)
        .select("stay", "minutes", "place", "value")
    )
    return Measurements(rows, {k: n for k, n in implausible.items() if n}, stray, unknown, in_time.times())


def _read(events: Mapping[str, pl.LazyFrame]) -> list[Table]:
    return [table for table in EVENTS.values() if table.name in events]


def _where(place: SourceItem, hospital_unit: str | None) -> str:
    file = next(table.file for table in EVENTS.values() if table.name == place.keys["table"])
    which = next(f"{key} '{value}'" for key, value in place.keys.items() if key != "table")
    return f"eICU's {file}, {which}" + (f", labmeasurenameinterface '{hospital_unit}'" if hospital_unit else "")


def _unit(place: SourceItem, hospital: str | None, system: str | None, vocabulary: Vocabulary) -> str | None:
    """Choose the unit of a row: the hospital's own if it is known, else the system's, else None for the place's.

    Values are as the hospital sent them: a CRP whose hospital says mg/L is ten times those in the system's mg/dL. But
    hospitals spell units in a hundred ways (THOU/UL), and a few give the unit of another quantity. Where a place is
    known to mix units, the number decides, not the label.
    """
    if place.mixed is not None:
        return None
    if hospital and vocabulary.knows_unit(place.concept, hospital):
        return hospital
    return system or None


def _table(
    table: Table, events: pl.LazyFrame, stays: pl.Series, places: Sequence[SourceItem], periodic_minutes: int
) -> pl.DataFrame:
    here = [(index, place) for index, place in enumerate(places) if place.keys["table"] == table.name]
    kept = events.rename({"patient_id": "stay"}).filter(pl.col("stay").is_in(stays.implode()))
    kept = kept.with_columns(pl.col(str(table.offset)).cast(pl.Float64).alias("minutes"))
    if table.name == "lab":
        long = _labs(kept, here)
    elif table.name == "physicalexam":
        long = _examinations(kept, here)
    else:
        long = _vitals(kept, here)
    try:
        found = long.with_columns(
            pl.lit(None, pl.String).alias(name) for name in ("hospital_unit", "system_unit") if table.name != "lab"
        ).collect()
    except pl.exceptions.InvalidOperationError as error:
        raise UserError(
            f"holds text where a number belongs ({str(error).splitlines()[0]})", where=table.file
        ) from error
    if table.name == "vitalperiodic":
        interval = (pl.col("minutes") // periodic_minutes).alias("interval")
        found = found.sort("minutes", "row").with_columns(interval)
        found = found.unique(["stay", "place", "interval"], keep="last", maintain_order=True)
    return found.select(pl.col(name).cast(kind) for name, kind in _SCHEMA.items())


def _labs(events: pl.LazyFrame, here: Sequence[tuple[int, SourceItem]]) -> pl.LazyFrame:
    return (
        events.join(_keys(here, "labname"), on="labname")
        .with_columns(
            pl.col("labresult").cast(pl.Float64).alias("number"),
            pl.col("labresultrevisedoffset").cast(pl.Float64).alias("revised"),
            pl.col("labmeasurenameinterface").str.strip_chars().alias("hospital_unit"),
            pl.col("labmeasurenamesystem").str.strip_chars().alias("system_unit"),
        )
        .filter(pl.col("number").is_finite())
    )


def _vitals(events: pl.LazyFrame, here: Sequence[tuple[int, SourceItem]]) -> pl.LazyFrame:
    columns = [str(place.keys["column"]) for _, place in here]
    return (
        events.unpivot(columns, index=["stay", "minutes", "row"], variable_name="column", value_name="text")
        .join(_keys(here, "column"), on="column")
        .with_columns(pl.col("text").cast(pl.Float64).alias("number"), pl.lit(None, pl.Float64).alias("revised"))
        .filter(pl.col("number").is_finite())
    )


def _examinations(events: pl.LazyFrame, here: Sequence[tuple[int, SourceItem]]) -> pl.LazyFrame:
    """Read the numbers among a form's entries. The path names a score's entry (`GCS/Motor Score/6`)."""
    parts = pl.col("physicalexampath").str.split("/")
    last = parts.list.slice(-2, 2).list.join("/")
    above = parts.list.slice(-3, 2).list.join("/")
    keys = _keys(here, "path")
    by_entry = events.with_columns(last.alias("path")).join(keys, on="path")
    by_score = events.with_columns(above.alias("path")).join(keys, on="path")
    return (
        pl.concat([by_entry, by_score])
        .with_columns(
            # A form's text may be words; they are no measurement.
            pl.col("physicalexamtext").cast(pl.Float64, strict=False).alias("number"),
            pl.lit(None, pl.Float64).alias("revised"),
        )
        .filter(pl.col("number").is_finite())
    )


def _keys(here: Sequence[tuple[int, SourceItem]], key: str) -> pl.LazyFrame:
    return pl.LazyFrame(
        {key: [str(place.keys[key]) for _, place in here], "place": [index for index, _ in here]},
        schema={key: pl.String, "place": pl.Int64},
    )
