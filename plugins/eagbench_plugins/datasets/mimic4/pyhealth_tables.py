"""Reads MIMIC-IV's files with PyHealth's MIMIC4EHRDataset into one table of events each.

PyHealth's own way on, `global_event_df`, starts a Dask cluster with a worker process and joins all tables into one. The
dataset's public `load_table` gives the same events table by table; written by threads of this process, they need no
second process (which would import PyHealth again, and could not be started from a worker) and leave none behind.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import polars as pl
import pyhealth  # noqa: F401  (its import sets up the logger that is quietened below)
from pyhealth.datasets import MIMIC4EHRDataset

from eagbench.api import StageRun
from eagbench_plugins.datasets.mimic4.source_files import unreadable
from eagbench_plugins.datasets.mimic4.tables import READ_TABLES

CONFIG = Path(__file__).with_name("mimic4_tables.yaml")


class FilteredMimic4(MIMIC4EHRDataset):  # type: ignore[misc, no-any-unimported]
    """MIMIC-IV with only those events that are wanted.

    PyHealth calls `preprocess_<table>` on each table as it is scanned, so that MIMIC-IV's 300 million charted events
    are filtered before anything is done with them.

    Args:
        root: The folder that holds hosp/ and icu/.
        itemids: Wanted item ids per event table.
        cache: Folder for PyHealth's intermediate files.
    """

    def __init__(self, root: Path, itemids: Mapping[str, Collection[int]], cache: Path) -> None:
        self._itemids = {table: sorted(str(itemid) for itemid in wanted) for table, wanted in itemids.items()}
        super().__init__(root=str(root), tables=sorted(itemids), config_path=str(CONFIG), cache_dir=str(cache))

    def preprocess_labevents(self, frame: Any) -> Any:
        """Keeps the wanted laboratory items."""
        return self._wanted("labevents", frame)

    def preprocess_chartevents(self, frame: Any) -> Any:
        """Keeps the wanted charted items."""
        return self._wanted("chartevents", frame)

    def _wanted(self, table: str, frame: Any) -> Any:
        import narwhals

        return frame.filter(narwhals.col("itemid").is_in(self._itemids[table]))


def read_tables(
    root: Path, paths: Collection[Path], itemids: Mapping[str, Collection[int]], run: StageRun
) -> dict[str, pl.LazyFrame]:
    """PyHealth's events of every table needed.

    Args:
        root: The folder that holds hosp/ and icu/.
        paths: Their files, in the order of `READ_TABLES`, for messages.
        itemids: Wanted item ids per event table; a table with none is not read.
        run: Its checkpoints folder holds PyHealth's files until the stage is complete.

    Returns:
        Per table a lazy frame with `patient_id`, `timestamp`, the table's attributes under their own names (text, as
        in the file) and `row`, the position in the file.

    Raises:
        UserError: A file's content can't be read.
    """
    events: dict[str, pl.LazyFrame] = {}
    with _quiet_pyhealth(), dask.config.set(scheduler="threads"):
        dataset = FilteredMimic4(root, itemids, run.checkpoints / "pyhealth")
        wanted = [
            (table, path) for table, path in zip(READ_TABLES, paths, strict=True) if itemids.get(table.name, True)
        ]
        for table, path in run.progress(wanted, "read MIMIC-IV", len(wanted)):
            folder = run.checkpoints / f"{table.name}.parquet"
            try:
                dataset.load_table(table.name).to_parquet(folder, write_index=False, overwrite=True)
            except (ValueError, OSError, EOFError) as error:  # damaged archive, broken CSV, a time that is none
                raise unreadable(path, error) from error
            dataset.clean_tmpdir()  # its copy of the CSV file
            parts = sorted(folder.glob("part.*.parquet"), key=lambda part: int(part.name.split(".")[1]))
            frame = pl.scan_parquet(parts, row_index_name="row")
            prefix = f"{table.name}/"
            events[table.name] = frame.rename(lambda name, prefix=prefix: name.removeprefix(prefix))
    return events


@contextmanager
def _quiet_pyhealth() -> Iterator[None]:
    # PyHealth logs to standard output, which belongs to the command line; its use of narwhals warns at every table of a
    # change that concerns PyHealth alone.
    logger = logging.getLogger("pyhealth")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Dask support is moving out of Narwhals", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)
