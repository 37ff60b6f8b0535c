"""Reads eICU's files in blocks: `patient` whole, and of the other tables the rows in the cases' windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from eagbench.api import SourceItem, UserError
from eagbench_plugins.datasets.csv_blocks import Wanted, csv_blocks
from eagbench_plugins.datasets.eicu.tables import PATIENT, Table, unreadable


def read_patients(path: Path) -> pl.DataFrame:
    """Read the unit stays: the columns that are needed, as text.

    Raises:
        UserError: The file's content can't be read.
    """
    try:
        return pl.concat(csv_blocks(path, PATIENT.columns)).drop("row")
    except (ValueError, OSError, EOFError) as error:  # damaged archive, broken CSV
        raise unreadable(path, error) from error


class Windows:
    """Reads the measurements of a table in the cases' windows, as numbers with their units.

    Args:
        table: The table.
        cases: `case` and `stay`.
        places: All places of the concepts, by precedence.
        minutes: Length of the observation window, from unit admission.
    """

    def __init__(self, table: Table, cases: pl.DataFrame, places: Sequence[SourceItem], minutes: float) -> None:
        self._table, self._minutes = table, minutes
        self._cases = cases.lazy().select("case", pl.col("stay").alias("patientunitstayid"))
        self._here = [(index, place) for index, place in enumerate(places) if place.keys["table"] == table.name]

    def read(self, path: Path) -> Iterator[pl.DataFrame]:
        """Yield blocks with the columns of `SCHEMA`.

        Raises:
            UserError: The file's content can't be read, or there is text where a number belongs.
        """
        offset = str(self._table.offset)
        wanted = None
        if self._table.name == "lab":
            wanted = Wanted("labname", [str(place.keys["labname"]) for _, place in self._here])
        minutes = pl.col(offset).cast(pl.Float64)
        try:
            for block in csv_blocks(path, (*self._table.columns, offset), wanted):
                timed = block.with_columns(minutes.alias("minutes"))
                yield self._numbers(timed.filter((pl.col("minutes") >= 0) & (pl.col("minutes") < self._minutes)))
        except (ValueError, OSError, EOFError, pl.exceptions.InvalidOperationError) as error:
            raise unreadable(path, error) from error

    def _numbers(self, block: pl.DataFrame) -> pl.DataFrame:
        events = block.lazy().join(self._cases, on="patientunitstayid")
        if self._table.name == "lab":
            long = self._labs(events)
        elif self._table.name == "physicalexam":
            long = self._examinations(events)
        else:
            long = self._vitals(events)
        if self._table.name != "lab":
            long = long.with_columns(
                pl.lit(None, pl.Float64).alias("revised"),
                *(pl.lit(None, pl.String).alias(name) for name in ("hospital_unit", "system_unit")),
            )
        try:
            return long.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).collect()
        except pl.exceptions.InvalidOperationError as error:
            raise UserError(
                f"holds text where a number belongs ({str(error).splitlines()[0]})", where=self._table.file
            ) from error

    def _labs(self, events: pl.LazyFrame) -> pl.LazyFrame:
        return (
            events.join(self._keys("labname"), on="labname")
            .with_columns(
                pl.col("labresult").cast(pl.Float64).alias("number"),
                pl.col("labresultrevisedoffset").cast(pl.Float64).alias("revised"),
                pl.col("labmeasurenameinterface").str.strip_chars().alias("hospital_unit"),
                pl.col("labmeasurenamesystem").str.strip_chars().alias("system_unit"),
            )
            .filter(pl.col("number").is_finite())
        )

    def _vitals(self, events: pl.LazyFrame) -> pl.LazyFrame:
        columns = [str(place.keys["column"]) for _, place in self._here]
        return (
            events.unpivot(columns, index=["case", "minutes", "row"], variable_name="column", value_name="text")
            .join(self._keys("column"), on="column")
            .with_columns(pl.col("text").cast(pl.Float64).alias("number"))
            .filter(pl.col("number").is_finite())
        )

    def _examinations(self, events: pl.LazyFrame) -> pl.LazyFrame:
        """Read the numbers among a form's entries. The path names a score's entry (`GCS/Motor Score/6`)."""
        parts = pl.col("physicalexampath").str.split("/")
        last = parts.list.slice(-2, 2).list.join("/")
        above = parts.list.slice(-3, 2).list.join("/")
        keys = self._keys("path")
        by_entry = events.with_columns(last.alias("path")).join(keys, on="path")
        by_score = events.with_columns(above.alias("path")).join(keys, on="path")
        # A form's text may be words; they are no measurement.
        number = pl.col("physicalexamtext").cast(pl.Float64, strict=False)
        return pl.concat([by_entry, by_score]).with_columns(number.alias("number")).filter(pl.col("number").is_finite())

    def _keys(self, key: str) -> pl.LazyFrame:
        return pl.LazyFrame(
            {key: [str(place.keys[key]) for _, place in self._here], "place": [index for index, _ in self._here]},
            schema={key: pl.String, "place": pl.Int64},
        )


SCHEMA = pl.Schema(
    {
        "case": pl.Int64,
        "minutes": pl.Float64,
        "place": pl.Int64,
        "number": pl.Float64,
        "hospital_unit": pl.String,
        "system_unit": pl.String,
        "revised": pl.Float64,
        "row": pl.Int64,
    }
)
