"""Reads the column names of a CSV file."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

_LONGEST = 2**20


def csv_header(path: Path) -> list[str]:
    """Read the fields of the first line. The file may be gzipped.

    Raises:
        OSError, EOFError, zlib.error, UnicodeDecodeError: The file can't be read or is not text.
    """
    with path.open("rb") as raw:
        lines = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        line = lines.readline(_LONGEST)
    try:
        return next(csv.reader([line.decode("utf-8")]), [])
    except csv.Error as error:
        raise OSError(f"its first line is no header: {error}") from error
