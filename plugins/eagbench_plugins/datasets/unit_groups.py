"""Convert numbers group by group: those of one place in one unit together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from eagbench.api import FloatArray


def values_of_groups(
    rows: pl.DataFrame, by: Sequence[str], convert: Callable[[tuple[Any, ...], FloatArray], FloatArray | None]
) -> FloatArray:
    """Convert the column `number` of rows that are sorted by their groups.

    Args:
        rows: The rows; those of a group follow one another.
        by: The columns that make the groups.
        convert: Of a group and its numbers, their values, or None if none of them counts.

    Returns:
        A value per row, NaN where none counts. Shape (M,).
    """
    values = np.full(len(rows), np.nan)
    numbers = rows["number"].to_numpy()
    begin = 0
    for *group, count in rows.group_by(by, maintain_order=True).len().iter_rows():
        part = slice(begin, begin + count)
        begin += count
        if (found := convert(tuple(group), numbers[part])) is not None:
            values[part] = found
    return values
