"""Turns MIMIC-IV's events into records: concepts in their units, at their times, one row per time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from eagbench.api import Case, FloatArray, ResultTimes, SourceItem, UserError, Vocabulary
from eagbench_plugins.datasets.availability import Availability
from eagbench_plugins.datasets.mimic4.tables import TABLES
from eagbench_plugins.datasets.places import place_keys, translations
from eagbench_plugins.datasets.result_times import known_in_time
from eagbench_plugins.datasets.stray_units import few_stray

_TIMING = ("laboratory", "lag_hours", "known_late")
_KNOWN = pl.col("storetime").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms")


@dataclass(frozen=True, slots=True)
class Measurements:
    """Values in canonical units.

    Attributes:
        rows: `case` (row in the cases), `hours`, `feature` (column), `value`; sorted by case, hours, feature, one each.
        implausible: Values removed per feature because no living patient has them.
        stray_units: Values removed per feature because of their unit.
        result_times: When laboratory results were known, per feature.
    """

    rows: pl.DataFrame
    implausible: Mapping[str, int]
    stray_units: Mapping[str, int]
    result_times: Mapping[str, ResultTimes]


def observed(
    cases: pl.DataFrame,
    events: Mapping[str, pl.LazyFrame],
    places: Sequence[SourceItem],
    concepts: Sequence[str],
    vocabulary: Vocabulary,
    availability: Availability,
) -> Measurements:
    """Collect the measurements of every case in its window.

    Values are matched by patient and time, because some of MIMIC-IV's laboratory results lack the admission's id. Of
    several values of a concept at the same time, the one from the place listed first in the vocabulary is kept, and of
    the same place the one stored last.

    Args:
        cases: `case` (0, 1, ...), `patient_id`, `origin`, `start`, `end`, `predicted`.
        events: chartevents and labevents as PyHealth returns them.
        places: The vocabulary's places for the concepts, by precedence.
        concepts: The features, in the order of the record's columns.
        vocabulary: Converts and cleans.
        availability: Whether laboratory results count that were known (`storetime`) only at or after the prediction
            time. Charted values always count: a monitor shows them, and their storetime is a validation.

    Raises:
        UserError: A concept is in a unit without conversion, or its values can't be in the named unit.
    """
    found = pl.concat([_in_window(cases, events[table], table, places) for table in sorted(events)])
    in_time = known_in_time(found, [place.concept for place in places], availability)
    found = in_time.rows.sort("place", "valueuom", maintain_order=True)
    values, implausible, stray = _canonical(found, places, vocabulary)
    column = np.array([concepts.index(place.concept) for place in places], dtype=np.int64)
    rows = (
        found.with_columns(pl.Series("value", values), pl.Series("feature", column[found["place"].to_numpy()]))
        .filter(pl.col("value").is_not_nan())
        # Places of lower precedence first, then earlier stored: the last of each group is the one to keep.
        .with_columns((-pl.col("place")).alias("precedence"))
        .sort("case", "hours", "feature", "precedence", "storetime", "row", nulls_last=False)
        .unique(["case", "hours", "feature"], keep="last", maintain_order=True)
        .select("case", "hours", "feature", "value")
    )
    return Measurements(rows, implausible, stray, in_time.times)


def _in_window(cases: pl.DataFrame, events: pl.LazyFrame, table: str, places: Sequence[SourceItem]) -> pl.DataFrame:
    here = [(index, place) for index, place in enumerate(places) if place.keys["table"] == table]
    windows = cases.lazy().select("case", "patient_id", "origin", "start", "end", "predicted")
    frame = (
        events.join(place_keys(here, "itemid"), on="itemid")
        .join(windows, on="patient_id")
        .filter((pl.col("timestamp") >= pl.col("start")) & (pl.col("timestamp") < pl.col("end")))
        .join(translations(here, "value"), on=["place", "value"], how="left")
        .with_columns(
            pl.coalesce(pl.col("translated"), pl.col("valuenum").cast(pl.Float64)).alias("number"),
            ((pl.col("timestamp") - pl.col("origin")).dt.total_seconds() / 3600.0).alias("hours"),
            pl.lit(table == "labevents").alias("laboratory"),
            ((_KNOWN - pl.col("timestamp")).dt.total_seconds() / 3600.0).alias("lag_hours"),
            (pl.col("predicted") <= _KNOWN).alias("known_late"),
        )
        .filter(pl.col("number").is_not_null() & pl.col("number").is_finite())
        .select("case", "hours", "place", "number", "valueuom", "storetime", "row", *_TIMING)
    )
    try:
        return frame.collect()
    except pl.exceptions.InvalidOperationError as error:
        raise UserError(
            f"MIMIC-IV's {table} holds a valuenum that isn't a number, or a storetime that isn't a time "
            f"({str(error).splitlines()[0]})",
            where=TABLES[table].file,
            hint="Numbers are written as 1.5, times as 2150-01-31 13:45:00.",
        ) from error


def _canonical(
    found: pl.DataFrame, places: Sequence[SourceItem], vocabulary: Vocabulary
) -> tuple[FloatArray, dict[str, int], dict[str, int]]:
    """Convert values to canonical units (NaN where removed), in the order of `found`, sorted by place and unit."""
    values = np.full(len(found), np.nan)
    raw = found["number"].to_numpy()
    implausible: dict[str, int] = {}
    stray = Counter[str]()
    counts = found.group_by("place", "valueuom", maintain_order=True).len()
    of_place = dict(found.group_by("place").len().iter_rows())
    begin = 0
    first_of_place: dict[int, int] = {}
    for index, unit, count in counts.iter_rows():
        first_of_place.setdefault(index, begin)
        with few_stray(stray, places[index].concept, count, of_place[index]):
            values[begin : begin + count] = vocabulary.from_source(places[index], raw[begin : begin + count], unit)
        begin += count
    for index, begin in first_of_place.items():
        part = slice(begin, begin + of_place[index])
        place = places[index]
        where = f"MIMIC-IV's {place.keys['table']}, itemid {place.keys['itemid']}"
        values[part], removed = vocabulary.clean(place.concept, values[part], where, place.unit)
        if removed:
            implausible[place.concept] = implausible.get(place.concept, 0) + removed
    return values, implausible, stray


def records(cases: pl.DataFrame, rows: pl.DataFrame, features: tuple[str, ...]) -> list[Case]:
    """Build a record per case.

    Args:
        cases: `case`, `case_id`, `patient_id`, `age`, `sex`.
        rows: What `observed` returns; a case without rows is left out.
        features: Names of the columns.
    """
    case, hours = rows["case"].to_numpy(), rows["hours"].to_numpy()
    new = np.ones(len(rows), dtype=bool)
    new[1:] = (case[1:] != case[:-1]) | (hours[1:] != hours[:-1])
    line = np.cumsum(new) - 1
    table = np.full((int(new.sum()), len(features)), np.nan, dtype=np.float32)  # all records below each other
    table[line, rows["feature"].to_numpy()] = rows["value"].to_numpy()
    time, owner = hours[new].astype(np.float64), case[new]
    begin = np.searchsorted(owner, cases["case"].to_numpy(), side="left")
    end = np.searchsorted(owner, cases["case"].to_numpy(), side="right")
    described = cases.select("case_id", "patient_id", "age", "sex").iter_rows()
    return [
        Case(
            case_id=case_id,
            patient_id=patient_id,
            features=features,
            times=time[first:last],
            values=table[first:last],
            static={"age": _known(age), "sex": _known(sex)},
        )
        for (case_id, patient_id, age, sex), first, last in zip(described, begin, end, strict=True)
        if last > first
    ]


def _known(value: float | None) -> float:
    return float("nan") if value is None else float(value)
