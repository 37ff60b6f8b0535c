"""Reads the first sheet of an Excel file, cell by cell, within a budget.

pandas makes a missing value of a formula that nobody has computed and of an error such as `#N/A`, and a file of a few
kB may claim a sheet of a million rows with 16,384 columns. Here both are refused by name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import error as ZlibError

from eagbench.api import UserError

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES, MOST_PARTS, MOST_ROWS, MOST_COLUMNS = 256 * 2**20, 1_000, 100_000, 1_000
_FETCH = "Fetch the file again from its origin."


def read_sheet(path: Path) -> pd.DataFrame:
    """Read the first sheet: the columns' names from its first row, the values of the others as the cells hold them.

    Hidden rows and columns are read too; of merged cells only the first holds the value, as in the file.

    Raises:
        UserError: It is no Excel file, exceeds the budget, its first sheet is hidden, or a cell holds a formula or an
            error.
    """
    import pandas as pd

    _check_parts(path)
    try:
        rows = list(_rows(path))
    except (zipfile.BadZipFile, ZlibError, SyntaxError, ArithmeticError, LookupError, ValueError, TypeError) as error:
        raise _unreadable(path, error) from error
    except (AttributeError, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        # openpyxl meets a part that is missing or another one's; a part is encrypted or packed in another way.
        raise _unreadable(path, error) from error
    if not rows:
        raise UserError("the first sheet has no rows", where=str(path), hint=_FETCH)
    names = ["" if value is None else str(value).strip() for value in rows[0]]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise UserError(f"two columns are called '{twice[0]}'", where=str(path), hint=_FETCH)
    width = len(names)
    # Rows without values end the sheet, and cells behind the last name are no column's.
    filled = [[*row[:width], *[None] * (width - len(row))] for row in rows[1:]]
    while filled and all(value is None for value in filled[-1]):
        filled.pop()
    return pd.DataFrame(filled, columns=names, dtype=object)


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"can't be read as an Excel file ({reason})", where=str(path), hint=_FETCH)


def _check_parts(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, LookupError) as error:
        raise _unreadable(path, error) from error
    size = sum(part.file_size for part in parts)
    if size > MOST_BYTES or len(parts) > MOST_PARTS:
        what = f"{len(parts):,} parts with {size:,} bytes when unpacked, more than {MOST_PARTS:,} or {MOST_BYTES:,}"
        raise UserError(f"holds {what}", where=str(path), hint=_FETCH)


def _rows(path: Path) -> Iterator[list[Any]]:
    import openpyxl

    book = openpyxl.load_workbook(path, read_only=True, data_only=False, keep_links=False)
    try:
        if not book.worksheets:
            raise UserError("holds no sheet of cells", where=str(path), hint=_FETCH)
        sheet = book.worksheets[0]
        if sheet.sheet_state != "visible":
            raise UserError(f"the first sheet, '{sheet.title}', is hidden", where=str(path), hint="Move it behind.")
        sheet.reset_dimensions()  # what the file claims; cells count as they come
        for number, cells in enumerate(sheet.rows, start=1):
            if number > MOST_ROWS or len(cells) > MOST_COLUMNS:
                what = f"more than {MOST_ROWS:,} rows or {MOST_COLUMNS:,} columns"
                raise UserError(f"sheet '{sheet.title}' has {what}", where=str(path), hint=_FETCH)
            yield [_value(cell, number, sheet.title, path) for cell in cells]
    finally:
        book.close()


def _value(cell: Any, row: int, sheet: str, path: Path) -> Any:
    if cell.value is None:
        return None
    if cell.data_type in ("f", "e"):
        what = "the formula" if cell.data_type == "f" else "the error"
        raise UserError(
            f"sheet '{sheet}', cell {cell.coordinate}: holds {what} '{str(cell.value)[:40]}', not a value",
            where=f"{path}, row {row}",
            hint="Write the value itself: copy the cells and paste them as values.",
        )
    return cell.value


def column_of_numbers(table: pd.DataFrame, column: str, unknown: Sequence[str], path: Path) -> pd.Series[float]:
    """Read a column as numbers, NaN where a cell is empty or says that the value is unknown.

    Raises:
        UserError: A cell holds something else: text, a date, true or false.
    """
    import pandas as pd

    numbers = [_number(value, unknown) for value in table[column]]
    wrong = next((i for i, number in enumerate(numbers) if number is None), None)
    if wrong is not None:
        found = str(table[column].iloc[wrong])[:40]
        raise UserError(f"column '{column}' must hold numbers (row {wrong + 2} holds '{found}')", where=str(path))
    return pd.Series(numbers, index=table.index, name=column, dtype="float64")


def _number(value: Any, unknown: Sequence[str]) -> float | None:
    """Return a cell's number, NaN for none; None if it holds something else."""
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and value.strip().lower() in ("", *unknown):
        return float("nan")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def column_of_dates(table: pd.DataFrame, column: str, unknown: Sequence[str], path: Path) -> pd.Series[pd.Timestamp]:
    """Read a column as times, NaT where a cell is empty or says that the value is unknown.

    Raises:
        UserError: A cell holds something else, such as a number that is not formatted as a date.
    """
    import pandas as pd

    found = [_date(value, unknown) for value in table[column]]
    wrong = next((i for i, date in enumerate(found) if date is None), None)
    if wrong is not None:
        shown = str(table[column].iloc[wrong])[:40]
        raise UserError(
            f"column '{column}' must hold dates (row {wrong + 2} holds '{shown}')",
            where=str(path),
            hint="A number is a date only if its cell is formatted as one.",
        )
    return pd.Series(found, index=table.index, name=column, dtype="datetime64[ns]")


def _date(value: Any, unknown: Sequence[str]) -> Any:
    """Return a cell's time, NaT for none; None if it holds something else."""
    from datetime import datetime

    import pandas as pd

    if value is None or (isinstance(value, str) and value.strip().lower() in ("", *unknown)):
        return pd.NaT
    if not isinstance(value, datetime | str):
        return None
    try:
        found = pd.to_datetime(value)
        return None if found.tz is not None else found.as_unit("ns")
    except (ValueError, OverflowError, TypeError):
        return None
