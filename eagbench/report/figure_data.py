"""The numbers that figures are drawn from, as rows of their CSV files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from eagbench.report.figures.estimates import Estimate
from eagbench.report.page.blocks import FigureFile
from eagbench.runs.reader import ResultRow

_INTERVAL = ("ci_low", "ci_high")


def of_results(name: str, rows: Iterable[ResultRow]) -> FigureFile:
    """List results as they stand in results.csv: the mean over seeds, or the only seed."""
    columns = ("method", "condition", "severity", "metric", "value", *_INTERVAL, "n_cases", "n_positive")
    found = [{"subgroup": row.group.subgroup} | {column: getattr(row, column) for column in columns} for row in rows]
    return FigureFile(name, ("subgroup", *columns), found)


def of_estimates(
    name: str, keys: tuple[str, ...], value: str, estimates: Iterable[tuple[tuple[Any, ...], Estimate]]
) -> FigureFile:
    """List values with their intervals.

    Args:
        name: The files' name.
        keys: The columns that say what a value is of.
        value: The column of the values.
        estimates: What each value is of, and the value.
    """
    columns = (*keys, value, *_INTERVAL)
    rows = [dict(zip(columns, (*of, e.value, e.low, e.high), strict=True)) for of, e in estimates]
    return FigureFile(name, columns, rows)
