"""Builds a cohort from MIMIC-IV's files, a range of cases at a time: the rules choose, the vocabulary converts."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from eagbench.api import (
    Access,
    CaseBlock,
    CohortStream,
    FloatArray,
    Provenance,
    StageRun,
    Task,
    UserError,
    vocabulary,
)
from eagbench_plugins.datasets.case_partitions import CASES
from eagbench_plugins.datasets.mimic4.cohort_rules import (
    CaseRules,
    admissions_with_icu,
    in_hospital_mortality,
    readmission_30_days,
)
from eagbench_plugins.datasets.mimic4.events import read_events, read_table
from eagbench_plugins.datasets.mimic4.measurements import Measurements, observed, places_of, records
from eagbench_plugins.datasets.mimic4.params import Mimic4Params, TaskName
from eagbench_plugins.datasets.mimic4.published import DEMO_CITATION, DEMO_PATIENTS
from eagbench_plugins.datasets.mimic4.source_files import source_files
from eagbench_plugins.datasets.mimic4.tables import READ_TABLES, TABLES, TRUTH_FILE
from eagbench_plugins.datasets.result_times import availability_note
from eagbench_plugins.datasets.stray_units import stray_notes

CITATION = (
    "Johnson et al., MIMIC-IV (version 3.1), PhysioNet 2024, and MIMIC-IV, a freely accessible electronic health "
    "record dataset, Scientific Data 2023; PhysioNet Credentialed Health Data License 1.5.0. Not to be shared."
)
SYNTHETIC_CITATION = "SYNTHETIC records from eagbench's generator in the form of MIMIC-IV; no real patient."
_CITATIONS: Mapping[Access, str] = {
    "credentialed": CITATION,
    "synthetic": SYNTHETIC_CITATION,
    "open": DEMO_CITATION,
}

_OUTCOMES: Mapping[TaskName, str] = {
    "in_hospital_mortality": "die before leaving the hospital",
    "readmission_30_days": "be readmitted to the hospital or die within 30 days of discharge",
}
_TRUTH: Mapping[TaskName, str] = {
    "in_hospital_mortality": "probability_in_hospital_death",
    "readmission_30_days": "probability_readmission_or_death_30_days",
}
_NOTES: Mapping[TaskName, tuple[str, ...]] = {
    "in_hospital_mortality": (
        "Case: the first ICU stay of a hospital admission. Observed: the first hours of the stay. Label: death before "
        "leaving the hospital.",
    ),
    "readmission_30_days": (
        "Case: a hospital admission with an ICU stay that the patient left alive and not for a hospice. Observed: the "
        "last hours of its last ICU stay. Predicted at discharge. Label: a new admission (planned or not) or death "
        "within 30 days.",
        "MIMIC-IV's dates are shifted, so admissions less than 30 days before the end of data collection can't be told "
        "apart; admissions to other hospitals are unknown.",
    ),
}


@dataclass(frozen=True, slots=True)
class _HospitalTables:
    """Who was in hospital when. `subject_id` is called `patient_id`; numbers and times are parsed.

    Attributes:
        patients: One row per patient.
        admissions: One row per hospital admission.
        stays: One row per ICU stay.
    """

    patients: pl.DataFrame
    admissions: pl.DataFrame
    stays: pl.DataFrame


def load_cohort(root: Path, params: Mimic4Params, access: Access, run: StageRun) -> CohortStream:
    """Begin to read the cohort.

    Args:
        root: The folder that holds hosp/ and icu/.
        params: The task and which patients it covers.
        access: `synthetic` if the generator wrote `root`; then the generator's probabilities are read too.
        run: Folder and progress.
    """
    task = Task(params.task, _OUTCOMES[params.task], "an intensive care physician", params.window_hours)
    blocks = _blocks(root, params, access, run)
    return CohortStream(vocabulary().features(params.concepts), ("age", "sex"), task, blocks)


def _blocks(root: Path, params: Mimic4Params, access: Access, run: StageRun) -> Generator[CaseBlock, None, Provenance]:
    """Yield the cases, a range of them at a time.

    Raises:
        UserError: Something is wrong with the files or with the units in them.
    """
    paths = {table.name: path for table, path in zip(READ_TABLES, source_files(root), strict=True)}
    hospital = _hospital_tables(paths)
    _check_access(access, hospital.patients)
    rules = _case_rules(hospital, params)
    chosen = rules.cases.with_row_index("case").with_columns(pl.col("case").cast(pl.Int64))
    measurements = observed(
        chosen,
        _events(paths, params.concepts, run),
        vocabulary(),
        params.concepts,
        params.availability,
        run.checkpoints / "events",
    )
    years = _year_groups(chosen, hospital.patients)
    oracle = _oracle(root, params.task, chosen) if access == "synthetic" else {}
    unmeasured = 0
    for first, rows in measurements.parts:
        here = chosen.slice(first, CASES)
        measured = here.filter(pl.col("case").is_in(rows["case"].unique().implode()))
        unmeasured += len(here) - len(measured)
        at = measured["case"].to_numpy()
        yield CaseBlock(
            items=tuple(records(measured, rows, params.concepts)),
            labels=measured["label"].to_numpy().astype(np.int64),
            groups={
                "icu_type": tuple(measured["icu_type"].fill_null("unknown")),
                "anchor_year_group": tuple(years[i] for i in at),
            },
            reference_probabilities={name: column[at] for name, column in oracle.items()},
        )
    return _provenance(params.task, access, hospital.patients, rules, unmeasured, measurements)


def _events(paths: Mapping[str, Path], concepts: Sequence[str], run: StageRun) -> dict[str, Iterator[pl.DataFrame]]:
    """Prepare to read the events of the concepts; a table without any is not read."""
    itemids: dict[str, set[int]] = {}
    for place in places_of(vocabulary(), concepts):
        itemids.setdefault(str(place.keys["table"]), set()).add(int(place.keys["itemid"]))
    return {
        name: iter(run.progress(read_events(name, paths[name], wanted), f"read MIMIC-IV's {name}", None))
        for name, wanted in itemids.items()
    }


def _hospital_tables(paths: Mapping[str, Path]) -> _HospitalTables:
    """Read patients, admissions and ICU stays.

    Raises:
        UserError: A number or a time can't be read, an id has several rows, or the outcome is not 0 or 1.
    """
    patients = _typed("patients", paths, numbers=("anchor_age", "anchor_year"), dates=("dod",))
    admissions = _typed(
        "admissions",
        paths,
        numbers=("hospital_expire_flag",),
        times=("admittime", "dischtime", "deathtime"),
    )
    stays = _typed("icustays", paths, times=("intime", "outtime"))
    for table, frame, key in (
        ("patients", patients, "patient_id"),
        ("admissions", admissions, "hadm_id"),
        ("icustays", stays, "stay_id"),
    ):
        _check_once(table, frame, key)
    unknown = admissions.filter(~pl.col("hospital_expire_flag").is_in([0, 1]).fill_null(False))
    if len(unknown):
        flag = unknown["hospital_expire_flag"][0]
        raise UserError(
            f"hospital_expire_flag must be 0 or 1; admission {unknown['hadm_id'][0]} has "
            f"{'none' if flag is None else flag}",
            where=TABLES["admissions"].file,
        )
    return _HospitalTables(patients, admissions, stays)


def _check_access(access: Access, patients: pl.DataFrame) -> None:
    if access == "open" and len(patients) > DEMO_PATIENTS:
        raise UserError(
            f"data.access says open, but {len(patients)} patients are more than MIMIC-IV's open demo holds",
            where=TABLES["patients"].file,
            hint="Leave data.access out: MIMIC-IV is credentialed and does not leave the machine.",
        )


def _check_once(table: str, frame: pl.DataFrame, key: str) -> None:
    """Check that no id has rows that differ: a second outcome or time would win or lose in silence."""
    twice = frame.filter(frame[key].is_duplicated())
    if len(twice):
        name = "subject_id" if key == "patient_id" else key
        raise UserError(f"{name} {twice[key][0]} has several rows that differ", where=TABLES[table].file)


def _case_rules(hospital: _HospitalTables, params: Mimic4Params) -> CaseRules:
    with_icu = admissions_with_icu(hospital.patients, hospital.admissions, hospital.stays)
    if params.task == "in_hospital_mortality":
        return in_hospital_mortality(with_icu, params.window_hours, params.min_age)
    return readmission_30_days(with_icu, hospital.admissions, params.window_hours, params.min_age)


def _provenance(
    task: TaskName,
    access: Access,
    patients: pl.DataFrame,
    rules: CaseRules,
    unmeasured: int,
    measurements: Measurements,
) -> Provenance:
    notes = (*_NOTES[task], *rules.notes)
    if measurements.result_times:
        notes = (*notes, availability_note(measurements.result_times, "storetime"))
    notes = (*notes, *stray_notes(measurements.stray_units))
    return Provenance(
        source="mimic4",
        access=access,
        citation=_CITATIONS[access],
        patient_is_stay=False,
        n_patients_read=patients["patient_id"].n_unique(),
        exclusions=(*rules.exclusions, ("no measurement in the observation window", unmeasured)),
        implausible=measurements.implausible,
        notes=notes,
        result_times=measurements.result_times,
    )


def _year_groups(cases: pl.DataFrame, patients: pl.DataFrame) -> tuple[str, ...]:
    """Read the three years into which each case's anchor year really falls: all that MIMIC-IV tells of the calendar."""
    known = patients.select("patient_id", "anchor_year_group").unique("patient_id")
    joined = cases.join(known, on="patient_id", how="left", maintain_order="left")
    return tuple(joined["anchor_year_group"].fill_null("unknown"))


