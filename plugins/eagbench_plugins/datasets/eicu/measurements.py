"""Turns eICU's tables into values in canonical units, one row per measurement, a range of cases at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from eagbench.api import FloatArray, ResultTimes, SourceItem, Vocabulary
from eagbench_plugins.datasets.case_partitions import CasePartitions
from eagbench_plugins.datasets.eicu.params import EicuParams
from eagbench_plugins.datasets.eicu.tables import EVENTS
from eagbench_plugins.datasets.result_times import KnownInTime
from eagbench_plugins.datasets.stray_units import few_stray
from eagbench_plugins.datasets.unit_groups import values_of_groups
from eagbench_plugins.datasets.value_counts import ValueCounts, repeated

_UNITS = ("place", "hospital_unit", "system_unit")
_COUNTED = pl.Schema({"place": pl.Int64, "hospital_unit": pl.String, "system_unit": pl.String, "number": pl.Float64})
_Group = tuple[int, str | None, str | None]


@dataclass(frozen=True, slots=True)
class Measurements:
    """Values in canonical units.

    Attributes:
        implausible: Values removed per feature because no living patient has them.
        stray_units: Values removed per feature because of their unit.
        unknown_units: Values whose hospital names an unknown unit, by that unit; they are read in the system's unit.
        result_times: When laboratory results were known, per feature.
        parts: Yields, for a range of cases after the other, the range's first case and its rows: `case`, `minutes`,
            `place` (position among the places), `value`; of several of a place at the same time the one revised last
            comes last. Can be read once.
    """

    implausible: Mapping[str, int]
    stray_units: Mapping[str, int]
    unknown_units: Mapping[str, int]
    result_times: Mapping[str, ResultTimes]
    parts: Iterator[tuple[int, pl.DataFrame]]


def measurements(
    events: Iterator[pl.DataFrame],
    cases: int,
    places: Sequence[SourceItem],
    params: EicuParams,
    vocabulary: Vocabulary,
    scratch: Path,
) -> Measurements:
    """Collect all measurements of the cases.

    They go to disk as they come, by ranges of cases. Ranges are read twice: to count how often each number occurs in
    each unit, which tells wrong units, and to convert.

    Args:
        events: Blocks of all tables, as `Windows` reads them.
        cases: Number of cases.
        places: The vocabulary's places for the concepts, by precedence.
        params: The window's length, `periodic_minutes` and `availability`.
        vocabulary: Converts and cleans.
        scratch: A folder to make for the events in the windows.

    Raises:
        UserError: A concept is in a unit without conversion, or can't be in the named unit.
    """
    read = CasePartitions(scratch, cases)
    for block in events:
        read.add(block)
    kept = CasePartitions(scratch.with_name(f"{scratch.name}-in-time"), cases)
    in_time = KnownInTime([place.concept for place in places], params.availability)
    counts = ValueCounts(_COUNTED)
    select = _Selection(places, params)
    for _, found in read.read():
        rows = in_time.keep(select(found))
        counts.add(rows)
        kept.add(rows)
    canonical = _Canonical(places, vocabulary, counts.total())
    parts = ((first, canonical(found)) for first, found in kept.read())
    return Measurements(canonical.implausible, canonical.stray, canonical.unknown, in_time.times(), parts)


class _Selection:
    """Thins periodic vital signs, and adds when laboratory results were known."""

    def __init__(self, places: Sequence[SourceItem], params: EicuParams) -> None:
        tables = [place.keys["table"] for place in places]
        self._periodic = [index for index, table in enumerate(tables) if table == "vitalperiodic"]
        self._laboratory = [index for index, table in enumerate(tables) if table == "lab"]
        self._params = params

    def __call__(self, found: pl.DataFrame) -> pl.DataFrame:
        periodic = pl.col("place").is_in(self._periodic)
        interval = (pl.col("minutes") // self._params.periodic_minutes).alias("interval")
        thinned = found.filter(periodic).sort("minutes", "row").with_columns(interval)
        thinned = thinned.unique(["case", "place", "interval"], keep="last", maintain_order=True).drop("interval")
        # The time of the last revision bounds from above when a result was first known.
        return pl.concat([found.filter(~periodic), thinned]).with_columns(
            (pl.col("place").is_in(self._laboratory)).alias("laboratory"),
            ((pl.col("revised") - pl.col("minutes")) / 60).alias("lag_hours"),
            (pl.col("revised") >= self._params.window_hours * 60).alias("known_late"),
        )


class _Canonical:
    """Converts values to canonical units, once all values have shown their units.

    Args:
        places: The places.
        vocabulary: Converts and cleans.
        counts: How often (`n`) each `number` occurs by `place`, `hospital_unit` and `system_unit`, sorted by these.

    Attributes:
        implausible: Values per feature that no living patient has.
        stray: Values per feature in a rare unit that nobody can convert, or that they can't be in.
        unknown: Values whose hospital names an unknown unit, by that unit.

    Raises:
        UserError: A concept is in a unit without conversion, or its values can't be in the named unit.
    """

    def __init__(self, places: Sequence[SourceItem], vocabulary: Vocabulary, counts: pl.DataFrame) -> None:
        self._places, self._vocabulary = places, vocabulary
        self.implausible: dict[str, int] = {}
        self.stray: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._units: dict[_Group, str | None] = {}
        of_place = dict(counts.group_by("place").agg(pl.col("n").sum()).iter_rows())
        for (index, hospital, system), rows in counts.partition_by(_UNITS, as_dict=True, maintain_order=True).items():
            self._judge((index, hospital, system), rows, of_place[index])

    def _judge(self, group: _Group, rows: pl.DataFrame, of: int) -> None:
        index, hospital, system = group
        place, count = self._places[index], int(rows["n"].sum())
        unit = _unit(place, hospital, system, self._vocabulary)
        if hospital and unit is not None and unit != hospital:
            self.unknown[hospital] += count
        with few_stray(self.stray, place.concept, count, of, _where(place, hospital)):
            converted = pl.Series(self._vocabulary.from_source(place, rows["number"].to_numpy(), unit))
            values = repeated(converted, rows["n"]).to_numpy()
            _, removed = self._vocabulary.clean(place.concept, values, unit=unit or place.unit)
            self._units[group] = unit
            if removed:
                self.implausible[place.concept] = self.implausible.get(place.concept, 0) + removed

    def __call__(self, found: pl.DataFrame) -> pl.DataFrame:
        found = found.sort(*_UNITS, maintain_order=True, nulls_last=False)
        return (
            found.with_columns(pl.Series("value", values_of_groups(found, _UNITS, self._converted)))
            .filter(pl.col("value").is_not_nan())
            .sort("revised", "row", nulls_last=False)
            .select("case", "minutes", "place", "value")
        )

    def _converted(self, group: _Group, numbers: FloatArray) -> FloatArray | None:
        if group not in self._units:
            return None
        place = self._places[group[0]]
        converted = self._vocabulary.from_source(place, numbers, self._units[group])
        return self._vocabulary.keep_plausible(place.concept, converted)[0]


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
