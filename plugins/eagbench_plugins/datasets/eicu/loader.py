"""Builds a cohort from eICU's files, a range of cases at a time: the rules choose, the vocabulary converts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from eagbench.api import (
    Case,
    CaseBlock,
    CohortStream,
    FloatArray,
    Provenance,
    SourceItem,
    StageRun,
    Task,
    UserError,
    vocabulary,
)
from eagbench_plugins.datasets.case_partitions import CASES
from eagbench_plugins.datasets.csv_text import UNKNOWN
from eagbench_plugins.datasets.eicu.cohort_rules import CaseRules, in_hospital_mortality
from eagbench_plugins.datasets.eicu.events import Windows, read_patients
from eagbench_plugins.datasets.eicu.measurements import Measurements, measurements
from eagbench_plugins.datasets.eicu.params import EicuParams
from eagbench_plugins.datasets.eicu.published import DEMO_CITATION
from eagbench_plugins.datasets.eicu.tables import EVENTS, PATIENT, Table, source_files
from eagbench_plugins.datasets.measurements import StayMeasurements, series_by_stay
from eagbench_plugins.datasets.result_times import availability_note

CITATION = (
    "Pollard et al., The eICU Collaborative Research Database, a freely available multi-center database for critical "
    "care research, Scientific Data 5, 180178 (2018); eICU-CRD 2.0, PhysioNet Credentialed Health Data License 1.5.0. "
    "Not to be shared."
)
# The demo has some 2,500 unit stays, eICU-CRD 200,859.
DEMO_STAYS = 2600
# How the source writes that a patient is older than 89, and the age taken for it.
_OLDEST = ("> 89", 90.0)


def load_cohort(params: EicuParams, run: StageRun) -> CohortStream:
    """Begin to read the cohort.

    Raises:
        UserError: A concept is in none of the tables.
    """
    words = vocabulary()
    tables = [EVENTS[name] for name in params.tables]
    names = {table.name for table in tables}
    offered = tuple(place for place in words.source("eicu") if place.keys["table"] in names)
    concepts = params.concepts or tuple(dict.fromkeys(place.concept for place in offered))
    places = tuple(place for place in offered if place.concept in concepts)
    _check_offered(concepts, {place.concept for place in offered}, params)
    task = Task(params.task, "die before leaving the hospital", "an intensive care physician", params.window_hours)
    blocks = _blocks(params, concepts, places, run)
    return CohortStream(words.features(concepts), ("age", "sex"), task, blocks)


def _blocks(
    params: EicuParams, concepts: tuple[str, ...], places: Sequence[SourceItem], run: StageRun
) -> Generator[CaseBlock, None, Provenance]:
    """Yield the cases, a range of them at a time.

    Raises:
        UserError: Something is wrong with the files or with the units in them, or files that are declared open can't
            be the demo.
    """
    tables = [EVENTS[name] for name in params.tables]
    paths = source_files(params.root, [PATIENT, *tables])
    stays = _stays(read_patients(paths[0]), str(paths[0]))
    if params.access == "open" and len(stays) > DEMO_STAYS:
        raise UserError(
            f"data.access says open, but {len(stays)} unit stays are more than eICU's open demo holds",
            where=str(paths[0]),
            hint="Leave data.access out: eICU-CRD is credentialed and does not leave the machine.",
        )
    rules = in_hospital_mortality(stays, params.window_hours * 60, params.min_age)
    cases = rules.cases
    events = _events(params, dict(zip(tables, paths[1:], strict=True)), cases, places, run)
    found = measurements(events, len(cases), places, params, vocabulary(), run.checkpoints / "events")
    feature = np.array([concepts.index(place.concept) for place in places], dtype=np.int64)
    n_kept = 0
    for first, rows in found.parts:
        here = cases.slice(first, CASES)
        place = rows["place"].to_numpy()
        measured = StayMeasurements(
            stay=rows["case"].to_numpy() - first,
            hours=rows["minutes"].to_numpy() / 60,
            feature=feature[place],
            values=rows["value"].to_numpy(),
            precedence=place,
        )
        block = _block(here, series_by_stay(measured, len(here), len(concepts)), concepts)
        n_kept += len(block.items)
        yield block
    return Provenance(
        source="eicu",
        access=params.access,
        citation=DEMO_CITATION if params.access == "open" else CITATION,
        patient_is_stay=False,
        n_patients_read=stays["patient"].n_unique(),
        exclusions=(*rules.exclusions, ("no measurement in the observation window", len(cases) - n_kept)),
        implausible=found.implausible,
        notes=_notes(params, rules, found),
        result_times=found.result_times,
    )


def _events(
    params: EicuParams,
    paths: Mapping[Table, Path],
    cases: pl.DataFrame,
    places: Sequence[SourceItem],
    run: StageRun,
) -> Iterator[pl.DataFrame]:
    """Read the events of all tables in their order, whatever the benchmark's."""
    for table in EVENTS.values():
        if table in paths:
            windows = Windows(table, cases, places, params.window_hours * 60)
            yield from run.progress(windows.read(paths[table]), f"read eICU's {table.file}", None)


