"""Small CSV files as text, with lines for messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eagbench.errors import UserError
from eagbench_plugins.datasets.csv_text import CsvText, outcomes_by_id, read_csv_text


def read(folder: Path, content: bytes) -> CsvText:
    (folder / "t.csv").write_bytes(content)
    return read_csv_text(folder / "t.csv", ("id", "y"), ("z",), hint="Use another.")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_lines_are_those_of_the_file(tmp_path: Path, newline: bytes) -> None:
    lines = (b"\xef\xbb\xbf y , other,id", b"1,a, p1 ", b"", b"NA,,p2", b"0.5", b'"?",b,"p 4"', b"n/a,,.")
    table = read(tmp_path, newline.join(lines))
    assert table.rows.columns == ["line", "id", "y"]
    assert table.rows.rows() == [(2, "p1", "1"), (4, "p2", None), (5, None, "0.5"), (6, "p 4", None), (7, None, None)]
    np.testing.assert_equal(table.numbers("y"), [1, np.nan, 0.5, np.nan, np.nan])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "can't be read as CSV"),
        (b"id,y\n1,2,3\n", r"can't be read as CSV \(found more fields than defined in 'Schema'\)"),
        (b"id,y\n\xff,2\n", "can't be read as CSV"),
        (b"id,x\n1,2\n", "column 'y' is missing"),
        (b"id,y,y\n1,0,1\n", "two columns are called 'y'"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        read(tmp_path, content)
    assert len(raised.value.message.splitlines()) == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"1,0\n2,2", "line 3: column 'y' must hold 0 or 1, not '2'"),
        (b"1,0\n,1", "line 3: column 'id' is empty"),
        (b"1,0\n2,1\n1,0", "line 4: id 1 has two rows, with 'y' 0 in line 2 and 0 here"),
        (b"1,NA\n\n1,1", "line 4: id 1 has two rows, with 'y' unknown in line 2 and 1 here"),
    ],
)
def test_bad_outcomes_are_named(tmp_path: Path, rows: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        outcomes_by_id(read(tmp_path, b"id,y\n" + rows), "id", "y")


def test_outcomes_are_0_1_or_unknown(tmp_path: Path) -> None:
    found = outcomes_by_id(read(tmp_path, b"id,y\n1,0\n2,True\n3,NA\n4,1.0\n"), "id", "y")
    assert {key: outcome.label for key, outcome in found.items()} == {"1": 0, "2": 1, "3": None, "4": 1}


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e309"])
def test_an_infinite_number_is_refused(cell: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"a\n1\n{cell}\n")
    with pytest.raises(UserError, match=f"line 3: column 'a' must hold a number, not '{cell}'"):
        read_csv_text(path, ["a"], hint="").numbers("a")
