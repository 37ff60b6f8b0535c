"""Which admissions of MIMIC-IV are cases, what is observed of them, and what their label is.

Both tasks follow the field's usual definitions. Where the sources are silent the choice is ours and is documented in
docs/datasets/mimic4.md. Everything is a vectorised expression over whole tables.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from eagbench_plugins.datasets.mimic4.deaths import DEAD_BEFORE, DEAD_YET_DISCHARGED, with_deaths

READMISSION_DAYS = 30


@dataclass(frozen=True, slots=True)
class CaseRules:
    """The cases of a task before their measurements are read.

    Attributes:
        cases: One row per case: `case_id`, `patient_id`, `hadm_id`, `icu_type`, `origin` (hour zero), `start` and `end`
            (observed from start until just before end), `predicted` (the prediction time), `age`, `sex`, `label`.
        exclusions: (reason, number of cases), in the order applied.
        notes: How many admissions say two things about a death, and what is believed.
    """

    cases: pl.DataFrame
    exclusions: tuple[tuple[str, int], ...]
    notes: tuple[str, ...]


def admissions_with_icu(patients: pl.DataFrame, admissions: pl.DataFrame, stays: pl.DataFrame) -> pl.DataFrame:
    """Join ICU stays with their admission, patient and death, and compute age in years at admission.

    The patient's age is known for one year, the anchor year. MIMIC-IV shifts dates by whole years per patient, so
    differences in years are preserved.
    """
    return stays.join(with_deaths(patients, admissions), on=["patient_id", "hadm_id"], how="inner").with_columns(
        (pl.col("anchor_age") + pl.col("admittime").dt.year() - pl.col("anchor_year")).cast(pl.Float64).alias("age"),
        pl.col("gender").replace_strict({"M": 1.0, "F": 0.0}, default=None, return_dtype=pl.Float64).alias("sex"),
    )


def in_hospital_mortality(stays: pl.DataFrame, window_hours: float, min_age: float) -> CaseRules:
    """Select the first hours of each admission's first ICU stay. The label is death in hospital.

    Args:
        stays: What `admissions_with_icu` returns.
        window_hours: Length of the observation window from ICU admission; its end is the prediction time.
        min_age: Youngest age in years.
    """
    first = stays.sort("patient_id", "hadm_id", "intime", "stay_id").unique(
        "hadm_id", keep="first", maintain_order=True
    )
    cases = first.with_columns(
        pl.col("stay_id").alias("case_id"),
        pl.col("intime").alias("origin"),
        pl.col("intime").alias("start"),
        (pl.col("intime") + _hours(window_hours)).alias("end"),
        (pl.col("intime") + _hours(window_hours)).alias("predicted"),
        pl.min_horizontal("outtime", "dischtime", "death").alias("stay_end"),
        pl.col("died").cast(pl.Int64).alias("label"),
    )
    return _excluding(
        cases,
        [
            (f"younger than {min_age:g} years", pl.col("age") < min_age),
            (DEAD_BEFORE, pl.col("dead_before")),
            (DEAD_YET_DISCHARGED, pl.col("contradicted")),
            ("ICU stay ended at or before the prediction time", pl.col("stay_end") <= pl.col("end")),
        ],
    )


def readmission_30_days(
    stays: pl.DataFrame, admissions: pl.DataFrame, window_hours: float, min_age: float
) -> CaseRules:
    """Select the last hours of each admission's last ICU stay.

    The label is a new admission or death within 30 days of discharge. Hour zero is `window_hours` before the end of the
    stay; if the stay is shorter, the first hours are empty. The prediction time is the discharge from hospital.

    Args:
        stays: What `admissions_with_icu` returns.
        admissions: All admissions, also those without an ICU stay: each counts as a readmission.
        window_hours: Length of the observation window.
        min_age: Youngest age in years.
    """
    last = stays.sort("patient_id", "hadm_id", "intime", "stay_id").unique("hadm_id", keep="last", maintain_order=True)
    returns = admissions.select("patient_id", pl.col("admittime").alias("next_admission")).sort("next_admission")
    known = last.filter(pl.col("dischtime").is_not_null() & pl.col("outtime").is_not_null())
    followed = known.sort("dischtime").join_asof(
        returns,
        left_on="dischtime",
        right_on="next_admission",
        by="patient_id",
        strategy="forward",
        allow_exact_matches=False,
        check_sortedness=False,  # both are sorted above; polars can't check it within groups
    )
    limit = pl.duration(days=READMISSION_DAYS)
    came_back = (pl.col("next_admission") <= pl.col("dischtime") + limit).fill_null(False)
    # The day of death has no time of day, so days are compared.
    dead = (pl.col("dod") <= pl.col("dischtime").dt.date() + limit).fill_null(False)
    cases = followed.with_columns(
        pl.col("hadm_id").alias("case_id"),
        (pl.col("outtime") - _hours(window_hours)).alias("origin"),
        pl.max_horizontal(pl.col("intime"), pl.col("outtime") - _hours(window_hours)).alias("start"),
        pl.col("outtime").alias("end"),
        pl.col("dischtime").alias("predicted"),
        # The day of death decides the label here, and a later admission says that it is wrong.
        (
            pl.col("contradicted")
            | (dead & ~came_back & (pl.col("last_admission").dt.date() > pl.col("dod")).fill_null(False))
        ).alias("contradicted"),
        (came_back | dead).cast(pl.Int64).alias("label"),
    )
    rules = _excluding(
        cases,
        [
            (f"younger than {min_age:g} years", pl.col("age") < min_age),
            (DEAD_BEFORE, pl.col("dead_before")),
            (DEAD_YET_DISCHARGED, pl.col("contradicted")),
            ("died in hospital", pl.col("died")),
            ("discharged to a hospice", (pl.col("discharge_location") == "HOSPICE").fill_null(False)),
            ("still in another admission at discharge", pl.col("still_inside")),
        ],
    )
    return replace(rules, exclusions=(("no time of discharge", len(last) - len(known)), *rules.exclusions))


def _hours(hours: float) -> pl.Expr:
    return pl.duration(seconds=round(hours * 3600))


def _excluding(cases: pl.DataFrame, reasons: list[tuple[str, pl.Expr]]) -> CaseRules:
    exclusions, notes = [], _notes(cases)
    for reason, condition in reasons:
        kept = cases.filter(~condition)
        exclusions.append((reason, len(cases) - len(kept)))
        cases = kept
    columns = (
        "case_id",
        "patient_id",
        "hadm_id",
        "first_careunit",
        "origin",
        "start",
        "end",
        "predicted",
        "age",
        "sex",
        "label",
    )
    ordered = cases.select(columns).rename({"first_careunit": "icu_type"})
    return CaseRules(ordered.sort(pl.col("patient_id").cast(pl.Int64), "start", "case_id"), tuple(exclusions), notes)


def _notes(candidates: pl.DataFrame) -> tuple[str, ...]:
    elsewhere, disagree = candidates["told_elsewhere"].sum(), candidates["columns_disagree"].sum()
    notes = []
    if elsewhere:
        notes.append(
            f"{elsewhere} admissions say survival while the patient died in an overlapping admission: taken as deaths "
            "in hospital."
        )
    if disagree:
        notes.append(
            f"In {disagree} admissions hospital_expire_flag, deathtime and discharge_location disagree about a death: "
            "one that tells of it is believed."
        )
    return tuple(notes)
