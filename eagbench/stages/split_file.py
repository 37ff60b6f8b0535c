"""Reads a split that somebody else made from a CSV or Parquet file."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.errors import UserError
from eagbench.stages.split import PARTS

# MEDS calls the patient subject and the part split.
_PATIENT, _CASE, _PART = ("patient_id", "subject_id"), ("case_id",), ("part", "split")
HINT = (
    "It is CSV (.csv) or Parquet (.parquet) with a column patient_id, subject_id or case_id, and a column part or "
    "split that says train, tuning or held_out."
)


@dataclass(frozen=True, slots=True)
class SplitFile:
    """The parts that a file names.

    Attributes:
        by_case: Whether the file names cases; else patients.
        parts: The part of each patient or case, by id.
    """

    by_case: bool
    parts: dict[str, str]


def read_split_file(path: Path) -> SplitFile:
    """Read a split from a file.

    Raises:
        UserError: The file can't be read, lacks a column, has a gap, names an unknown part, or puts an id in two parts.
    """
    columns = _read_csv(path) if path.suffix.lower() == ".csv" else _read_parquet(path)
    ids, part = _one_of(columns, (*_PATIENT, *_CASE), path), _one_of(columns, _PART, path)
    parts: dict[str, str] = {}
    for row, (given_id, given_part) in enumerate(zip(columns[ids], columns[part], strict=True), start=1):
        if not given_id or not given_part:
            raise UserError(f"row {row} has no {ids if not given_id else part}", where=str(path), hint=HINT)
        if given_part not in PARTS:
            raise UserError(f"row {row} names the part '{given_part}'", where=str(path), hint=HINT)
        if parts.setdefault(given_id, given_part) != given_part:
            raise UserError(
                f"{ids} {given_id} is in two parts, {parts[given_id]} and {given_part}", where=str(path), hint=HINT
            )
    return SplitFile(ids in _CASE, parts)


def _one_of(columns: Iterable[str], wanted: tuple[str, ...], path: Path) -> str:
    found = [name for name in wanted if name in columns]
    if len(found) != 1:
        listed = " or ".join(wanted)
        what = f"has the columns {' and '.join(found)}" if found else f"has no column {listed}"
        raise UserError(f"{what}, expected one of {listed}", where=str(path), hint=HINT)
    return found[0]


def _read_csv(path: Path) -> dict[str, list[str | None]]:
    """Read the columns as text, so that an id keeps its leading zeros."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = csv.DictReader(stream, strict=True)
            names = [name.strip() for name in rows.fieldnames or ()]
            columns: dict[str, list[str | None]] = {name: [] for name in names}
            for row in rows:
                for name, value in zip(names, row.values(), strict=False):
                    columns[name].append(value.strip() if isinstance(value, str) else None)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"can't be read as CSV ({error})", where=str(path), hint=HINT) from error
    return columns


def _read_parquet(path: Path) -> dict[str, list[str | None]]:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"can't be read as Parquet ({reason})", where=str(path), hint=HINT) from error
    wanted = [name for name in table.column_names if name in (*_PATIENT, *_CASE, *_PART)]
    for name in wanted:
        kind = table.schema.field(name).type
        if pa.types.is_floating(kind):
            # 12.0 is no id of anybody: a gap somewhere has made the column one of floating-point numbers.
            raise UserError(f"the column '{name}' holds {kind}, expected text or whole numbers", where=str(path))
    return {
        name: [None if value is None else str(value).strip() for value in table[name].to_pylist()] for name in wanted
    }
