"""Odd cells through each function that makes a number, a time, an outcome or a flag of a row.

Each function gets what cells of real exports hold and what nobody expects: digits of other scripts, infinities, dates
of the years 1 and 9999, leap seconds, zones, empty cells, text of any kind. It returns a value within bounds or
refuses.
"""

from __future__ import annotations

import io
import math
import tarfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from eagbench.errors import UserError
from eagbench.vocabulary.concepts import SourceItem
from eagbench.vocabulary.vocabulary import vocabulary
from eagbench_plugins.datasets import icu_demo, physionet2012, tjh
from eagbench_plugins.datasets.csv_header import csv_header
from eagbench_plugins.datasets.csv_text import UNKNOWN, CsvText, known_text, outcomes_by_id
from eagbench_plugins.datasets.eicu import loader as eicu_loader
from eagbench_plugins.datasets.excel_sheet import column_of_dates, column_of_numbers
from eagbench_plugins.datasets.long_csv.events import read_events
from eagbench_plugins.datasets.long_csv.outcomes import read_stays
from eagbench_plugins.datasets.long_csv.params import LongCsvParams
from eagbench_plugins.datasets.long_csv.time_units import timestamp
from eagbench_plugins.datasets.long_csv.values import places_of
from eagbench_plugins.datasets.meds.codes import unit_in_code
from eagbench_plugins.datasets.mimic4 import loader as mimic_loader
from eagbench_plugins.datasets.mimic4.tables import TABLES
from eagbench_plugins.datasets.passed_over import is_passed_over
from tests.plugins.datasets.test_eicu import PATIENT_ROW
from tests.reliability.rows import Row

SMALL, FULL = 100, 10_000
_HERE = Path("table.csv")
_AT = "2020-01-01 00:00:00"
ODD = (
    *("", " ", "NA", "n/a", ".", "?", "null", "-1", "0", "1", "0.0", "1.0", "-0.0", "2", "1e3", "1e308"),
    *("1e309", "-1e400"),
    *("inf", "-inf", "Infinity", "nan", "NaN", "1,5", "1 000", "1_000", "0x1f", "1e", "+5", "--5", "5-", "٣"),
    *("\uff13.\uff15", "²", "½"),
    *("9" * 400, "9" * 5_000, "0." + "0" * 400 + "1", "> 89", "<0.1", "~7", "True", "FALSE", "yes", "Alive"),
    *("expired", "M"),
    *("0001-01-01 00:00:00", "9999-12-31 23:59:59", "2016-12-31 23:59:60", "2020-02-30 00:00:00"),
    *("2150-01-31 13:45:00"),
    *("2020-01-01T10:00:00Z", "2020-01-01 10:00:00+14:00", "0000-00-00 00:00:00", "-0001-01-01 00:00:00"),
    *("10000-01-01"),
    *("99999999999999-01-01 00:00:00", "1677-09-21 00:12:43", "2262-04-12 00:00:00", "31/12/2020", "12:60"),
    *("48:00", "-1:30"),
    *("00:00", "99999999999999999999:00", "1:2:3", "\ufeff1", "1\u00a0", "\u200b", "'5", "=1+1", "\x1b[31m"),
    *("a\x00b", "é" * 99),
)  # fmt: skip
DIGITS = st.text(alphabet="0123456789.eE+-_ ,:/\u0660\uff13²", max_size=30)
CELLS = st.one_of(
    st.none(),
    st.sampled_from(ODD),
    DIGITS,
    st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20),
    st.floats().map(repr),
    st.integers().map(str),
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%d %H:%M:%S")),
)
NUMBERS = st.one_of(st.floats(), st.sampled_from([5e-324, 1.8e308, -0.0, 2.0**63, 1e39, -1e39]))
EXCEL = st.one_of(
    CELLS,
    st.integers(),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.times(),
    st.timedeltas(),
)
_OF_PATIENT = (
    "age",
    "gender",
    "unitvisitnumber",
    "unitdischargeoffset",
    "hospitaldischargeoffset",
    "hospitaldischargestatus",
)
# A cell, and which of a function's columns it goes into.
PLACED = st.tuples(CELLS, st.integers(0, 59))
Convert = Callable[[Any, Path], object]


def _table(column: str, cells: list[Any]) -> CsvText:
    rows = pl.DataFrame({"line": range(2, len(cells) + 2), "id": [str(i) for i in range(len(cells))], column: cells})
    rows = rows.cast({column: pl.String}).with_columns(known_text(pl.col(column).str.strip_chars()))
    return CsvText(_HERE, "", rows)


def _require(condition: object, found: object) -> None:
    if not condition:
        raise AssertionError(f"out of bounds: {found!r}")


def numbers(cell: Any, _: Path) -> None:
    """Cells of a small CSV file as numbers."""
    found = _table("x", [cell]).numbers("x")
    _require(np.isfinite(found[0]) or np.isnan(found[0]), found)


def outcomes(cell: Any, _: Path) -> None:
    """Outcomes of a CSV file: 0, 1 or unknown."""
    (found,) = outcomes_by_id(_table("x", [cell]), "id", "x").values()
    _require(found.label in (None, 0, 1), found)


