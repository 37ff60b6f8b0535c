"""The tables of eICU-CRD v2.0 that eagbench reads, and checks whose errors name the file and the remedy.

Source: the open demo's files; for the vital signs eth-mds/ricu's description of it (data-sources/eicu_demo.json).
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eagbench.api import UserError, files_under
from eagbench_plugins.datasets.csv_header import csv_header

WHERE_FROM = (
    "eICU-CRD v2.0 is given to credentialed users at physionet.org/content/eicu-crd; `eagbench data fetch eicu-demo` "
    "brings its open demo. data.root is the folder of its CSV files, data.tables names those to read."
)


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file of eICU-CRD.

    Attributes:
        name: Name in the vocabulary's places, in lower case.
        file: File name, without compression suffix.
        offset: Column with the minutes since unit admission, None for `patient`.
        columns: The other columns that are read.
    """

    name: str
    file: str
    offset: str | None
    columns: tuple[str, ...]


PATIENT = Table(
    "patient",
    "patient.csv",
    None,
    (
        "uniquepid",
        "patientunitstayid",
        "patienthealthsystemstayid",
        "hospitalid",
        "gender",
        "age",
        "unittype",
        "unitstaytype",
        "unitvisitnumber",
        "unitdischargeoffset",
        "unitdischargestatus",
        "unitdischargelocation",
        "hospitaldischargeoffset",
        "hospitaldischargestatus",
        "hospitaldischargelocation",
    ),
)
_EVENTS = (
    Table(
        "lab",
        "lab.csv",
        "labresultoffset",
        (
            "patientunitstayid",
            "labname",
            "labresult",
            "labmeasurenamesystem",
            "labmeasurenameinterface",
            "labresultrevisedoffset",
        ),
    ),
    Table(
        "vitalperiodic",
        "vitalPeriodic.csv",
        "observationoffset",
        (
            "patientunitstayid",
            "temperature",
            "sao2",
            "heartrate",
            "respiration",
            "systemicsystolic",
            "systemicdiastolic",
            "systemicmean",
        ),
    ),
    Table(
        "vitalaperiodic",
        "vitalAperiodic.csv",
        "observationoffset",
        ("patientunitstayid", "noninvasivesystolic", "noninvasivediastolic", "noninvasivemean"),
    ),
    Table(
        "physicalexam",
        "physicalExam.csv",
        "physicalexamoffset",
        ("patientunitstayid", "physicalexampath", "physicalexamtext"),
    ),
)
EVENTS: Mapping[str, Table] = {table.file.removesuffix(".csv"): table for table in _EVENTS}


def source_files(root: Path, tables: Sequence[Table]) -> tuple[Path, ...]:
    """Find the files of `tables`, each present, readable and with the required columns.

    Raises:
        UserError: The root or a file is missing, is not a CSV file, or lacks a column.
    """
    if not root.is_dir():
        raise UserError("there is no such folder", where=str(root), hint=WHERE_FROM)
    return tuple(_checked(root, table) for table in tables)


def unreadable(path: Path, error: Exception) -> UserError:
    """Build the error for a file whose content can't be read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"the file can't be read ({reason})",
        where=str(path),
        hint="It is damaged or was cut off on its way: compare it with the SHA256SUMS.txt beside it at its origin.",
    )


def _checked(root: Path, table: Table) -> Path:
    [path] = files_under(root, [(f"{table.file}.gz", table.file)], WHERE_FROM)
    try:
        present = {name.strip().lower() for name in csv_header(path)}
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
    needed = (*table.columns, *([table.offset] if table.offset else []))
    missing = [name for name in needed if name not in present]
    if missing:
        raise UserError(f"column {', '.join(missing)} is missing", where=str(path), hint=WHERE_FROM)
    return path
