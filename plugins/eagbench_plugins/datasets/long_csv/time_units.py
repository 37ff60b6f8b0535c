"""Units of time in the files."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

# Units of `data.time` in an hour; a difference of timestamps is in microseconds.
PER_HOUR: Mapping[str, float] = {"hours": 1.0, "minutes": 60.0, "days": 1 / 24, "timestamps": 3600e6}


def timestamp(text: pl.Expr, form: str) -> pl.Expr:
    """Read text as a time without a zone, null where it is written otherwise."""
    return text.str.to_datetime(form, time_unit="us", strict=False)