def _block(
    cases: pl.DataFrame, series: Sequence[tuple[FloatArray, FloatArray]], concepts: tuple[str, ...]
) -> CaseBlock:
    """Build the cases with a measurement."""
    chosen = [i for i, (times, _) in enumerate(series) if len(times)]
    kept = cases[chosen]
    described = kept.select("stay", "patient", "age", "sex").iter_rows()
    return CaseBlock(
        items=tuple(
            Case(stay, patient, concepts, *series[i], {"age": _known(age), "sex": _known(sex)})
            for i, (stay, patient, age, sex) in zip(chosen, described, strict=True)
        ),
        labels=kept["label"].to_numpy().astype(np.int64),
        groups={
            "icu_type": tuple(kept["unittype"].fill_null("unknown")),
            "hospital": tuple(kept["hospitalid"].fill_null("unknown")),
        },
    )


def _check_offered(concepts: tuple[str, ...], offered: set[str], params: EicuParams) -> None:
    lacking = [name for name in concepts if name not in offered]
    if lacking:
        raise UserError(
            f"{', '.join(lacking)} can't be read from {', '.join(params.tables)}",
            where="data.concepts",
            hint="Name the table that holds it in data.tables, or leave it out.",
        )


def _stays(patients: pl.DataFrame, path: str) -> pl.DataFrame:
    """Read all unit stays: `stay`, `patient`, `admission`, and the numbers and facts that the rules need."""
    age = pl.when(pl.col("age").str.strip_chars() == _OLDEST[0]).then(pl.lit(str(_OLDEST[1]))).otherwise(pl.col("age"))
    frame = (
        patients.lazy()
        .rename({"uniquepid": "patient", "patientunitstayid": "stay", "patienthealthsystemstayid": "admission"})
        .with_columns(
            age.cast(pl.Float64).alias("age"),
            pl.col("gender")
            .replace_strict({"Male": 1.0, "Female": 0.0}, default=None, return_dtype=pl.Float64)
            .alias("sex"),
            *(
                pl.col(name).cast(pl.Float64)
                for name in ("unitvisitnumber", "unitdischargeoffset", "hospitaldischargeoffset")
            ),
        )
    )
    try:
        stays = frame.collect().unique(maintain_order=True)  # joined exports hold equal rows twice
    except pl.exceptions.InvalidOperationError as error:
        raise UserError(
            f"holds a value that can't be read: {str(error).splitlines()[0]}",
            where=path,
            hint="Ages are numbers or '> 89', offsets are minutes, as in eICU-CRD.",
        ) from error
    for name in ("patient", "stay", "admission", "unitvisitnumber", "unitdischargeoffset"):
        if stays[name].null_count():
            raise UserError(f"{stays[name].null_count()} rows have no {name}", where=path)
    if stays["stay"].n_unique() != len(stays):
        raise UserError("a patientunitstayid has rows that differ", where=path)
    return stays.with_columns(_status(stays["hospitaldischargestatus"], path))


def _status(texts: pl.Series, path: str) -> pl.Series:
    """Read the status at discharge, null where it is unknown."""
    stripped = texts.str.strip_chars()
    status = stripped.set(stripped.str.to_lowercase().is_in(["", *UNKNOWN]), None)
    strange = status.filter(status.is_not_null() & ~status.is_in(["Alive", "Expired"]))
    if len(strange):
        raise UserError(f"column '{texts.name}' must hold Alive or Expired, not '{strange[0]}'", where=path)
    return status


def _notes(params: EicuParams, rules: CaseRules, found: Measurements) -> tuple[str, ...]:
    notes = [
        "Case: the first ICU stay of a hospital admission. Observed: the first hours of the stay. Label: death before "
        "leaving the hospital.",
        f"Tables read: patient, {', '.join(params.tables)}. Ages above 89 are taken as {_OLDEST[1]:g}.",
    ]
    if found.result_times:
        notes.append(
            availability_note(found.result_times, "labresultrevisedoffset, the last revision and so an upper bound")
        )
    if rules.deaths_told_by_unit:
        notes.append(
            f"{rules.deaths_told_by_unit} cases have no status at discharge from the hospital and count as deaths, "
            "because the unit's columns or the place of discharge say so."
        )
    if found.unknown_units:
        most = ", ".join(unit for unit, _ in Counter(found.unknown_units).most_common(5))
        notes.append(
            f"{sum(found.unknown_units.values())} laboratory values name a hospital's unit that is not known (most "
            f"often {most}); they are read in the system's unit for the test."
        )
    if found.stray_units:
        counts = ", ".join(f"{count} of {name}" for name, count in sorted(found.stray_units.items()))
        notes.append(f"Values removed because their unit is wrong and rare: {counts}.")
    return tuple(notes)


def _known(value: Any) -> float:
    return float("nan") if value is None else float(value)
