"""Read the files of a run folder strictly: every fault of a file becomes a sentence that names it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from eagbench.runs.verify.findings import DamagedError
from eagbench.stages.parquet_files import read_parquet


def read_text(path: Path) -> str:
    """Read a UTF-8 text file as it is, line ends included.

    Raises:
        DamagedError: The file is missing or not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise DamagedError(f"{path.name} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DamagedError(f"{path.name} is not UTF-8 text: {error}") from error


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a table with exactly these columns, in this order.

    Raises:
        DamagedError: The file is no such table.
    """
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise DamagedError(f"{path.name} is not CSV: {error}") from error
    if not rows or rows[0] != list(columns):
        raise DamagedError(f"{path.name} has other columns than a run writes: {_other(rows[:1], columns)}")
    for i, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise DamagedError(f"{path.name}, row {i} has {len(row)} fields, expected {len(columns)}")
    return [dict(zip(columns, row, strict=True)) for row in rows[1:]]


def _other(header: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    found = [] if not header else list(header[0])
    missing, more = [c for c in columns if c not in found], [c for c in found if c not in columns]
    words = [f"without {', '.join(missing)}"] if missing else []
    words += [f"with {', '.join(map(repr, more))}"] if more else []
    return " and ".join(words) or "in another order, or doubled"


def read_table(path: Path, schema: pa.Schema, nullable: Sequence[str] = ()) -> pa.Table:
    """Read a Parquet file with exactly this schema.

    Args:
        path: The file.
        schema: Names and types of its columns, in order.
        nullable: The columns in which an entry may be missing.

    Raises:
        DamagedError: The file is no such table.
    """
    table = read_any_table(path)
    if not table.schema.equals(schema):
        found = {field.name: str(field.type) for field in table.schema}
        other = [f.name for f in schema if found.get(f.name) != str(f.type)] + [
            n for n in found if n not in schema.names
        ]
        raise DamagedError(f"{path.name} has other columns than a run writes: {', '.join(other) or 'in another order'}")
    for name in schema.names:
        if name not in nullable and table[name].null_count:
            raise DamagedError(f"{path.name}: {name} is missing in {table[name].null_count} rows")
    return table


def read_any_table(path: Path) -> pa.Table:
    """Read a Parquet file.

    Raises:
        DamagedError: It is none.
    """
    try:
        return read_parquet(path)
    except (OSError, pa.ArrowException, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise DamagedError(f"{path.name} can't be read as Parquet: {said}") from error


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object per line; nothing if there is no file.

    Raises:
        DamagedError: A line is no JSON object.
    """
    if not path.is_file():
        return []
    # Don't use splitlines, which also breaks at characters that JSON leaves unescaped.
    *lines, last = read_text(path).split("\n")
    if last:
        raise DamagedError(f"{path.name} breaks off in its last line")
    found = []
    for i, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{path.name}, line {i} is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise DamagedError(f"{path.name}, line {i} is no JSON object")
        found.append(value)
    return found


def same_value(one: Any, other: Any) -> bool:
    """Compare two values of a table; NaN equals NaN, and types count."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (one != one and other != other)
    return type(one) is type(other) and bool(one == other)


def first_difference(found: pa.Table, expected: pa.Table) -> str | None:
    """Say where a table first differs from what it should be; None if the two are equal."""
    if found.equals(expected):
        return None
    if found.num_rows != expected.num_rows:
        return f"it has {found.num_rows} rows, expected {expected.num_rows}"
    for name in expected.column_names:
        if name not in found.column_names:
            return f"it has no column {name}"
        pairs = zip(found[name].to_pylist(), expected[name].to_pylist(), strict=True)
        for i, (one, other) in enumerate(pairs):
            if not same_value(one, other):
                return f"row {i}: {name} is {one!r}, expected {other!r}"
    if found.column_names != expected.column_names:
        return "it has other columns"
    return None
