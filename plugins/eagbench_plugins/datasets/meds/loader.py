"""Builds a cohort from MEDS files: labels choose the cases, codes choose the values, the vocabulary converts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from eagbench.api import (
    SOURCE_SPLIT,
    Case,
    Cases,
    Cohort,
    FloatArray,
    Provenance,
    SourceItem,
    Task,
    UserError,
    Vocabulary,
    vocabulary,
)
from eagbench_plugins.datasets.measurements import StayMeasurements, series_by_stay
from eagbench_plugins.datasets.meds.codes import has_unit, is_named, places_of, read_code_file
from eagbench_plugins.datasets.meds.lifetimes import IS_BIRTH, IS_DEATH, contradictions, lifetimes_of
from eagbench_plugins.datasets.meds.params import MedsParams
from eagbench_plugins.datasets.meds.patients import find_patients
from eagbench_plugins.datasets.meds.source_files import (
    SourceFiles,
    read_labels,
    read_parent_codes,
    read_splits,
    scan_data,
    source_files,
)
from eagbench_plugins.datasets.places import place_keys, translations
from eagbench_plugins.datasets.stray_units import few_stray, stray_notes

_DAYS_PER_YEAR = 365.2425


@dataclass(frozen=True, slots=True)
class _Codes:
    """The codes of the data, and which of them are read.

    Attributes:
        present: Every code of the data.
        written: The places that the user's file of codes names, by code.
        places: The places to read, by precedence.
    """

    present: Sequence[str]
    written: Mapping[str, SourceItem]
    places: Sequence[SourceItem]


def load_cohort(params: MedsParams) -> Cohort:
    """Read the cohort.

    Raises:
        UserError: Something is wrong with the files, with the codes or with the units of their values.
    """
    words = vocabulary()
    files = source_files(params.root, params.labels, params.codes, params.patients)
    labels = read_labels(files.labels)
    window = pl.duration(microseconds=round(params.window_hours * 3600e6))
    cases = labels.with_row_index("case").with_columns(
        pl.col("case").cast(pl.Int64), (pl.col("prediction_time") - window).alias("start")
    )
    data = pl.concat([scan_data(path).with_columns(pl.lit(i).alias("shard")) for i, path in enumerate(files.shards)])
    codes = _find_codes(data, files, params, words)
    concepts = params.concepts or _in_order(codes.places, words)

    found = _in_window(data, cases, codes.places, files.shards)
    values, implausible, stray = _canonical(found, codes.places, words)
    measured = _measurements(found, values, codes.places, concepts)
    series = series_by_stay(measured, len(cases), len(concepts))
    is_birth_or_death = data.filter(IS_BIRTH | IS_DEATH).select("subject_id", "time", "code")
    lifetimes = lifetimes_of(_collect(is_birth_or_death, files.shards))
    first_hours = np.array([times[0] if len(times) else np.nan for times, _ in series])
    wrong = contradictions(cases, lifetimes, first_hours)
    possible = ~(wrong.dead | wrong.unborn)
    chosen = np.flatnonzero(possible & ~np.isnan(first_hours))
    static = _static(data, cases, lifetimes, params, files.shards)
    described = cases[chosen.tolist()].select("subject_id", "prediction_time").iter_rows()
    patients = find_patients(data, cases["subject_id"].unique().to_list(), params, files.patients)
    items = tuple(
        Case(
            case_id=f"{subject}@{time.isoformat()}",
            patient_id=patients.of[subject],
            features=concepts,
            times=series[i][0],
            values=series[i][1],
            static={name: float(column[i]) for name, column in static.items()},
        )
        for i, (subject, time) in zip(chosen, described, strict=True)
    )
    task = Task(params.task, params.outcome, params.role, params.window_hours)
    return Cohort(
        cases=Cases(words.features(concepts), tuple(static), task, items),
        labels=cases["boolean_value"].to_numpy().astype(np.int64)[chosen],
        groups=_own_split(files.splits, cases["subject_id"].to_numpy()[chosen].tolist()),
        provenance=Provenance(
            source="meds",
            access=params.access,
            citation=params.citation,
            patient_is_stay=patients.are_stays,
            n_patients_read=len(set(patients.of.values())),
            exclusions=(
                *wrong.exclusions(),
                ("no measurement in the observation window", int(possible.sum()) - len(chosen)),
            ),
            implausible=implausible,
            notes=(*_notes(codes, stray), *patients.notes),
        ),
    )


def _own_split(path: Path | None, subjects: Sequence[int]) -> dict[str, tuple[str, ...]]:
    """Read the part of each case in the data set's own split, if there is one."""
    if path is None:
        return {}
    splits = read_splits(path)
    return {SOURCE_SPLIT: tuple(splits.get(subject, "") for subject in subjects)}


def _find_codes(data: pl.LazyFrame, files: SourceFiles, params: MedsParams, words: Vocabulary) -> _Codes:
    """Find the codes that hold the requested concepts.

    Raises:
        UserError: A file can't be read, or no code of the data represents a concept.
    """
    written = {} if files.codes is None else read_code_file(files.codes, words)
    parents = {} if files.code_metadata is None else read_parent_codes(files.code_metadata)
    present = _collect(data.select("code").unique(), files.shards)["code"].drop_nulls().to_list()
    places = places_of(present, parents, written, words)
    if params.concepts is not None:
        places = [place for place in places if place.concept in params.concepts]
    if not places:
        raise UserError(
            "no code of the data maps to a concept",
            where=str(params.root),
            hint="Name in data.codes a YAML file such as `LAB//50931//mg/dL: {concept: glucose}`.",
        )
    return _Codes(present, written, places)


