"""Reads a PyHealth dataset's tables one by one in this process.

PyHealth's own next step, `global_event_df`, starts a Dask cluster with a worker process and joins all tables into one.
The dataset's public `load_table` gives the same events table by table. Threads of this process write them, so no second
process is needed (it would import PyHealth again, and could not be started from a worker) and none is left behind.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import polars as pl
import pyhealth  # noqa: F401  (its import sets up the logger that is quietened below)
from pyhealth.datasets import BaseDataset


def scan_events(dataset: BaseDataset, table: str, folder: Path) -> pl.LazyFrame:  # type: ignore[no-any-unimported]
    """Write one table's events as Parquet and scan them.

    Args:
        dataset: Created within `quiet_pyhealth`; call this function within it as well.
        table: The table's name in the dataset's configuration.
        folder: Folder for the Parquet files; it must outlive the frame.

    Returns:
        `patient_id`, `timestamp`, the table's attributes under their own names (text, as in the file) and `row`, the
        position in the file.

    Raises:
        ValueError, OSError, EOFError: The file is damaged, is not CSV, or holds an invalid time.
    """
    dataset.load_table(table).to_parquet(folder, write_index=False, overwrite=True)
    dataset.clean_tmpdir()  # its copy of the CSV file
    parts = sorted(folder.glob("part.*.parquet"), key=lambda part: int(part.name.split(".")[1]))
    frame = pl.scan_parquet(parts, row_index_name="row")
    return frame.rename(lambda name: name.removeprefix(f"{table}/"))


@contextmanager
def quiet_pyhealth() -> Iterator[None]:
    """Keep PyHealth in this process's threads and off standard output."""
    # PyHealth logs to standard output, which belongs to the command line; its use of narwhals warns at every table of a
    # change that concerns PyHealth alone.
    logger = logging.getLogger("pyhealth")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings(), dask.config.set(scheduler="threads"):
            warnings.filterwarnings("ignore", message="Dask support is moving out of Narwhals", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
