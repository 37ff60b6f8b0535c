"""Reads what MEDS data say of subjects beside their measurements, and which codes there are, in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from eagbench.api import StageRun
from eagbench_plugins.datasets.meds.lifetimes import IS_BIRTH, IS_DEATH, lifetimes_of
from eagbench_plugins.datasets.meds.params import MedsParams
from eagbench_plugins.datasets.meds.patients import coded_patients, names_patient
from eagbench_plugins.datasets.meds.shards import SCHEMA, data_blocks
from eagbench_plugins.datasets.meds.source_files import SourceFiles

_COLUMNS = ("subject_id", "time", "code")
_VALUES = ("numeric_value", "text_value")


@dataclass(frozen=True, slots=True)
class Facts:
    """What the data say beside measurements.

    Attributes:
        codes: Every code of the data.
        people: `subject_id`, `birth`, `death` and `sex` (1 male, 0 female) of the subjects with such a code, null
            where unknown.
        patients: `subject` and `patient` by the code `data.patient_of`; empty without one.
    """

    codes: frozenset[str]
    people: pl.DataFrame
    patients: pl.DataFrame


def read_facts(files: SourceFiles, subjects: pl.Series, params: MedsParams, run: StageRun) -> Facts:
    """Read all shards once.

    Args:
        files: The data.
        subjects: Whose facts are kept.
        params: Codes of sexes and patients.
        run: Shows progress.

    Raises:
        UserError: A file can't be read, lacks a column, or has a column of another type.
    """
    sexes = {**dict.fromkeys(params.male, 1.0), **dict.fromkeys(params.female, 0.0)}
    # A whole code has the patient in its value.
    columns = (*_COLUMNS, *(() if params.patient_of is None or params.patient_of.endswith("*") else _VALUES))
    codes, telling = set[str](), set[str]()
    kept = [pl.DataFrame(schema=SCHEMA)]
    for block in run.progress(data_blocks(files.shards, columns), "read MEDS' codes", None):
        new = set(block["code"].unique().drop_nulls()) - codes
        codes |= new
        telling |= {code for code in new if code in sexes or names_patient(code, params.patient_of)}
        is_fact = IS_BIRTH | IS_DEATH | pl.col("code").is_in(list(telling))
        facts = block.filter(is_fact).filter(pl.col("subject_id").is_in(subjects.implode()))
        kept.append(facts.unique(maintain_order=True))
    found = pl.concat(kept, how="diagonal")
    return Facts(frozenset(codes), _people(found, sexes), coded_patients(found, params.patient_of))


def _people(facts: pl.DataFrame, sexes: dict[str, float]) -> pl.DataFrame:
    sex = (
        facts.filter(pl.col("code").is_in(list(sexes)))
        .with_columns(pl.col("code").replace_strict(sexes, return_dtype=pl.Float64).alias("sex"))
        .group_by("subject_id")
        # A subject with codes of both has an unknown one.
        .agg(pl.when(pl.col("sex").n_unique() == 1).then(pl.col("sex").first()).alias("sex"))
    )
    return lifetimes_of(facts.filter(IS_BIRTH | IS_DEATH)).join(sex, on="subject_id", how="full", coalesce=True)
