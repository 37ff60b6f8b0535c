"""Reads the files of events: the measurements of the cases in their windows, and what else is there."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from eagbench.api import SourceItem, UserError
from eagbench_plugins.datasets.case_partitions import CasePartitions
from eagbench_plugins.datasets.csv_text import check_columns, known_text
from eagbench_plugins.datasets.long_csv.blocks import blocks
from eagbench_plugins.datasets.long_csv.params import LongCsvParams
from eagbench_plugins.datasets.long_csv.time_units import PER_HOUR, timestamp
from eagbench_plugins.datasets.places import place_keys, translations
from eagbench_plugins.datasets.value_counts import ValueCounts

_HINT = "data.events has a row per measurement: stay_id, time, variable, value (other names: data.columns)."


@dataclass(frozen=True, slots=True)
class Events:
    """What the files of events hold.

    Attributes:
        rows: Measurements of the cases in their windows, by ranges of cases, in the files' order: `case`, `at` (time
            since admission, in the unit of `PER_HOUR`), `place` (position among the places), `number`, `unit` (null
            where none is named).
        counts: How often (`n`) each `number` occurs by `place` and `unit`, sorted by these.
        variables: Rows by variable, of all stays.
        patients: `stay` and `patient` as the files name them, each pair once; `patient` is null where there is none.
    """

    rows: CasePartitions
    counts: pl.DataFrame
    variables: Mapping[str, int]
    patients: pl.DataFrame


def read_events(
    paths: Sequence[Path], stays: pl.DataFrame, places: Sequence[SourceItem], params: LongCsvParams, scratch: Path
) -> Events:
    """Read all files, block by block, and keep the wanted rows only, on disk.

    Args:
        paths: The files.
        stays: `case`, `stay` and `origin` of the cases.
        places: How to read each variable, by precedence.
        params: Columns, time and window.
        scratch: A folder to make for the measurements.

    Raises:
        UserError: A file can't be read, lacks a column, or holds a time or a value that can't be read.
    """
    rows, variables = CasePartitions(scratch, len(stays)), Counter[str]()
    counts = ValueCounts(pl.Schema({"place": pl.Int64, "unit": pl.String, "number": pl.Float64}))
    patients = ValueCounts(pl.Schema({"stay": pl.String, "patient": pl.String}))
    for path in paths:
        line = 2
        try:
            for block in blocks(path):
                table = pl.read_csv(block, infer_schema=False, separator=params.separator)
                frame = _text(table, line, path, params)
                found = _wanted(frame.lazy(), stays, places, params).collect()
                _check(path, frame, found, params)
                line += len(table)
                measured = found.sort("line").select("case", "at", "place", "number", "unit")
                rows.add(measured)
                counts.add(measured)
                variables.update({name or "(no name)": n for name, n in frame.group_by("variable").len().iter_rows()})
                patients.add(frame)
        except (pl.exceptions.PolarsError, OSError, EOFError, zlib.error) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"can't be read as CSV ({reason})", where=str(path), hint=_HINT) from error
    return Events(rows, counts.total(), variables, patients.total().select("stay", "patient"))


def _text(table: pl.DataFrame, line: int, path: Path, params: LongCsvParams) -> pl.DataFrame:
    """Return a block's text: `line`, `stay`, `patient`, `time`, `variable`, `value`, `unit`; null where there is none.

    Args:
        table: The block; a blank line is a row of nulls.
        line: The line of its first row.
        path: The file, for error messages.
        params: Columns.
    """
    columns = params.columns
    header = {name.strip(): name for name in table.columns}
    check_columns(list(header), (columns.stay_id, columns.time, columns.variable, columns.value), path, _HINT)
    wanted = {
        "stay": columns.stay_id,
        "patient": columns.patient_id,
        "time": columns.time,
        "variable": columns.variable,
        "value": columns.value,
        "unit": columns.unit,
    }
    text = [
        (pl.col(header[column]).str.strip_chars() if column in header else pl.lit(None, pl.String)).alias(name)
        for name, column in wanted.items()
    ]
    return (
        table.select(text)
        .with_row_index("line", offset=line)
        .with_columns(pl.col("line").cast(pl.Int64))
        .filter(pl.any_horizontal(pl.col(list(wanted)).is_not_null()))
        .with_columns(known_text(pl.col(name)).alias(name) for name in ("stay", "patient"))
    )


def _wanted(
    frame: pl.LazyFrame, stays: pl.DataFrame, places: Sequence[SourceItem], params: LongCsvParams
) -> pl.LazyFrame:
    """Select the cases' measurements in their windows, and rows of theirs that can't be read.

    Of the latter, `wrong` names the column and `text` is its content; both are null for the others.
    """
    numbered = list(enumerate(places))
    if params.time == "timestamps":
        elapsed = timestamp(pl.col("time"), params.time_format) - pl.col("origin")
        at = elapsed.dt.total_microseconds().cast(pl.Float64)
    else:
        at = pl.col("time").cast(pl.Float64, strict=False)
    number = pl.coalesce("translated", pl.col("value").cast(pl.Float64, strict=False))
    in_window = (pl.col("at") >= 0) & (pl.col("at") < params.window_hours * PER_HOUR[params.time])
    is_known = known_text(pl.col("value")).is_not_null() | pl.col("translated").is_not_null()
    no_time = pl.col("at").is_null() | ~pl.col("at").is_finite()
    no_number = pl.col("number").is_null() | ~pl.col("number").is_finite()
    return (
        frame.join(place_keys(numbered, "variable"), on="variable")
        .join(stays.lazy().select("stay", "case", "origin"), on="stay")
        .join(translations(numbered, "value"), on=["place", "value"], how="left")
        .with_columns(at.alias("at"), number.alias("number"))
        .filter(is_known & (no_time | in_window))
        .with_columns(
            pl.when(no_time).then(pl.lit("time")).when(no_number).then(pl.lit("value")).alias("wrong"),
            known_text(pl.col("unit")).alias("unit"),
        )
        .with_columns(
            pl.when(pl.col("wrong") == "time").then("time").when(pl.col("wrong") == "value").then("value").alias("text")
        )
        .select("case", "at", "place", "number", "unit", "line", "wrong", "text")
    )


def _check(path: Path, frame: pl.DataFrame, found: pl.DataFrame, params: LongCsvParams) -> None:
    """Raise an error for the first row that can't be read."""
    wrong = found.filter(pl.col("wrong").is_not_null()).sort("line")
    if len(wrong):
        is_time = wrong["wrong"][0] == "time"
        column = params.columns.time if is_time else params.columns.value
        written = f"a time written as {params.time_format}" if params.time == "timestamps" else f"{params.time}"
        must = f"{written} since admission" if is_time and params.time != "timestamps" else written
        raise UserError(
            f"column '{column}' must hold {must if is_time else 'a number'}, not '{wrong['text'][0] or ''}' "
            f"({len(wrong)} such rows)",
            where=f"{path}, line {wrong['line'][0]}",
            hint="See data.time and data.time_format."
            if is_time
            else "Name a number for the text in data.variables (`values: {...}`), or leave the row out.",
        )
    nameless = frame.filter(pl.col("stay").is_null())
    if len(nameless):
        raise UserError(
            f"column '{params.columns.stay_id}' is empty", where=f"{path}, line {nameless['line'][0]}", hint=_HINT
        )