def _in_order(places: Sequence[SourceItem], words: Vocabulary) -> tuple[str, ...]:
    held = {place.concept for place in places}
    return tuple(name for name in words.names if name in held)


def _measurements(
    found: pl.DataFrame, values: FloatArray, places: Sequence[SourceItem], concepts: tuple[str, ...]
) -> StayMeasurements:
    """Return the rows of `found` whose value was kept, with each case as a stay."""
    kept = ~np.isnan(values)
    place = found["place"].to_numpy()[kept]
    feature = np.array([concepts.index(item.concept) for item in places], dtype=np.int64)
    rows = found.filter(kept)
    case, hours = rows["case"].to_numpy(), rows["hours"].to_numpy()
    return StayMeasurements(case, hours, feature[place], values[kept], place)


def _notes(codes: _Codes, stray: dict[str, int]) -> tuple[str, ...]:
    notes = [
        "Case: a label of the label files. Observed: the hours before its prediction time, without that instant.",
        f"{len(codes.places)} of the data's {len(codes.present)} codes are read.",
    ]
    present = set(codes.present)
    absent = [code for code in codes.written if not is_named(code, present)]
    if absent:
        notes.append(f"{len(absent)} codes of the file of codes are not in the data (the first: {absent[0]}).")
    return (*notes, *stray_notes(stray))


def _collect(frame: pl.LazyFrame, shards: Sequence[Path]) -> pl.DataFrame:
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:  # a shard whose footer is whole and whose pages are not
        raise UserError(
            f"a shard can't be read ({str(error).splitlines()[0]})",
            where=str(shards[0].parent),
            hint="Write the files again from their source.",
        ) from error


def _in_window(
    data: pl.LazyFrame, cases: pl.DataFrame, places: Sequence[SourceItem], shards: Sequence[Path]
) -> pl.DataFrame:
    """Select `case`, `hours` since the start of its window, `place`, `number`, by place, then in the files' order."""
    numbered = list(enumerate(places))
    windows = cases.lazy().select("case", "subject_id", "start", "prediction_time")
    frame = (
        data.join(place_keys(numbered, "code"), on="code")
        .join(windows, on="subject_id")
        .filter((pl.col("time") >= pl.col("start")) & (pl.col("time") < pl.col("prediction_time")))
        .join(translations(numbered, "text_value"), on=["place", "text_value"], how="left")
        .with_columns(
            pl.coalesce("translated", "numeric_value").alias("number"),
            ((pl.col("time") - pl.col("start")).dt.total_microseconds() / 3600e6).alias("hours"),
        )
        .filter(pl.col("number").is_finite())
        .select("case", "hours", "place", "number", "shard", "row")
    )
    return _collect(frame, shards).sort("place", "shard", "row", "case")


def _canonical(
    found: pl.DataFrame, places: Sequence[SourceItem], words: Vocabulary
) -> tuple[FloatArray, dict[str, int], dict[str, int]]:
    """Convert values to canonical units (NaN where removed), in the order of `found`, which is sorted by place."""
    values = np.full(len(found), np.nan)
    raw = found["number"].to_numpy()
    implausible: Counter[str] = Counter()
    stray: Counter[str] = Counter()
    counts = dict(found.group_by("place").len().iter_rows())
    of_concept: Counter[str] = Counter()
    for index, count in counts.items():
        of_concept[places[index].concept] += count
    begin = 0
    for index in sorted(counts):
        item, part = places[index], slice(begin, begin + counts[index])
        begin += counts[index]
        where = f"code '{item.keys['code']}'"
        with few_stray(stray, item.concept, counts[index], of_concept[item.concept], where):
            if not has_unit(item):
                raise UserError(
                    f"{item.concept} is given without a unit; expected {words.concept(item.concept).unit}",
                    where=where,
                    hint=f"Name it in data.codes: `{item.keys['code']}: {{concept: {item.concept}, unit: ...}}`.",
                )
            converted = words.from_source(item, raw[part])
            values[part], removed = words.clean(item.concept, converted, where, item.unit)
            implausible[item.concept] += removed
    return values, {name: n for name, n in implausible.items() if n}, dict(stray)


def _static(
    data: pl.LazyFrame, cases: pl.DataFrame, lifetimes: pl.DataFrame, params: MedsParams, shards: Sequence[Path]
) -> dict[str, FloatArray]:
    """Read age in years at the start of the window and sex, NaN where unknown. Each of shape (N,).

    Who was born within the window is 0 years old.
    """
    sexes = {**dict.fromkeys(params.male, 1.0), **dict.fromkeys(params.female, 0.0)}
    facts = _collect(data.filter(pl.col("code").is_in(list(sexes))).select("subject_id", "code"), shards)
    sex = (
        facts.with_columns(pl.col("code").replace_strict(sexes, return_dtype=pl.Float64).alias("sex"))
        .group_by("subject_id")
        # A subject with codes of both has an unknown one.
        .agg(pl.when(pl.col("sex").n_unique() == 1).then(pl.col("sex").first()).alias("sex"))
    )
    joined = cases.join(lifetimes, on="subject_id", how="left", maintain_order="left").join(
        sex, on="subject_id", how="left", maintain_order="left"
    )
    age: Any = (joined["start"] - joined["birth"]).clip(timedelta(0)).dt.total_microseconds() / (
        86_400e6 * _DAYS_PER_YEAR
    )
    return {
        "age": age.cast(pl.Float64).fill_null(np.nan).to_numpy(),
        "sex": joined["sex"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
    }