def _oracle(root: Path, task: TaskName, cases: pl.DataFrame) -> dict[str, FloatArray]:
    """Read the generator's own probability per case: the best that any method could do."""
    truth = pl.read_csv(root / TRUTH_FILE, schema_overrides={"hadm_id": pl.String})
    joined = cases.join(truth.select("hadm_id", _TRUTH[task]), on="hadm_id", how="left", maintain_order="left")
    return {"oracle": joined[_TRUTH[task]].to_numpy().astype(np.float64)}


def _typed(
    table: str,
    paths: Mapping[str, Path],
    *,
    numbers: tuple[str, ...] = (),
    times: tuple[str, ...] = (),
    dates: tuple[str, ...] = (),
) -> pl.DataFrame:
    frame = (
        read_table(table, paths[table])
        .lazy()
        .rename({"subject_id": "patient_id"})
        .with_columns(
            *(pl.col(name).cast(pl.Int64) for name in numbers),
            *(pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms") for name in times),
            *(pl.col(name).str.slice(0, 10).str.to_date("%Y-%m-%d") for name in dates),
        )
    )
    try:
        return frame.collect().unique(maintain_order=True)  # exports that were joined hold equal rows twice
    except pl.exceptions.InvalidOperationError as error:
        raise UserError(
            f"MIMIC-IV's {table} holds a value that can't be read: {str(error).splitlines()[0]}",
            where=TABLES[table].file,
            hint=f"Times are written as 2150-01-31 13:45:00, {', '.join((*numbers, *times, *dates))} as in MIMIC-IV.",
        ) from error
