"""Reads a large CSV file once, in blocks of rows, so that the memory to read it does not grow with the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from eagbench_plugins.datasets.csv_header import csv_header

# Bytes of text that are parsed at once, by each thread.
BLOCK = 4 * 2**20
# Rows kept that are handed over together: the joins that follow have a fixed cost.
ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """The rows to keep: those whose text in `column` is one of `texts`."""

    column: str
    texts: Sequence[str]


def csv_blocks(path: Path, columns: Sequence[str], wanted: Wanted | None = None) -> Iterator[pl.DataFrame]:
    """Read columns of a CSV file, gzipped if it ends in .gz, as text; an empty field is null.

    Args:
        path: The file. Case and blanks around the names of its header don't matter.
        columns: The columns, in lower case; all must be there.
        wanted: Which rows to keep; None for all.

    Yields:
        `columns` and `row`, the position in the file; at least one frame, and of at least `ROWS` rows except the last.

    Raises:
        ValueError, OSError, EOFError: The file is damaged or is not CSV.
    """
    names = {name.strip().lower(): name for name in csv_header(path)}
    texts = pa.array(() if wanted is None else wanted.texts, pa.string())
    waiting, held, read = list[pa.Table](), 0, 0
    schema = pa.schema([*((column, pa.string()) for column in columns), ("row", pa.int64())])
    for batch in _batches(path, [names[column] for column in columns]):
        table = pa.Table.from_batches([batch]).rename_columns(list(columns))
        positions = pa.array(np.arange(len(batch)))
        if wanted is not None:
            positions = pc.indices_nonzero(pc.is_in(table[wanted.column], value_set=texts))
            table = table.take(positions)
        positions = pc.add(positions.cast(pa.int64()), read)
        read += len(batch)
        waiting.append(table.append_column("row", positions))
        held += len(table)
        if held >= ROWS:
            yield _frame(waiting, schema)
            waiting, held = [], 0
    yield _frame(waiting, schema)


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Read the columns as text. A field may hold line breaks within quotes."""
    reader = pyarrow.csv.open_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={column: pa.string() for column in columns},
            include_columns=list(columns),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    with reader:
        yield from reader


def _frame(tables: list[pa.Table], schema: pa.Schema) -> pl.DataFrame:
    joined = pa.concat_tables(tables) if tables else schema.empty_table()
    frame = pl.from_arrow(joined)
    assert isinstance(frame, pl.DataFrame)
    return frame