def timestamps(cell: Any, _: Path) -> None:
    """Timestamps of long_csv."""
    found = pl.DataFrame({"x": [cell]}, schema={"x": pl.String}).select(timestamp(pl.col("x"), "%Y-%m-%d %H:%M:%S"))
    _require(found["x"].dtype == pl.Datetime("us"), found)


@cache
def _params(folder: Path, time: str) -> LongCsvParams:
    return LongCsvParams(root=folder, task="t", outcome="die", time=time, static={"age": "age"})  # type: ignore[arg-type]


@cache
def _places(folder: Path, time: str) -> Sequence[SourceItem]:
    return places_of(_params(folder, time), vocabulary())


def stays_of_long_csv(placed: tuple[Any, int], folder: Path) -> None:
    """The file of outcomes of long_csv: stays, times, ends, ages, labels."""
    names, row = (
        ["stay_id", "outcome", "admission_time", "end_time", "age"],
        ["1", "0", _AT, "2020-02-01 00:00:00", "50"],
    )
    row[placed[1] % len(row)] = placed[0]
    pl.DataFrame([row], schema=dict.fromkeys(names, pl.String), orient="row").write_csv(folder / "outcomes.csv")
    found = read_stays(folder / "outcomes.csv", _params(folder, "timestamps"), vocabulary())
    ages = found.static["age"]
    _require(set(found.labels.tolist()) <= {0, 1}, found.labels)
    _require((np.isnan(ages) | ((ages >= 0) & (ages < 200))).all(), ages)


