"""Excel: formulas, errors, dates as numbers and sheets of absurd size are refused by cell, and never become missing."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pytest

from eagbench.errors import UserError
from eagbench_plugins.datasets.excel_sheet import MOST_COLUMNS, MOST_ROWS, read_sheet
from tests.plugins.datasets.test_tjh import FILE, load, small_table, written


def change(folder: Path, edit: Callable[[Any], None]) -> Path:
    """The small table with a change of its workbook."""
    path = written(small_table(), folder) / FILE
    book = openpyxl.load_workbook(path)
    edit(book)
    book.save(path)
    return path


def cell(sheet: Any, column: str, row: int) -> Any:
    names = [found.value for found in sheet[1]]
    return sheet.cell(row, names.index(column) + 1)


def put(column: str, row: int, value: object) -> Callable[[Any], None]:
    def edit(book: Any) -> None:
        changed = cell(book.worksheets[0], column, row)
        changed.value = value
        if isinstance(value, float | timedelta):
            changed.number_format = "General" if isinstance(value, float) else "[h]:mm:ss"

    return edit


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("glucose", "=1+1", r"cell [A-Z]+3: holds the formula '=1\+1', not a value"),
        ("outcome", "=0", "cell G3: holds the formula '=0'"),
        ("glucose", "#N/A", "cell [A-Z]+3: holds the error '#N/A'"),
        ("creatinine", "#DIV/0!", "holds the error '#DIV/0!'"),
        ("glucose", datetime(2020, 1, 1), "column 'glucose' must hold numbers .row 3 holds '2020-01-01"),
        ("glucose", True, "column 'glucose' must hold numbers .row 3 holds 'True'"),
        ("glucose", "1e999", "column 'glucose' must hold numbers"),
        ("glucose", "9" * 5_000, "column 'glucose' must hold numbers"),
        ("RE_DATE", 43861.5, "column 'RE_DATE' must hold dates .row 3 holds '43861.5'"),
        ("RE_DATE", time(9, 30), "column 'RE_DATE' must hold dates"),
        ("RE_DATE", timedelta(hours=40), "column 'RE_DATE' must hold dates"),
        ("RE_DATE", "9999-12-31", "column 'RE_DATE' must hold dates"),
        ("RE_DATE", "2020-02-30", "column 'RE_DATE' must hold dates"),
        ("RE_DATE", "2020-02-01T10:00:00Z", "column 'RE_DATE' must hold dates"),
        ("PATIENT_ID", 1.5, "column 'PATIENT_ID' must hold a whole number, not 1.5 as in row 3"),
        ("gender", 3, "column 'gender' must hold 1 .male. or 2 .female., not 3 as in row 3"),
    ],
)
def test_a_cell_is_refused_by_name(column: str, value: object, message: str, tmp_path: Path) -> None:
    path = change(tmp_path, put(column, 3, value))
    with pytest.raises(UserError, match=message) as caught:
        load(path, tmp_path)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("value", ["", " ", "NA", "n/a"])
def test_text_that_says_unknown_is_missing(value: str, tmp_path: Path) -> None:
    cohort = load(change(tmp_path, put("glucose", 3, value)), tmp_path)
    assert len(cohort.cases) == 2


def test_what_stands_beside_the_table_is_no_column(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        sheet = book.worksheets[0]
        sheet.cell(3, sheet.max_column + 3).value = "a note"
        book.create_sheet("more").cell(1, 1).value = "=1/0"
        sheet.row_dimensions[4].hidden = True

    assert len(load(change(tmp_path, edit), tmp_path).cases) == 2


def test_a_hidden_sheet_is_not_read(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        book.create_sheet("shown")
        book.worksheets[0].sheet_state = "hidden"

    with pytest.raises(UserError, match=r"the first sheet, 'Sheet1', is hidden"):
        load(change(tmp_path, edit), tmp_path)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    def edit(book: Any) -> None:
        sheet = book.worksheets[0]
        sheet.cell(1, sheet.max_column + 1).value = "glucose"

    with pytest.raises(UserError, match="two columns are called 'glucose'"):
        load(change(tmp_path, edit), tmp_path)


@pytest.mark.parametrize(("row", "column"), [(1_048_576, 1), (2, 16_384), (MOST_ROWS + 1, 1), (2, MOST_COLUMNS + 1)])
def test_a_sheet_of_absurd_size(row: int, column: int, tmp_path: Path) -> None:
    """One cell far away claims a table of 17 thousand million cells."""
    path = change(tmp_path, lambda book: book.worksheets[0].cell(row, column, 1))
    assert path.stat().st_size < 100_000
    with pytest.raises(UserError, match="has more than 100,000 rows or 1,000 columns"):
        load(path, tmp_path)


def repacked(path: Path, part: str, content: bytes) -> Path:
    """The file with another content of one of its parts."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, old in (parts | {part: content}).items():
            archive.writestr(name, content if name == part else old)
    return path


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = repacked(written(small_table(), tmp_path) / FILE, "xl/worksheets/sheet1.xml", b" " * (257 * 2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(UserError, match="when unpacked, more than 1,000 or 268,435,456"):
        load(path, tmp_path)


ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "'
    + b"a" * 1000
    + b'">'
    + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 50 if i > 1 else b"&a;" * 50) for i in range(1, 8))
    + b']><worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row r="1">'
    b'<c r="A1" t="inlineStr"><is><t>&a7;</t></is></c></row></sheetData></worksheet>'
)


@pytest.mark.parametrize(
    ("part", "content"),
    [
        ("xl/worksheets/sheet1.xml", b"<worksheet"),
        ("xl/worksheets/sheet1.xml", ENTITIES),
        ("xl/worksheets/sheet1.xml", b"\xff\xfe"),
        ("xl/workbook.xml", b"<nothing/>"),
        ("xl/styles.xml", b"<a/>"),
        ("[Content_Types].xml", b""),
        ("xl/_rels/workbook.xml.rels", b"<Relationships/>"),
    ],
)
def test_parts_that_are_no_workbook(part: str, content: bytes, tmp_path: Path) -> None:
    path = repacked(written(small_table(), tmp_path) / FILE, part, content)
    with pytest.raises(UserError):
        load(path, tmp_path)


def test_it_reads_what_pandas_reads(shared_data: Path) -> None:
    path = shared_data / "tjh" / FILE
    table, expected = read_sheet(path), pd.read_excel(path, nrows=500)
    assert list(table.columns) == [str(column).strip() for column in expected.columns]
    for column, other in zip(table.columns, expected.columns, strict=True):
        mine = pd.Series(table[column].iloc[:500].tolist(), dtype=expected[other].dtype)
        pd.testing.assert_series_equal(mine, expected[other], check_names=False)
