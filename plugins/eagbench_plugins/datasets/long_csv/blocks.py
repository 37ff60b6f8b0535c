"""Cuts a CSV file into blocks of whole rows, so that the memory to read it does not grow with the file.

The streaming engine of polars (1.35) holds more of a CSV file the longer it is, and all of a gzipped one.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from eagbench.api import UserError
from eagbench_plugins.datasets.unpacked import LONGEST_LINE, check_begins_as_text

SIZE = 16 * 2**20
_TRIES = 100
_HINT = "It is a CSV file with a row per measurement, gzipped if its name ends in .gz."


def blocks(path: Path, size: int = SIZE) -> Iterator[bytes]:
    """Read a file, gzipped if it ends in .gz, in blocks of about `size` bytes. Each begins with the file's header.

    Raises:
        OSError, EOFError, zlib.error: The file can't be read.
        UserError: A line is longer than `LONGEST_LINE`, or the file doesn't begin as text.
    """
    with path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        header = stream.readline(LONGEST_LINE + 1)
        check_begins_as_text(header[:4], path, _HINT)
        _check_line(header, path)
        begun = b""
        while part := stream.read(size):
            begun += part
            if b"\n" not in part:
                _check_line(begun, path)
            end = _last_end(begun)
            if end:
                yield header + begun[:end]
                begun = begun[end:]
        yield header + begun


def _check_line(begun: bytes, path: Path) -> None:
    if len(begun) > LONGEST_LINE:
        raise UserError(f"a line is longer than {LONGEST_LINE:,} bytes", where=str(path), hint=_HINT)


def _last_end(rows: bytes) -> int:
    """Find where the last whole row ends: behind a line break that is not inside quotes. 0 if there is none."""
    last = end = rows.rfind(b"\n")
    for _ in range(_TRIES):
        if end < 0 or rows.count(b'"', 0, end) % 2 == 0:
            return end + 1
        end = rows.rfind(b"\n", 0, end)
    return last + 1  # a quote that nobody closed
