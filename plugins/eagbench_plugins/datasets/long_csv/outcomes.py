"""Reads the file of outcomes: which stays are cases, their labels, static facts and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from eagbench.api import BoolArray, FloatArray, IntArray, UserError, Vocabulary
from eagbench_plugins.datasets.csv_text import CsvText, Outcome, outcomes_by_id, read_csv_text
from eagbench_plugins.datasets.long_csv.params import LongCsvParams
from eagbench_plugins.datasets.long_csv.time_units import PER_HOUR, timestamp

_OLDEST = 130


@dataclass(frozen=True, slots=True)
class Stays:
    """The stays that may be cases, N of them, in the file's order.

    Attributes:
        table: `case` (0, 1, ...), `stay`, `origin` (time of admission, null unless times are timestamps).
        labels: 0 or 1. Shape (N,).
        static: Facts by name, NaN where unknown. Each of shape (N,).
        groups: Groups by name, each with N values.
        patients: `stay` and `patient` of all rows of the file; `patient` is null if it has no such column.
        exclusions: (reason, number of stays), in the order applied.
        implausible: Static facts removed because no living patient has them, by name.
        checks_end: Whether the file says when stays ended.
    """

    table: pl.DataFrame
    labels: IntArray
    static: Mapping[str, FloatArray]
    groups: Mapping[str, tuple[str, ...]]
    patients: pl.DataFrame
    exclusions: tuple[tuple[str, int], ...]
    implausible: Mapping[str, int]
    checks_end: bool


def read_stays(path: Path, params: LongCsvParams, words: Vocabulary) -> Stays:
    """Read the file of outcomes.

    Raises:
        UserError: The file can't be read, lacks a column, names a stay twice, or holds a value that makes no sense.
    """
    columns = params.columns
    at_admission = [columns.admission_time] if params.time == "timestamps" else []
    needed = dict.fromkeys([columns.stay_id, columns.outcome, *at_admission, *params.static.values(), *params.groups])
    optional = [name for name in (columns.patient_id, columns.end_time) if name not in needed]
    hint = "data.outcomes has a row per stay: " + ", ".join(needed) + " (data.columns, data.static, data.groups)."
    table = read_csv_text(path, tuple(needed), optional, hint=hint, separator=params.separator)
    outcomes = outcomes_by_id(table, columns.stay_id, columns.outcome)
    if not outcomes:
        raise UserError("there is no row", where=str(path), hint=hint)
    patient = pl.Series([None] * len(outcomes), dtype=pl.String)
    if columns.patient_id in table.rows.columns:
        patient = _filled(table, columns.patient_id)
    origin = pl.Series([None] * len(outcomes), dtype=pl.Datetime("us"))
    if at_admission:
        origin = _timestamps(table, columns.admission_time, params.time_format)
    kept, exclusions = _chosen(table, outcomes, origin, params)
    static, implausible = _static(table, params, words)
    chosen = pl.DataFrame({"stay": list(outcomes), "origin": origin}).filter(kept)
    labels = [outcome.label for outcome, is_kept in zip(outcomes.values(), kept, strict=True) if is_kept]
    return Stays(
        table=chosen.with_row_index("case").with_columns(pl.col("case").cast(pl.Int64)),
        labels=np.array(labels, dtype=np.int64),
        static={name: values[kept] for name, values in static.items()},
        groups={name: tuple(_group(table, name, known).filter(kept)) for name, known in params.groups.items()},
        patients=pl.DataFrame({"stay": list(outcomes), "patient": patient}),
        exclusions=exclusions,
        implausible=implausible,
        checks_end=columns.end_time in table.rows.columns,
    )


def _chosen(
    table: CsvText, outcomes: Mapping[str, Outcome], origin: pl.Series, params: LongCsvParams
) -> tuple[BoolArray, tuple[tuple[str, int], ...]]:
    """Tell which stays may be cases, shape (N,), and count the others by reason."""
    known = np.array([outcome.label is not None for outcome in outcomes.values()])
    exclusions = [("unknown outcome", int((~known).sum()))]
    ended = np.zeros(len(known), dtype=bool)
    column = params.columns.end_time
    if column in table.rows.columns:
        if params.time == "timestamps":
            lasted = _timestamps(table, column, params.time_format, required=False) - origin
            hours = lasted.dt.total_microseconds().cast(pl.Float64).fill_null(np.nan).to_numpy() / 3600e6
        else:
            hours = table.numbers(column) / PER_HOUR[params.time]
        ended = hours <= params.window_hours  # False where unknown
        exclusions.append(("stay ended at or before the prediction time", int((known & ended).sum())))
    return known & ~ended, tuple(exclusions)


def _static(table: CsvText, params: LongCsvParams, words: Vocabulary) -> tuple[dict[str, FloatArray], dict[str, int]]:
    """Read the static facts of all rows, and count those that were removed as implausible."""
    static: dict[str, FloatArray] = {}
    implausible: dict[str, int] = {}
    for name, column in params.static.items():
        if name == "sex":
            static[name] = _sex(table, column, params)
            continue
        static[name] = table.numbers(column)
        if name == "age":
            _check_age(table, column, static[name])
        elif name in words.names:
            static[name], removed = words.clean(name, static[name], f"{table.path}, column '{column}'")
            implausible |= {name: removed} if removed else {}
    return static, implausible


def _check_age(table: CsvText, column: str, years: FloatArray) -> None:
    impossible = (years < 0) | (years > _OLDEST)
    if impossible.any():
        row = int(impossible.argmax())
        what = f"column '{column}' holds an age of {years[row]:g} years"
        raise table.error(f"{what}; write the oldest age that the source gives", table.rows["line"][row])


def _sex(table: CsvText, column: str, params: LongCsvParams) -> FloatArray:
    codes = {**dict.fromkeys(map(str.lower, params.female), 0.0), **dict.fromkeys(map(str.lower, params.male), 1.0)}
    texts = table.rows[column].str.to_lowercase()
    strange = table.rows.filter(texts.is_not_null() & ~texts.is_in(list(codes)))
    if len(strange):
        what = f"column '{column}' must hold one of {', '.join(codes)} (data.male, data.female)"
        raise table.error(f"{what}, not '{strange[column][0]}'", strange["line"][0])
    sex: FloatArray = texts.replace_strict(codes, default=None, return_dtype=pl.Float64).fill_null(np.nan).to_numpy()
    return sex


def _group(table: CsvText, column: str, known: tuple[str, ...]) -> pl.Series:
    texts = _filled(table, column)
    strange = table.rows.filter(~texts.is_in(list(known)))
    if len(strange):
        what = f"column '{column}' must hold one of data.groups.{column} ({', '.join(known)})"
        raise table.error(f"{what}, not '{strange[column][0]}'", strange["line"][0])
    return texts


def _filled(table: CsvText, column: str) -> pl.Series:
    empty = table.rows.filter(pl.col(column).is_null())
    if len(empty):
        raise table.error(f"column '{column}' is empty", empty["line"][0])
    return table.rows[column]


def _timestamps(table: CsvText, column: str, form: str, *, required: bool = True) -> pl.Series:
    rows = table.rows.with_columns(timestamp(pl.col(column), form).alias("time"))
    wrong = rows.filter(pl.col("time").is_null() & (pl.lit(required) | pl.col(column).is_not_null()))
    if len(wrong):
        found = f"'{wrong[column][0]}'" if wrong[column][0] is not None else "nothing"
        raise table.error(
            f"column '{column}' must hold a time written as {form} (data.time_format), not {found}", wrong["line"][0]
        )
    return rows["time"]
