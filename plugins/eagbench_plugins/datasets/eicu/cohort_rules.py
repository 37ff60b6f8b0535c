"""Which unit stays of eICU are cases, and what their label is.

eICU says twice how a patient left: in each unit stay's columns and in the hospital's. They disagree in some rows
(eicu-code issues 188 and 190), and what to do about it is our choice, documented in docs/datasets/eicu.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class CaseRules:
    """The cases before their measurements are read.

    Attributes:
        cases: One row per case: the columns of the stays, `case` (0, 1, ...) and `label`.
        exclusions: (reason, number of cases), in the order applied.
        deaths_told_by_unit: Cases whose hospital status is blank, and whose label 1 comes from another column.
    """

    cases: pl.DataFrame
    exclusions: tuple[tuple[str, int], ...]
    deaths_told_by_unit: int


def in_hospital_mortality(stays: pl.DataFrame, minutes: float, min_age: float) -> CaseRules:
    """Select the first ICU stay of each hospital admission. The label is death before leaving the hospital.

    Args:
        stays: All unit stays, of every kind of unit.
        minutes: Length of the observation window from unit admission; its end is the prediction time.
        min_age: Youngest age in years.
    """
    ordered = _with_deaths(stays).sort(pl.col("stay").cast(pl.Int64))
    in_icu = ordered.filter((pl.col("unitstaytype") != "stepdown/other").fill_null(True))
    first = in_icu.sort("unitvisitnumber", maintain_order=True).unique("admission", keep="first", maintain_order=True)
    first = first.sort(pl.col("stay").cast(pl.Int64))
    exclusions = [
        ("step-down or other unit, no ICU", len(ordered) - len(in_icu)),
        ("not the first ICU stay of its hospital admission", len(in_icu) - len(first)),
    ]
    for reason, condition in (
        (f"younger than {min_age:g} years", pl.col("age") < min_age),
        ("unknown whether the patient left the hospital alive", pl.col("untold") & ~pl.col("said_dead")),
        ("called dead and alive: the columns on the discharge disagree", pl.col("contradicted")),
        ("ICU stay ended at or before the prediction time", pl.col("ended") <= minutes),
    ):
        kept = first.filter(~condition.fill_null(False))
        exclusions.append((reason, len(first) - len(kept)))
        first = kept
    cases = first.with_columns(pl.col("said_dead").cast(pl.Int64).alias("label")).with_row_index("case")
    return CaseRules(
        cases=cases.with_columns(pl.col("case").cast(pl.Int64)),
        exclusions=tuple(exclusions),
        deaths_told_by_unit=cases.filter("untold").height,
    )


def _with_deaths(stays: pl.DataFrame) -> pl.DataFrame:
    """Add `ended` of each stay, and `untold`, `said_dead` and `contradicted` of its hospital admission.

    An admission is `untold` if the hospital's status is blank in all its rows. It is said to be a death if the status
    of the hospital or of any of its unit stays is `Expired`, or a place of discharge `Death`. That is contradicted if
    the hospital's status is `Alive`, or, where it is untold, if the patient was in a further unit after the one in
    which they died.
    """
    dead_in_unit = (
        (pl.col("unitdischargestatus") == "Expired") | (pl.col("unitdischargelocation") == "Death")
    ).fill_null(False)
    dead_in_hospital = (
        (pl.col("hospitaldischargestatus") == "Expired") | (pl.col("hospitaldischargelocation") == "Death")
    ).fill_null(False)
    visit = pl.col("unitvisitnumber")
    went_on = pl.when(dead_in_unit).then(visit).min() < visit.max()
    blank = pl.col("hospitaldischargestatus").is_null().all()
    said_dead = (dead_in_unit | dead_in_hospital).any()
    said_alive = (pl.col("hospitaldischargestatus") == "Alive").any() | (blank & went_on.fill_null(False))
    return stays.with_columns(
        pl.min_horizontal("unitdischargeoffset", "hospitaldischargeoffset").alias("ended"),
        blank.over("admission").alias("untold"),
        said_dead.over("admission").alias("said_dead"),
        (said_dead & said_alive).over("admission").alias("contradicted"),
    )
