"""Reads the shards of a MEDS data set in blocks of rows, so that the memory to read them does not grow with them.

MEDS promises that a subject's rows follow one another in one shard. Nothing here needs that: rows in any order, in any
shard, make the same cohort. Only of two values of one code at one time does the later row count, in order of the
shards' paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench_plugins.datasets.meds.source_files import data_columns, unreadable

# Rows that are held at once: some 10 MB, if texts are short.
ROWS = 2**17
# Bytes of a column that are read ahead; without it, pyarrow reads a column of a whole row group at once.
_AHEAD = 2**20
SCHEMA = pl.Schema(
    {
        "subject_id": pl.Int64,
        "time": pl.Datetime("us"),
        "code": pl.String,
        "numeric_value": pl.Float64,
        "text_value": pl.String,
    }
)


def data_blocks(paths: Sequence[Path], columns: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Read columns of all shards, in order of the shards and of their rows.

    Args:
        paths: The shards.
        columns: Some of `SCHEMA`; numbers and texts are null in a shard without them.

    Yields:
        At most `ROWS` rows of one shard.

    Raises:
        UserError: A file can't be read, lacks a column, or has a column of another type.
    """
    for path in paths:
        present = data_columns(path)
        chosen = [
            (pl.col(name) if name in present else pl.lit(None)).cast(SCHEMA[name]).alias(name) for name in columns
        ]
        try:
            with pq.ParquetFile(path, buffer_size=_AHEAD) as file:
                for batch in file.iter_batches(ROWS, columns=[name for name in columns if name in present]):
                    frame = pl.from_arrow(batch)
                    assert isinstance(frame, pl.DataFrame)
                    yield frame.select(chosen)
        # The footer may be whole where the pages are not, and a whole number may be too large.
        except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
            raise unreadable(path, error) from error
