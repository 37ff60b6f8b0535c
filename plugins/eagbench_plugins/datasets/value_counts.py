"""Counts distinct rows exactly while they pass, for medians and quantiles of more rows than memory holds."""

from __future__ import annotations

import polars as pl

_HELD = 1_000_000


class ValueCounts:
    """How often each combination of some columns occurred. Memory grows with the distinct ones, not with the rows.

    Clinical values are written with few decimals: 100 million of them have some 100,000 distinct ones.

    Args:
        columns: Name and type of the columns.
    """

    def __init__(self, columns: pl.Schema) -> None:
        self._columns = list(columns)
        self._parts = [pl.DataFrame(schema={**columns, "n": pl.Int64})]
        self._held = self._merged = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Count the rows of a frame."""
        part = frame.group_by(self._columns).agg(pl.len().cast(pl.Int64).alias("n"))
        self._parts.append(part)
        self._held += len(part)
        if self._held > max(_HELD, 2 * self._merged):
            self._merge()

    def total(self) -> pl.DataFrame:
        """Return the distinct rows, sorted (null first), with `n`, how often each occurred."""
        self._merge()
        return self._parts[0].sort(self._columns, nulls_last=False)

    def _merge(self) -> None:
        self._parts = [pl.concat(self._parts).group_by(self._columns).agg(pl.col("n").sum())]
        self._held = self._merged = len(self._parts[0])


def repeated(values: pl.Series, counts: pl.Series) -> pl.Series:
    """Write each value as often as it occurred."""
    return pl.Series(values.to_numpy().repeat(counts.to_numpy()))
