"""Reads small CSV files as text, each row with its line in the file, so that messages can name the place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eagbench.api import FloatArray, UserError
from eagbench_plugins.datasets.unpacked import unpacked

if TYPE_CHECKING:
    import polars as pl

# How sources write that something is unknown, in lower case.
UNKNOWN = ("na", "n/a", "nan", "null", "none", ".", "?")
_LABELS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1, "false": 0, "true": 1}


@dataclass(frozen=True, slots=True)
class CsvText:
    """A table of text.

    Attributes:
        path: The file.
        hint: What the file should be, for error messages.
        rows: `line` (counted from 1 with the header; a line break inside quotes is not counted), and the requested
            columns: text without blanks around it, null where it is empty or says that the value is unknown.
    """

    path: Path
    hint: str
    rows: pl.DataFrame

    def error(self, what: str, line: int) -> UserError:
        """Build the error for a line of the file."""
        return UserError(what, where=f"{self.path}, line {line}", hint=self.hint)

    def numbers(self, column: str) -> FloatArray:
        """Read a column as numbers, NaN where it is unknown. Shape (M,).

        Raises:
            UserError: A cell holds something else.
        """
        import polars as pl

        numbers = self.rows[column].cast(pl.Float64, strict=False)
        wrong = self.rows.filter((numbers.is_null() | numbers.is_infinite()) & pl.col(column).is_not_null())
        if len(wrong):
            raise self.error(f"column '{column}' must hold a number, not '{wrong[column][0]}'", wrong["line"][0])
        found: FloatArray = numbers.fill_null(np.nan).to_numpy()
        return found


def read_csv_text(
    path: Path, needed: Sequence[str], optional: Sequence[str] = (), *, hint: str, separator: str = ","
) -> CsvText:
    """Read columns of a CSV file as text.

    Args:
        path: The file, gzipped or not.
        needed: Columns that must be there.
        optional: Columns that are read if they are there.
        hint: What the file should be, for error messages.
        separator: What stands between two fields.

    Raises:
        UserError: The file can't be read, or a needed column is missing.
    """
    import polars as pl

    try:
        table = pl.read_csv(unpacked(path, hint), infer_schema=False, separator=separator)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"can't be read as CSV ({reason})", where=str(path), hint=hint) from error
    check_columns([column.strip() for column in table.columns], needed, path, hint)
    table.columns = [column.strip() for column in table.columns]
    columns = [*needed, *(column for column in optional if column in table.columns)]
    stripped = [known_text(pl.col(column).str.strip_chars()) for column in columns]
    rows = table.with_row_index("line", offset=2).filter(~pl.all_horizontal(pl.col(table.columns).is_null()))
    return CsvText(path, hint, rows.select("line", *stripped))


def check_columns(present: Sequence[str], needed: Sequence[str], path: Path, hint: str) -> None:
    """Check that each needed column is there, and that no name stands twice.

    Raises:
        UserError: A column is missing, or a name stands twice.
    """
    for column in needed:
        if column not in present:
            raise UserError(f"column '{column}' is missing", where=str(path), hint=hint)
        # Polars renames the second of two equal names.
        if f"{column}_duplicated_0" in present:
            raise UserError(f"two columns are called '{column}'", where=str(path), hint=hint)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a line says about an id: 0, 1, or None where it says that the outcome is unknown."""

    label: int | None
    line: int


def outcomes_by_id(table: CsvText, id_column: str, outcome_column: str) -> dict[str, Outcome]:
    """Read the outcome of each id, in the file's order.

    Raises:
        UserError: An id is missing or stands twice (even with the same outcome), or an outcome is not 0, 1 or unknown.
    """
    found: dict[str, Outcome] = {}
    for line, key, text in table.rows.select("line", id_column, outcome_column).iter_rows():
        if key is None:
            raise table.error(f"column '{id_column}' is empty", line)
        if text is not None and text.lower() not in _LABELS:
            raise table.error(f"column '{outcome_column}' must hold 0 or 1, not '{text}'", line)
        label = None if text is None else _LABELS[text.lower()]
        if key in found:
            first = found[key]
            both = f"{_in_words(first.label)} in line {first.line} and {_in_words(label)} here"
            raise table.error(f"{id_column} {key} has two rows, with '{outcome_column}' {both}", line)
        found[key] = Outcome(label, line)
    return found


def _in_words(label: int | None) -> str:
    return "unknown" if label is None else str(label)


def known_text(text: pl.Expr) -> pl.Expr:
    """Return text, null where it is empty or says that the value is unknown."""
    import polars as pl

    return pl.when((text != "") & ~text.str.to_lowercase().is_in(UNKNOWN)).then(text)
