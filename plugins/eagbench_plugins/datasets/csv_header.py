"""Reads the column names of a CSV file."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path


def csv_header(path: Path) -> list[str]:
    """Read the fields of the first line. The file may be gzipped.

    Raises:
        OSError, EOFError, zlib.error, UnicodeDecodeError: The file can't be read or is not text.
    """
    with path.open("rb") as raw:
        lines = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        return next(csv.reader([lines.readline().decode("utf-8")]), [])
