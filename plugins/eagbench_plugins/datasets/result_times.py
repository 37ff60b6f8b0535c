"""Leaves out laboratory results that were not yet known at the prediction time, and counts them.

A source may give a result two times: when the specimen was drawn, which is its clinical time, and when the result was
known. A record that takes every result drawn in the window shows the model what nobody could have read by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from eagbench.api import ResultTimes
from eagbench_plugins.datasets.availability import Availability


@dataclass(frozen=True, slots=True)
class KnownInTime:
    """The values that the records may hold.

    Attributes:
        rows: The rows kept, without the columns `lag_hours`, `known_late` and `laboratory`.
        times: When the laboratory results were known, by concept.
    """

    rows: pl.DataFrame
    times: Mapping[str, ResultTimes]


def known_in_time(found: pl.DataFrame, concepts: Sequence[str], availability: Availability) -> KnownInTime:
    """Leave out what was known too late, unless `availability` is `drawn`.

    Args:
        found: Values drawn in the windows: `place`, `laboratory` (false for what a monitor or a nurse shows at once),
            `lag_hours` (from drawing to knowing, null where the second time is missing), `known_late` (known at or
            after the prediction time; null or false where that is missing), and further columns.
        concepts: The concept of each place.
        availability: See `Availability`.
    """
    late = pl.col("known_late").fill_null(False) & pl.col("laboratory")
    of_concept = pl.col("place").replace_strict(dict(enumerate(concepts)), return_dtype=pl.String).alias("concept")
    lag = pl.col("lag_hours")
    summary = (
        found.filter("laboratory")
        .group_by(of_concept)
        .agg(
            pl.len(),
            late.sum(),
            lag.null_count().alias("undated"),
            lag.median().alias("median"),
            lag.quantile(0.95, "linear").alias("high"),
            lag.max().alias("largest"),
        )
        .sort("concept")
    )
    leaves_out = availability == "known"
    times = {
        concept: ResultTimes(
            drawn, n_late, n_late if leaves_out else 0, undated, None if median is None else (median, high, largest)
        )
        for concept, drawn, n_late, undated, median, high, largest in summary.iter_rows()
    }
    kept = found.filter(~late) if leaves_out else found
    return KnownInTime(kept.drop("lag_hours", "known_late", "laboratory"), times)


def availability_note(times: Mapping[str, ResultTimes], second_time: str) -> str:
    """Say in a sentence or two what was left out.

    Args:
        times: What `known_in_time` found.
        second_time: The source's name for the time at which a result was known, and what to know of it.
    """
    drawn, late = sum(each.drawn for each in times.values()), sum(each.known_late for each in times.values())
    left_out, undated = sum(each.left_out for each in times.values()), sum(each.undated for each in times.values())
    what = "are left out" if left_out == late else "are read all the same (availability: drawn)"
    note = (
        f"{late:,} of {drawn:,} laboratory values drawn in the windows were known only at or after the prediction time "
        f"({second_time}) and {what}."
    )
    if undated:
        note += f" {undated:,} values have no such time and count as known when drawn."
    return note
