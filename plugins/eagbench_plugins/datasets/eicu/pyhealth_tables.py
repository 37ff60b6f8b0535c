"""Reads eICU's files with PyHealth's eICUDataset into one table of events each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pyhealth.datasets import eICUDataset

from eagbench.api import StageRun
from eagbench_plugins.datasets.eicu.tables import PATIENT, Table, unreadable
from eagbench_plugins.datasets.pyhealth_events import quiet_pyhealth, scan_events

CONFIG = Path(__file__).with_name("eicu_tables.yaml")


class FilteredEicu(eICUDataset):  # type: ignore[misc, no-any-unimported]
    """eICU with only the wanted events.

    PyHealth calls `preprocess_<table>` on each table as it is scanned, so eICU's 146 million periodic vital signs are
    filtered before any other step.

    Args:
        root: The folder of the CSV files.
        tables: Names of the tables besides `patient`.
        labnames: Wanted laboratory tests.
        minutes: Length of the observation window, from unit admission.
        cache: Folder for PyHealth's intermediate files.
    """

    def __init__(self, root: Path, tables: Sequence[str], labnames: Sequence[str], minutes: float, cache: Path) -> None:
        self._labnames = list(labnames)
        self._minutes = minutes
        super().__init__(root=str(root), tables=list(tables), config_path=str(CONFIG), cache_dir=str(cache))

    def preprocess_lab(self, frame: Any) -> Any:
        """Keep the wanted tests in the window."""
        import narwhals

        return self._in_window(frame.filter(narwhals.col("labname").is_in(self._labnames)), "labresultoffset")

    def preprocess_vitalperiodic(self, frame: Any) -> Any:
        """Keep the rows in the window."""
        return self._in_window(frame, "observationoffset")

    def preprocess_vitalaperiodic(self, frame: Any) -> Any:
        """Keep the rows in the window."""
        return self._in_window(frame, "observationoffset")

    def preprocess_physicalexam(self, frame: Any) -> Any:
        """Keep the rows in the window."""
        return self._in_window(frame, "physicalexamoffset")

    def _in_window(self, frame: Any, offset: str) -> Any:
        import narwhals

        minutes = narwhals.col(offset).cast(narwhals.Float64)
        return frame.filter((minutes >= 0) & (minutes < self._minutes))


def read_tables(
    root: Path,
    tables: Sequence[Table],
    paths: Sequence[Path],
    labnames: Sequence[str],
    minutes: float,
    run: StageRun,
) -> dict[str, pl.LazyFrame]:
    """Read PyHealth's events of `patient` and of the requested tables.

    Args:
        root: The folder of the CSV files.
        tables: `patient` first.
        paths: Their files, for error messages.
        labnames: Wanted laboratory tests.
        minutes: Length of the observation window; rows outside it are left out.
        run: Its checkpoints folder holds PyHealth's files until the stage is complete.

    Returns:
        Per table a lazy frame with `patient_id` (the patient in `patient`, else the unit stay), the table's attributes
        (text, as in the file) and `row`, the position among the rows kept.

    Raises:
        UserError: A file's content can't be read.
    """
    names = [table.name for table in tables if table is not PATIENT]
    events: dict[str, pl.LazyFrame] = {}
    with quiet_pyhealth():
        dataset = FilteredEicu(root, names, labnames, minutes, run.checkpoints / "pyhealth")
        for table, path in run.progress(list(zip(tables, paths, strict=True)), "read eICU", len(tables)):
            try:
                events[table.name] = scan_events(dataset, table.name, run.checkpoints / f"{table.name}.parquet")
            except (ValueError, OSError, EOFError) as error:  # damaged archive, broken CSV, a time that is no number
                raise unreadable(path, error) from error
    return events
