"""Reading and building Parquet data without pandas.

`pyarrow.parquet.read_table`, `to_numpy` and every conversion of a Python value import pandas. That import takes longer
than reading all small files of a run. The functions here avoid it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.records import FloatArray


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file, or some of its columns."""
    with pq.ParquetFile(path) as file:
        table: pa.Table = file.read(columns=None if columns is None else list(columns))
    return table


def floats(column: pa.ChunkedArray) -> FloatArray:
    """Return a float64 column without nulls as an array, shape (N,). Don't write to it."""
    parts = [np.asarray(np.from_dlpack(chunk), dtype=np.float64) for chunk in column.chunks if len(chunk)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0)])


def constant_text(value: str, n_rows: int) -> pa.Array:
    """Make a string column with the same value in every row."""
    encoded = value.encode()
    offsets = np.arange(n_rows + 1, dtype=np.int32) * len(encoded)
    return pa.StringArray.from_buffers(n_rows, pa.py_buffer(offsets), pa.py_buffer(encoded * n_rows))


def constant_number(value: float | None, n_rows: int) -> pa.Array:
    """Make a float64 column with the same number, or null, in every row."""
    if value is None:
        return pa.nulls(n_rows, pa.float64())
    return pa.Array.from_buffers(pa.float64(), n_rows, [None, pa.py_buffer(np.full(n_rows, value, dtype=np.float64))])
