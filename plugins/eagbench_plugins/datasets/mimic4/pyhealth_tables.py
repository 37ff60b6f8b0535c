"""Reads MIMIC-IV's files with PyHealth's MIMIC4EHRDataset into one table of events each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pyhealth.datasets import MIMIC4EHRDataset

from eagbench.api import StageRun
from eagbench_plugins.datasets.mimic4.source_files import unreadable
from eagbench_plugins.datasets.mimic4.tables import READ_TABLES
from eagbench_plugins.datasets.pyhealth_events import quiet_pyhealth, scan_events

CONFIG = Path(__file__).with_name("mimic4_tables.yaml")


class FilteredMimic4(MIMIC4EHRDataset):  # type: ignore[misc, no-any-unimported]
    """MIMIC-IV with only the wanted events.

    PyHealth calls `preprocess_<table>` on each table as it is scanned, so MIMIC-IV's 300 million charted events are
    filtered before any other step.

    Args:
        root: The folder that holds hosp/ and icu/.
        itemids: Wanted item ids per event table.
        cache: Folder for PyHealth's intermediate files.
    """

    def __init__(self, root: Path, itemids: Mapping[str, Collection[int]], cache: Path) -> None:
        self._itemids = {table: sorted(str(itemid) for itemid in wanted) for table, wanted in itemids.items()}
        super().__init__(root=str(root), tables=sorted(itemids), config_path=str(CONFIG), cache_dir=str(cache))

    def preprocess_labevents(self, frame: Any) -> Any:
        """Keep the wanted laboratory items."""
        return self._wanted("labevents", frame)

    def preprocess_chartevents(self, frame: Any) -> Any:
        """Keep the wanted charted items."""
        return self._wanted("chartevents", frame)

    def _wanted(self, table: str, frame: Any) -> Any:
        import narwhals

        return frame.filter(narwhals.col("itemid").is_in(self._itemids[table]))


def read_tables(
    root: Path, paths: Collection[Path], itemids: Mapping[str, Collection[int]], run: StageRun
) -> dict[str, pl.LazyFrame]:
    """Read PyHealth's events of every table needed.

    Args:
        root: The folder that holds hosp/ and icu/.
        paths: Their files, in the order of `READ_TABLES`, for error messages.
        itemids: Wanted item ids per event table; a table with none is not read.
        run: Its checkpoints folder holds PyHealth's files until the stage is complete.

    Returns:
        Per table a lazy frame with `patient_id`, `timestamp`, the table's attributes under their own names (text, as
        in the file) and `row`, the position in the file.

    Raises:
        UserError: A file's content can't be read.
    """
    events: dict[str, pl.LazyFrame] = {}
    with quiet_pyhealth():
        dataset = FilteredMimic4(root, itemids, run.checkpoints / "pyhealth")
        wanted = [
            (table, path) for table, path in zip(READ_TABLES, paths, strict=True) if itemids.get(table.name, True)
        ]
        for table, path in run.progress(wanted, "read MIMIC-IV", len(wanted)):
            try:
                events[table.name] = scan_events(dataset, table.name, run.checkpoints / f"{table.name}.parquet")
            except (ValueError, OSError, EOFError) as error:  # damaged archive, broken CSV, a time that is none
                raise unreadable(path, error) from error
    return events
