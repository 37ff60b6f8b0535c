"""Leaves out laboratory results that were not yet known at the prediction time, and counts them.

A source may give a result two times: when the specimen was drawn, which is its clinical time, and when the result was
known. A record that takes every result drawn in the window shows the model what nobody could have read by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from eagbench.api import ResultTimes
from eagbench_plugins.datasets.availability import Availability
from eagbench_plugins.datasets.value_counts import ValueCounts, repeated


class KnownInTime:
    """Leaves out what was known too late, unless `availability` is `drawn`, and counts it.

    Args:
        concepts: The concept of each place.
        availability: See `Availability`.
    """

    def __init__(self, concepts: Sequence[str], availability: Availability) -> None:
        self._concepts, self._leaves_out = dict(enumerate(concepts)), availability == "known"
        columns = {"place": pl.Int64, "known_late": pl.Boolean, "lag_hours": pl.Float64}
        self._counts = ValueCounts(pl.Schema(columns))

    def keep(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that the records may hold, without `lag_hours`, `known_late` and `laboratory`.

        Args:
            found: Values drawn in the windows: `place`, `laboratory` (false for what a monitor or a nurse shows at
                once), `lag_hours` (from drawing to knowing, null where the second time is missing), `known_late` (known
                at or after the prediction time; null or false where that is missing), and further columns.
        """
        late = pl.col("known_late").fill_null(False)
        self._counts.add(found.filter("laboratory").select("place", late, "lag_hours"))
        kept = found.filter(~(late & pl.col("laboratory"))) if self._leaves_out else found
        return kept.drop("lag_hours", "known_late", "laboratory")

    def times(self) -> dict[str, ResultTimes]:
        """Say when the laboratory results seen so far were known, by concept."""
        of_concept = pl.col("place").replace_strict(self._concepts, return_dtype=pl.String).alias("concept")
        counts = self._counts.total().with_columns(of_concept).sort("concept", maintain_order=True)
        times = {}
        for (concept,), rows in counts.partition_by("concept", as_dict=True, maintain_order=True).items():
            n_late = int(rows.filter("known_late")["n"].sum())
            undated = int(rows.filter(pl.col("lag_hours").is_null())["n"].sum())
            times[str(concept)] = ResultTimes(
                int(rows["n"].sum()), n_late, n_late if self._leaves_out else 0, undated, _lags(rows)
            )
        return times


def _lags(rows: pl.DataFrame) -> tuple[float, float, float] | None:
    """Compute median, 95 % quantile and largest of `lag_hours`, each of which occurred `n` times."""
    dated = rows.filter(pl.col("lag_hours").is_not_null())
    if not len(dated):
        return None
    lag = pl.col("lag")
    found = pl.DataFrame({"lag": repeated(dated["lag_hours"], dated["n"])}).select(
        lag.median().alias("median"), lag.quantile(0.95, "linear").alias("high"), lag.max().alias("largest")
    )
    [(median, high, largest)] = found.iter_rows()
    return median, high, largest


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
