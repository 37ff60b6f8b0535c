"""Checks the files of MIMIC-IV before they are read, because later errors name neither the file nor the remedy."""

from __future__ import annotations

import zlib
from pathlib import Path

from eagbench.api import UserError, files_under
from eagbench_plugins.datasets.csv_header import csv_header
from eagbench_plugins.datasets.mimic4.tables import READ_TABLES, Table

WHERE_FROM = (
    "MIMIC-IV v3.1 is given to credentialed users at physionet.org/content/mimiciv; data.root is the folder that holds "
    "its hosp/ and icu/. Without access, use `root: synthetic`."
)


def source_files(root: Path) -> tuple[Path, ...]:
    """Find the files to read, each present, readable and with the required columns.

    Args:
        root: The folder that holds hosp/ and icu/; files are .csv.gz, or .csv if unpacked.

    Raises:
        UserError: The root or a file is missing, is not a CSV file, or lacks a column.
    """
    if not root.is_dir():
        raise UserError("there is no such folder", where=str(root), hint=WHERE_FROM)
    paths = tuple(_find(root, table) for table in READ_TABLES)
    for table, path in zip(READ_TABLES, paths, strict=True):
        present = {name.strip().lower() for name in _header(path)}
        missing = [name for name in table.required if name not in present]
        if missing:
            raise UserError(
                f"column {', '.join(missing)} of MIMIC-IV's {table.name} is missing",
                where=str(path),
                hint=f"MIMIC-IV v3.1 has {', '.join(table.columns)}. {WHERE_FROM}",
            )
    return paths


def unreadable(path: Path, error: Exception) -> UserError:
    """Build the error for a file whose content can't be read."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(
        f"the file can't be read ({reason})",
        where=str(path),
        hint="It is damaged or was cut off on its way: compare it with MIMIC-IV's SHA256SUMS.txt and fetch it again.",
    )


def _find(root: Path, table: Table) -> Path:
    [path] = files_under(root, [(f"{table.file}.gz", table.file)], WHERE_FROM)
    return path


def _header(path: Path) -> list[str]:
    try:
        return csv_header(path)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error
