"""Turns MIMIC-IV's events into records: concepts in their units, at their times, one row per time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from eagbench.api import Case, FloatArray, ResultTimes, SourceItem, UserError, Vocabulary
from eagbench_plugins.datasets.availability import Availability
from eagbench_plugins.datasets.case_partitions import CasePartitions
from eagbench_plugins.datasets.mimic4.tables import TABLES
from eagbench_plugins.datasets.places import place_keys, translations
from eagbench_plugins.datasets.result_times import KnownInTime
from eagbench_plugins.datasets.stray_units import few_stray
from eagbench_plugins.datasets.unit_groups import values_of_groups
from eagbench_plugins.datasets.value_counts import ValueCounts, repeated

_UNITS = ("place", "valueuom")
_TIMING = ("laboratory", "lag_hours", "known_late")
_KNOWN = pl.col("storetime").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms")


@dataclass(frozen=True, slots=True)
class Measurements:
    """Values in canonical units.

    Attributes:
        implausible: Values removed per feature because no living patient has them.
        stray_units: Values removed per feature because of their unit.
        result_times: When laboratory results were known, per feature.
        parts: Yields, for a range of cases after the other, the range's first case and its rows: `case` (row in the
            cases), `hours`, `feature` (column), `value`; sorted by case, hours, feature, one each. Can be read once.
    """

    implausible: Mapping[str, int]
    stray_units: Mapping[str, int]
    result_times: Mapping[str, ResultTimes]
    parts: Iterator[tuple[int, pl.DataFrame]]


def observed(
    cases: pl.DataFrame,
    events: Mapping[str, Iterable[pl.DataFrame]],
    vocabulary: Vocabulary,
    concepts: Sequence[str],
    availability: Availability,
    scratch: Path,
) -> Measurements:
    """Collect the measurements of every case in its window.

    Values are matched by patient and time, because some of MIMIC-IV's laboratory results lack the admission's id. Of
    several values of a concept at the same time, the one from the place listed first in the vocabulary is kept, and of
    the same place the one stored last.

    Events go to disk as they come, by ranges of cases. What needs the values of all cases (the median of an item, which
    tells a wrong unit) is computed exactly, from how often each number occurred in each unit.

    Args:
        cases: `case` (0, 1, ...), `patient_id`, `origin`, `start`, `end`, `predicted`.
        events: Blocks of chartevents and labevents as `read_events` yields them.
        vocabulary: Names the places of the concepts, by precedence, and converts and cleans.
        concepts: The features, in the order of the record's columns.
        availability: Whether laboratory results count that were known (`storetime`) only at or after the prediction
            time. Charted values always count: a monitor shows them, and their storetime is a validation.
        scratch: A folder to make for the events in the windows.

    Raises:
        UserError: A concept is in a unit without conversion, or its values can't be in the named unit.
    """
    places = places_of(vocabulary, concepts)
    in_time = KnownInTime([place.concept for place in places], availability)
    partitions = CasePartitions(scratch, len(cases))
    counts = ValueCounts(pl.Schema({"place": pl.Int64, "valueuom": pl.String, "number": pl.Float64}))
    for table in sorted(events):
        select = _Windows(cases, table, places)
        for block in events[table]:
            found = in_time.keep(select(block))
            counts.add(found)
            partitions.add(found)
    canonical = _Canonical(places, vocabulary, counts.total())
    column = np.array([concepts.index(place.concept) for place in places], dtype=np.int64)
    parts = ((first, _rows(canonical(found), column)) for first, found in partitions.read())
    return Measurements(canonical.implausible, canonical.stray, in_time.times(), parts)


def places_of(vocabulary: Vocabulary, concepts: Sequence[str]) -> tuple[SourceItem, ...]:
    """List the places of the concepts in MIMIC-IV, by precedence."""
    return tuple(place for place in vocabulary.source("mimic4") if place.concept in concepts)


def _rows(found: pl.DataFrame, column: np.ndarray[tuple[int], np.dtype[np.int64]]) -> pl.DataFrame:
    return (
        found.with_columns(pl.Series("feature", column[found["place"].to_numpy()]))
        .filter(pl.col("value").is_not_nan())
        # Places of lower precedence first, then earlier stored: the last of each group is the one to keep.
        .with_columns((-pl.col("place")).alias("precedence"))
        .sort("case", "hours", "feature", "precedence", "storetime", "row", nulls_last=False)
        .unique(["case", "hours", "feature"], keep="last", maintain_order=True)
        .select("case", "hours", "feature", "value")
    )


class _Windows:
    """Selects, from a table's events, the numbers in the cases' windows."""

    def __init__(self, cases: pl.DataFrame, table: str, places: Sequence[SourceItem]) -> None:
        here = [(index, place) for index, place in enumerate(places) if place.keys["table"] == table]
        self._table = table
        self._places = place_keys(here, "itemid")
        self._translations = translations(here, "value")
        self._cases = cases.lazy().select("case", "patient_id", "origin", "start", "end", "predicted")

    def __call__(self, events: pl.DataFrame) -> pl.DataFrame:
        frame = (
            events.lazy()
            .join(self._cases, on="patient_id")
            .filter((pl.col("timestamp") >= pl.col("start")) & (pl.col("timestamp") < pl.col("end")))
            .join(self._places, on="itemid")
            .join(self._translations, on=["place", "value"], how="left")
            .with_columns(
                pl.coalesce(pl.col("translated"), pl.col("valuenum").cast(pl.Float64)).alias("number"),
                ((pl.col("timestamp") - pl.col("origin")).dt.total_seconds() / 3600.0).alias("hours"),
                pl.lit(self._table == "labevents").alias("laboratory"),
                ((_KNOWN - pl.col("timestamp")).dt.total_seconds() / 3600.0).alias("lag_hours"),
                (pl.col("predicted") <= _KNOWN).alias("known_late"),
                _KNOWN,
            )
            .filter(pl.col("number").is_not_null() & pl.col("number").is_finite())
            .select("case", "hours", "place", "number", "valueuom", "storetime", "row", *_TIMING)
        )
        try:
            return frame.collect()
        except pl.exceptions.InvalidOperationError as error:
            raise UserError(
                f"MIMIC-IV's {self._table} holds a valuenum that isn't a number, or a storetime that isn't a time "
                f"({str(error).splitlines()[0]})",
                where=TABLES[self._table].file,
                hint="Numbers are written as 1.5, times as 2150-01-31 13:45:00.",
            ) from error


class _Canonical:
    """Converts values to canonical units (`value`, NaN where removed), once all values have shown their units.

    Args:
        places: The places.
        vocabulary: Converts and cleans.
        counts: How often (`n`) each `number` occurs by `place` and `valueuom`, sorted by these.

    Attributes:
        implausible: Values per feature that no living patient has.
        stray: Values per feature in a rare unit that nobody can convert.

    Raises:
        UserError: A concept is in a unit without conversion, or its values can't be in the named unit.
    """

    def __init__(self, places: Sequence[SourceItem], vocabulary: Vocabulary, counts: pl.DataFrame) -> None:
        self._places, self._vocabulary = places, vocabulary
        self.implausible: dict[str, int] = {}
        self.stray: Counter[str] = Counter()
        self._convertible: set[tuple[int, str | None]] = set()
        of_place = dict(counts.group_by("place").agg(pl.col("n").sum()).iter_rows())
        by_unit = counts.partition_by(_UNITS, as_dict=True, maintain_order=True)
        converted: dict[int, list[pl.Series]] = {}
        for (index, unit), rows in by_unit.items():
            converted.setdefault(index, [])
            with few_stray(self.stray, places[index].concept, int(rows["n"].sum()), of_place[index]):
                values = pl.Series(vocabulary.from_source(places[index], rows["number"].to_numpy(), unit))
                converted[index].append(repeated(values, rows["n"]))
                self._convertible.add((index, unit))
        for index, parts in converted.items():
            if parts:
                self._judge(places[index], pl.concat(parts))

    def _judge(self, place: SourceItem, values: pl.Series) -> None:
        where = f"MIMIC-IV's {place.keys['table']}, itemid {place.keys['itemid']}"
        _, removed = self._vocabulary.clean(place.concept, values.to_numpy(), where, place.unit)
        if removed:
            self.implausible[place.concept] = self.implausible.get(place.concept, 0) + removed

    def __call__(self, found: pl.DataFrame) -> pl.DataFrame:
        found = found.sort(_UNITS, maintain_order=True)
        return found.with_columns(pl.Series("value", values_of_groups(found, _UNITS, self._converted)))

    def _converted(self, group: tuple[int, str | None], numbers: FloatArray) -> FloatArray | None:
        if group not in self._convertible:
            return None
        place = self._places[group[0]]
        return self._vocabulary.keep_plausible(place.concept, self._vocabulary.from_source(place, numbers, group[1]))[0]


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
