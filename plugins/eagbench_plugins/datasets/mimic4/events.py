"""Reads MIMIC-IV's files in blocks: small tables whole, charted and laboratory events filtered by item.

Not through PyHealth: its `load_table` leaves a copy of all rows on disk and sorts nothing, so that windows, units and
records would still have to be built from everything at once. docs/performance.md has the figures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from eagbench_plugins.datasets.csv_blocks import Wanted, csv_blocks
from eagbench_plugins.datasets.mimic4.source_files import unreadable
from eagbench_plugins.datasets.mimic4.tables import TABLES


def read_table(name: str, path: Path) -> pl.DataFrame:
    """Read a table whole: the columns that are needed, as text.

    Raises:
        UserError: The file's content can't be read.
    """
    try:
        return pl.concat(csv_blocks(path, TABLES[name].required)).drop("row")
    except (ValueError, OSError, EOFError) as error:  # damaged archive, broken CSV
        raise unreadable(path, error) from error


def read_events(name: str, path: Path, itemids: Collection[int]) -> Iterator[pl.DataFrame]:
    """Read the events of some items of a table, block by block.

    Yields:
        The columns that are needed as text, but `patient_id` for `subject_id` and `timestamp`, parsed, for `charttime`;
        and `row`, the position in the file.

    Raises:
        UserError: The file's content can't be read, or a `charttime` is no time.
    """
    wanted = Wanted("itemid", sorted(str(itemid) for itemid in itemids))
    try:
        for block in csv_blocks(path, TABLES[name].required, wanted):
            yield block.rename({"subject_id": "patient_id", "charttime": "timestamp"}).with_columns(
                pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="ms")
            )
    except (ValueError, OSError, EOFError, pl.exceptions.InvalidOperationError) as error:
        raise unreadable(path, error) from error
