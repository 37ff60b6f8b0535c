"""Whose subject is whose: in some MEDS data sets a subject is a hospital stay, and a patient is several subjects."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from eagbench.api import UserError
from eagbench_plugins.datasets.meds.params import MedsParams
from eagbench_plugins.datasets.unpacked import unpacked

# The columns of a file of patients: the subject's and the patient's; the second pair are eICU's own.
_COLUMNS = (("subject_id", "patient_id"), ("patienthealthsystemstayid", "uniquepid"))
_HINT = "It is CSV or Parquet with subject_id and patient_id, or with eICU's patienthealthsystemstayid and uniquepid."
# What converters whose subject is a stay write into metadata/dataset.json.
_SUBJECT_IS_STAY = ("eICU",)


@dataclass(frozen=True, slots=True)
class Patients:
    """The patient of each subject.

    Attributes:
        of: The patient's id, by subject.
        are_stays: Whether each is only a stay, because nothing names the patient.
        notes: What users must know about it.
    """

    of: Mapping[int, str]
    are_stays: bool = False
    notes: tuple[str, ...] = ()


def find_patients(coded: pl.DataFrame, subjects: Sequence[int], params: MedsParams, file: Path | None) -> Patients:
    """Find the patient of each subject: by a code, by a file, or the subject itself.

    Args:
        coded: What `coded_patients` found in the data.
        subjects: The subjects.
        params: Says where patients are named.
        file: The file that names them, None without one.

    Raises:
        UserError: A subject has no patient, or two.
    """
    if params.patient_of is None and file is None:
        if _subject_is_stay(params.root):
            note = "A subject of this source is a hospital stay; nothing names the patient (data.patients)."
            return Patients({subject: str(subject) for subject in subjects}, are_stays=True, notes=(note,))
        return Patients({subject: str(subject) for subject in subjects})
    found = coded if params.patient_of is not None else _by_file(file)
    found = found.filter(pl.col("subject").is_in(subjects)).drop_nulls().unique().sort("subject", "patient")
    where = "data.patient_of" if params.patient_of is not None else str(file)
    twice = found.filter(found["subject"].is_duplicated())["subject"]
    if len(twice):
        raise UserError(f"subject {twice[0]} has two patients ({twice.n_unique()} such subjects)", where=where)
    of: dict[int, str] = dict(found.select("subject", "patient").iter_rows())
    lacking = [subject for subject in subjects if subject not in of]
    if lacking:
        raise UserError(
            f"{len(lacking)} of {len(subjects)} subjects have no patient, the first is {min(lacking)}",
            where=where,
            hint=_HINT if file is not None else "Name the code that every subject has: `PATIENT//*`.",
        )
    stays: dict[str, int] = {}
    for patient in of.values():
        stays[patient] = stays.get(patient, 0) + 1
    several = sum(n > 1 for n in stays.values())
    return Patients(of, notes=(f"{several} of {len(stays)} patients are several subjects of the source.",))


def _subject_is_stay(root: Path) -> bool:
    path = root / "metadata" / "dataset.json"
    try:
        described = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    # A number of 5,000 digits is a plain ValueError, deep nesting a RecursionError.
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"is not JSON ({error})", where=str(path), hint="Write the metadata again.") from error
    return isinstance(described, dict) and described.get("dataset_name") in _SUBJECT_IS_STAY


def names_patient(code: str, pattern: str | None) -> bool:
    """Tell whether a code names its subject's patient: it begins like `PATIENT//*`, or is the whole code."""
    if pattern is None:
        return False
    return code.startswith(pattern[:-1]) if pattern.endswith("*") else code == pattern


def coded_patients(facts: pl.DataFrame, pattern: str | None) -> pl.DataFrame:
    """Read `subject` and `patient` from the codes that begin like the pattern, or from the values of a whole code.

    Args:
        facts: Events: `subject_id` and `code`, for a whole code also `text_value` and `numeric_value`.
        pattern: `data.patient_of`.
    """
    if pattern is None:
        return pl.DataFrame(schema={"subject": pl.Int64, "patient": pl.String})
    if pattern.endswith("*"):
        chosen = facts.filter(pl.col("code").str.starts_with(pattern[:-1]))
        patient = pl.col("code").str.strip_prefix(pattern[:-1])
    else:
        chosen = facts.filter(pl.col("code") == pattern)
        patient = pl.coalesce("text_value", pl.col("numeric_value").cast(pl.Int64).cast(pl.String))
    return chosen.select(pl.col("subject_id").alias("subject"), patient.alias("patient")).unique()


def _by_file(path: Path | None) -> pl.DataFrame:
    assert path is not None
    try:
        is_parquet = path.suffix == ".parquet"
        table = pl.read_parquet(path) if is_parquet else pl.read_csv(unpacked(path, _HINT), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise UserError(f"can't be read ({str(error).splitlines()[0]})", where=str(path), hint=_HINT) from error
    for subject, patient in _COLUMNS:
        if subject in table.columns and patient in table.columns:
            try:
                return table.select(
                    pl.col(subject).cast(pl.Int64).alias("subject"), pl.col(patient).cast(pl.String).alias("patient")
                )
            except pl.exceptions.InvalidOperationError as error:
                what = f"column '{subject}' holds something else than whole numbers"
                raise UserError(what, where=str(path), hint=_HINT) from error
    raise UserError("has no columns subject_id and patient_id", where=str(path), hint=_HINT)