def events_of_long_csv(placed: tuple[Any, int], folder: Path) -> None:
    """The files of events of long_csv: stays, times, variables and values."""
    admitted = {"case": [0], "stay": ["1"], "origin": [datetime(2020, 1, 1)]}
    stays = pl.DataFrame(admitted, schema_overrides={"origin": pl.Datetime("us")})
    cell, which = placed
    time = ("hours", "minutes", "days", "timestamps")[which % 4]
    names, row = (
        ["stay_id", "time", "variable", "value"],
        ["1", _AT if time == "timestamps" else "0", "heart_rate", "80"],
    )
    row[which // 4 % len(row)] = cell
    pl.DataFrame([row], schema=dict.fromkeys(names, pl.String), orient="row").write_csv(folder / "events.csv")
    with TemporaryDirectory(dir=folder) as scratch:
        read = read_events(
            [folder / "events.csv"], stays, _places(folder, time), _params(folder, time), Path(scratch) / "events"
        )
        found = pl.concat([rows for _, rows in read.rows.read()])
    if not len(found):
        return  # the cell is not among the wanted rows
    _require(found["number"].is_finite().all() and found["at"].is_finite().all(), found)
    _require((found["at"] >= 0).all(), found)


def rows_of_physionet(placed: tuple[Any, int], folder: Path) -> None:
    """A row of a record of PhysioNet 2012: its time, parameter or value."""
    text = placed[0] or ""
    row = (f"{text},HR,80", f"01:00,{text},80", f"01:00,HR,{text}", f"00:00,Age,{text}")[placed[1] % 4]
    record = f"Time,Parameter,Value\n00:00,RecordID,1\n00:00,Gender,1\n{row}\n".encode()
    with tarfile.open(folder / "set-a.tar.gz", "w:gz", compresslevel=1) as tar:
        info = tarfile.TarInfo("set-a/1.txt")
        info.size = len(record)
        tar.addfile(info, io.BytesIO(record))
    rows, _ = physionet2012._read_records(folder / "set-a.tar.gz")
    physionet2012._split(rows)


def excel_numbers(cell: Any, _: Path) -> None:
    """Cells of TJH's Excel file as numbers."""
    found = column_of_numbers(pd.DataFrame({"x": pd.Series([cell], dtype=object)}), "x", UNKNOWN, _HERE)
    _require(math.isfinite(found[0]) or math.isnan(found[0]), found)


def excel_dates(cell: Any, _: Path) -> None:
    """Cells of TJH's Excel file as dates."""
    found = column_of_dates(pd.DataFrame({"x": pd.Series([cell], dtype=object)}), "x", UNKNOWN, _HERE)
    _require(str(found.dtype) == "datetime64[ns]", found)


def outcomes_of_tjh(cell: Any, _: Path) -> None:
    """TJH's outcomes."""
    tjh._check_outcomes(pd.DataFrame({"PATIENT_ID": [1.0], "outcome": [float(cell)]}), _HERE)
    _require(cell in (0, 1), cell)


def numbers_of_icu_demo(cell: Any, _: Path) -> None:
    """Columns of numbers of the ICU demos."""
    table = pl.DataFrame({"x": [cell]}, strict=False)
    found = icu_demo._numbers(table, "x", _HERE)
    _require(found.dtype == np.float64, found)


def times_of_icu_demo(cell: Any, _: Path) -> None:
    """Times since admission of the ICU demos."""
    found = icu_demo._hours(pl.DataFrame({"time": [cell]}, strict=False), _HERE)
    _require(np.isfinite(found).all(), found)


def labels_of_icu_demo(cell: Any, _: Path) -> None:
    """Labels of the ICU demos."""
    table = pl.DataFrame({"stay_id": [1], "label": [cell]}, strict=False)
    found = icu_demo._labels(table, np.array([1]), _HERE)
    _require(set(found.tolist()) <= {0, 1}, found)


def stays_of_eicu(placed: tuple[Any, int], _: Path) -> None:
    """Ages, offsets and statuses of eICU's patients."""
    texts = {name: str(value) for name, value in PATIENT_ROW.items()}
    names = (
        "age",
        "unitvisitnumber",
        "unitdischargeoffset",
        "hospitaldischargeoffset",
        "hospitaldischargestatus",
        "gender",
    )
    name = names[placed[1] % len(names)]
    content: dict[str, Any] = {**texts, name: placed[0]}
    frame = pl.DataFrame(content, schema=dict.fromkeys(content, pl.String)).with_columns(row=0)
    found = eicu_loader._stays(frame.lazy(), "patient.csv")
    _require(found["hospitaldischargestatus"][0] in ("Alive", "Expired", None), found)


def typed_of_mimic(placed: tuple[Any, int], folder: Path) -> None:
    """Numbers, times and dates of MIMIC-IV's small tables."""
    table, name, kind = (
        ("patients", "anchor_age", "numbers"),
        ("icustays", "outtime", "times"),
        ("patients", "dod", "dates"),
    )[placed[1] % 3]
    content = {column: placed[0] if column == name else "1" for column in TABLES[table].columns}
    pl.DataFrame(content, schema=dict.fromkeys(content, pl.String)).write_csv(folder / "table.csv")
    paths = {table: folder / "table.csv"}
    found = mimic_loader._typed(table, paths, **{kind: (name,)})  # type: ignore[arg-type]
    _require(len(found) == 1, found)


def converted(placed: tuple[float, int], _: Path) -> None:
    """Values of a concept in any unit, converted and cleaned."""
    words = vocabulary()
    name = ("glucose", "temperature", "ph", "fraction_inspired_oxygen")[placed[1] % 4]
    low, high = words.concept(name).plausible
    units = (words.concept(name).unit, *words.concept(name).conversions)
    unit = units[placed[1] // 4 % len(units)]
    values, removed = words.clean(name, words.to_canonical(name, [placed[0]], unit), "here", unit)
    _require(np.isnan(values[0]) or low <= values[0] <= high, values)
    _require(removed in (0, 1), removed)


def units(cell: Any, _: Path) -> None:
    """Units that a row names, and those in MEDS' codes."""
    text = "" if cell is None else cell
    unit_in_code(f"LAB//50931//{text}"), unit_in_code(text)
    found = vocabulary().to_canonical("glucose", [1.0], text)
    _require(np.isfinite(found).all(), found)


def names_of_files(cell: Any, folder: Path) -> None:
    """Names of files, and headers of CSV files."""
    text = "" if cell is None else cell
    is_passed_over(text)
    path = folder / "header.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        csv_header(path)
    except (OSError, UnicodeDecodeError):  # which its callers turn into an input error
        return


CONVERSIONS: tuple[tuple[Convert, st.SearchStrategy[Any]], ...] = (
    (numbers, CELLS),
    (outcomes, CELLS),
    (timestamps, CELLS),
    (stays_of_long_csv, PLACED),
    (events_of_long_csv, PLACED),
    (rows_of_physionet, PLACED),
    (excel_numbers, EXCEL),
    (excel_dates, EXCEL),
    (outcomes_of_tjh, NUMBERS),
    (numbers_of_icu_demo, st.one_of(NUMBERS, CELLS, st.booleans())),
    (times_of_icu_demo, st.one_of(st.timedeltas(timedelta(days=-(10**6)), timedelta(days=10**6)), CELLS)),
    (labels_of_icu_demo, st.one_of(NUMBERS, CELLS, st.booleans())),
    (stays_of_eicu, PLACED),
    (typed_of_mimic, PLACED),
    (converted, st.tuples(NUMBERS, st.integers(0, 59))),
    (units, CELLS),
    (names_of_files, CELLS),
)


def _row(convert: Convert, cells: st.SearchStrategy[Any], times: int, number: int, folder: Path) -> Row:
    lost: list[str] = []
    refused = done = 0

    @seed(number)
    @settings(
        max_examples=times,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cells)
    def one(cell: Any) -> None:
        nonlocal refused, done
        done += 1
        try:
            convert(cell, folder)
        except UserError:
            refused += 1
        except Exception as error:  # noqa: BLE001 - no other is allowed
            lost.append(f"{convert.__name__} of {str(cell)[:60]!r}: {type(error).__name__}: {error}")

    one()
    while done < times:  # Hypothesis stops where a strategy has no more to give
        one()
    what = (convert.__doc__ or "").rstrip(".")
    said = f"a value within bounds, or an input error ({refused / done:.0%})"
    return Row(f"odd cells: {what}", done, said, tuple(lost[:20]))


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Give each conversion so many cells."""
    return [_row(convert, cells, times, seed, folder) for convert, cells in CONVERSIONS]
