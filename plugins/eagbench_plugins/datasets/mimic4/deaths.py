"""What MIMIC-IV's dates say about deaths, admission by admission, and where they contradict each other.

Known contradictions: a date of death before the admission (mimic-code issue 1346), accounts opened for organ donors
after their death (1194, 178, 666), a death in an admission that lies inside another (1520), a death without its time
(1406). docs/datasets/mimic4.md says what becomes of each.
"""

from __future__ import annotations

import polars as pl

DEAD_BEFORE = "dead before the admission"
DEAD_YET_DISCHARGED = "date of death contradicts the discharge"


def with_deaths(patients: pl.DataFrame, admissions: pl.DataFrame) -> pl.DataFrame:
    """Join each admission with its patient, and add what is known of the patient's death.

    Added columns:
        died: Died before leaving the hospital, in this admission or in one that overlaps it.
        death: When, null if unknown.
        told_elsewhere: This admission says survival, and the patient died in one that overlaps it.
        columns_disagree: Flag, time of death and discharge location disagree; one that says death is believed.
        dead_before: The patient was dead before this admission.
        contradicted: The date of death says something else than this admission.
        still_inside: At discharge the patient was in another admission.
        last_admission: The start of the patient's last admission.
    """
    told = _own_deaths(admissions.join(patients, on="patient_id", how="inner"))
    joined = told.join(_overlaps(told), on="hadm_id", how="left").with_columns(
        pl.col("died_elsewhere", "still_inside").fill_null(False)
    )
    day = pl.col("dischtime").dt.date()
    own, died = pl.col("own_death"), pl.col("own_death") | pl.col("died_elsewhere")
    return joined.with_columns(
        died.alias("died"),
        pl.min_horizontal("deathtime", "death_elsewhere").alias("death"),
        (pl.col("died_elsewhere") & ~own).alias("told_elsewhere"),
        # The day of death may be a day off: it has no time of day.
        ((~died & (pl.col("dod") < day)) | (own & (pl.col("dod") > day + pl.duration(days=1))))
        .fill_null(False)
        .alias("contradicted"),
    )


def _own_deaths(admissions: pl.DataFrame) -> pl.DataFrame:
    """Add what each admission says itself, and whether the patient was dead before it."""
    signs = (
        pl.col("hospital_expire_flag") == 1,
        pl.col("deathtime").is_not_null(),
        pl.col("discharge_location") == "DIED",
    )
    said = [sign.fill_null(False) for sign in signs]
    first_death, begin = pl.col("deathtime").min().over("patient_id"), pl.col("admittime")
    # An account that is opened in the minute of a death elsewhere is a donor's; a death on arrival has its own time.
    account = (first_death <= begin) & pl.col("deathtime").is_null()
    return admissions.with_columns(
        pl.any_horizontal(said).alias("own_death"),
        (pl.any_horizontal(said) & ~pl.all_horizontal(said)).alias("columns_disagree"),
        ((first_death < begin) | account | (pl.col("dod") < begin.dt.date())).fill_null(False).alias("dead_before"),
        begin.max().over("patient_id").alias("last_admission"),
    )


def _overlaps(admissions: pl.DataFrame) -> pl.DataFrame:
    """Return `died_elsewhere`, `death_elsewhere` and `still_inside` by `hadm_id`: what overlapping admissions say.

    Admissions that begin after the patient's death say nothing.
    """
    spans = admissions.select("patient_id", "hadm_id", "admittime", "dischtime")
    others = admissions.filter(~pl.col("dead_before")).select(
        "patient_id",
        "admittime",
        "dischtime",
        pl.col("hadm_id").alias("other"),
        pl.col("own_death").alias("died_elsewhere"),
        pl.when("own_death").then(pl.coalesce("deathtime", "dischtime")).alias("death_elsewhere"),
    )
    pairs = spans.join(others, on="patient_id", suffix="_other").filter(
        (pl.col("hadm_id") != pl.col("other"))
        & (pl.col("admittime_other") < pl.col("dischtime"))
        & (pl.col("dischtime_other") > pl.col("admittime"))
    )
    return pairs.group_by("hadm_id").agg(
        pl.col("died_elsewhere").any(),
        pl.col("death_elsewhere").min(),
        (pl.col("dischtime_other") > pl.col("dischtime")).any().alias("still_inside"),
    )
