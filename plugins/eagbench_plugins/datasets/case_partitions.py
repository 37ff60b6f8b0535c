"""Rows of cases on disk, a range of cases to a folder, so that one range at a time is sorted and read."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl

# Cases of a partition: some 700,000 rows of ordinary records.
CASES = 1000
# Rows that wait in memory before they are written.
_WAITING = 500_000


class CasePartitions:
    """Takes rows in any order and gives them back by ranges of `case`, in order of the ranges.

    Args:
        folder: A folder for the files, which is made; each range's files are removed once they are read.
        cases: Number of cases.
    """

    def __init__(self, folder: Path, cases: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed
        folder.mkdir()
        self._folder, self._cases = folder, cases
        self._schema: pl.Schema | None = None
        self._waiting: list[pl.DataFrame] = []
        self._held = self._written = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Take rows; all have the same columns, among them `case`, in [0, cases)."""
        self._schema = rows.schema
        self._waiting.append(rows)
        self._held += len(rows)
        if self._held >= _WAITING:
            self._write()

    def read(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield the first case of each range and the rows of the range, in the order in which they came."""
        self._write()
        for index in range(-(-self._cases // CASES)):
            files = sorted(self._folder.glob(f"{index}.*.parquet"), key=lambda path: int(path.name.split(".")[1]))
            frames = [pl.read_parquet(path) for path in files]
            yield index * CASES, pl.concat(frames) if frames else pl.DataFrame(schema=self._schema)
            for path in files:
                path.unlink()

    def _write(self) -> None:
        if not self._held:
            return
        rows, self._waiting, self._held = pl.concat(self._waiting), [], 0
        parts = rows.with_columns((pl.col("case") // CASES).alias("part")).partition_by("part", as_dict=True)
        for (index, *_), part in parts.items():
            part.drop("part").write_parquet(self._folder / f"{index}.{self._written}.parquet", compression="lz4")
        self._written += 1
