"""Reading and building Parquet data without pandas.

`pyarrow.parquet.read_table`, `to_numpy` and every conversion of a Python value import pandas. That import takes longer
than reading all small files of a run. The functions here avoid it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.records import BoolArray, FloatArray

_SMALL = 2**20  # bytes


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a file, or some of its columns; a small one without threads, which cost a third of the time."""
    with pa.OSFile(str(path)) as source, pq.ParquetFile(source, pre_buffer=False) as file:
        is_small = source.size() <= _SMALL
        table: pa.Table = file.read(columns=None if columns is None else list(columns), use_threads=not is_small)
    return table


def floats(column: pa.ChunkedArray) -> FloatArray:
    """Return a float64 column without nulls as an array, shape (N,). Don't write to it."""
    parts = [np.asarray(np.from_dlpack(chunk), dtype=np.float64) for chunk in column.chunks if len(chunk)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0)])


def numbers(column: pa.ChunkedArray) -> Any:
    """Return a column of numbers without nulls as an array of its own type, shape (N,). Don't write to it."""
    parts = [np.from_dlpack(chunk) for chunk in column.chunks if len(chunk)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty(0)])


def texts(column: pa.ChunkedArray) -> list[str]:
    """Return a string column without nulls as a list: a tenth of the time of `to_pylist`."""
    found: list[str] = []
    for chunk in column.chunks:
        _, offsets, data = chunk.buffers()
        ends = np.frombuffer(offsets, dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1].tolist()
        encoded = b"" if data is None else data.to_pybytes()
        if encoded.isascii():
            text = encoded.decode()
            found += [text[start:end] for start, end in pairwise(ends)]
        else:
            found += [encoded[start:end].decode() for start, end in pairwise(ends)]
    return found


def booleans(column: pa.ChunkedArray) -> BoolArray:
    """Return a boolean column without nulls as an array, shape (N,)."""
    found = []
    for chunk in column.chunks:
        bits = np.frombuffer(chunk.buffers()[1] or b"", dtype=np.uint8)
        found.append(np.unpackbits(bits, bitorder="little")[chunk.offset : chunk.offset + len(chunk)].astype(bool))
    return np.concatenate(found or [np.empty(0, dtype=bool)])


def nulls(column: pa.ChunkedArray) -> BoolArray:
    """Say which values of a column are null, shape (N,)."""
    n = len(column)
    return np.full(n, column.null_count == n) if column.null_count in (0, n) else booleans(column.is_null())


def values_of(column: pa.ChunkedArray) -> Any:
    """Return a column's values, shape (N,): an array for numbers without nulls, else a list with None for a null."""
    if column.null_count == len(column):
        return [None] * len(column)
    if column.null_count == 0 and (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return numbers(column)
    if column.null_count == 0 and pa.types.is_boolean(column.type):
        return booleans(column)
    if column.null_count == 0 and pa.types.is_string(column.type):
        return texts(column)
    return column.to_pylist()


def rows_where(table: pa.Table, column: str, value: str) -> pa.Table:
    """Select the rows with a value in a string column without nulls."""
    is_wanted = np.array([text == value for text in texts(table[column])], dtype=bool)
    bits = pa.py_buffer(np.packbits(is_wanted, bitorder="little"))
    return table.filter(pa.Array.from_buffers(pa.bool_(), len(is_wanted), [None, bits]))


def array_of(values: Any, kind: pa.DataType) -> pa.Array:
    """Make an array of a type from values, None for a null; without pandas if they are numbers, texts or all null."""
    n = len(values)
    if isinstance(values, list) and values.count(None) == n:
        return pa.nulls(n, kind)
    if kind in (pa.float64(), pa.int64()) and (isinstance(values, np.ndarray) or None not in values):
        plain = np.ascontiguousarray(values, dtype=kind.to_pandas_dtype())
        return pa.Array.from_buffers(kind, n, [None, pa.py_buffer(plain)])
    if kind == pa.bool_() and (isinstance(values, np.ndarray) or None not in values):
        bits = np.packbits(np.asarray(values, dtype=bool), bitorder="little")
        return pa.Array.from_buffers(kind, n, [None, pa.py_buffer(bits)])
    if kind == pa.string() and None not in values:
        encoded = [value.encode() for value in values]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        return pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))
    return pa.array(values, type=kind)


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
