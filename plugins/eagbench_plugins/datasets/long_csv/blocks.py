"""Cuts a CSV file into blocks of whole rows, so that the memory to read it does not grow with the file.

The streaming engine of polars (1.35) holds more of a CSV file the longer it is, and all of a gzipped one.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

SIZE = 16 * 2**20
_TRIES = 100


def blocks(path: Path, size: int = SIZE) -> Iterator[bytes]:
    """Read a file, gzipped if it ends in .gz, in blocks of about `size` bytes. Each begins with the file's header.

    Raises:
        OSError, EOFError, zlib.error: The file can't be read.
    """
    with path.open("rb") as raw:
        stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        header = stream.readline()
        begun = b""
        while part := stream.read(size):
            begun += part
            end = _last_end(begun)
            if end:
                yield header + begun[:end]
                begun = begun[end:]
        yield header + begun


def _last_end(rows: bytes) -> int:
    """Find where the last whole row ends: behind a line break that is not inside quotes. 0 if there is none."""
    last = end = rows.rfind(b"\n")
    for _ in range(_TRIES):
        if end < 0 or rows.count(b'"', 0, end) % 2 == 0:
            return end + 1
        end = rows.rfind(b"\n", 0, end)
    return last + 1  # a quote that nobody closed
