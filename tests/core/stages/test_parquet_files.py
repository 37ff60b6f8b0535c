"""Columns read without pandas are what `to_pylist` gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from eagbench.stages.parquet_files import array_of, booleans, nulls, rows_where, texts, values_of

COLUMNS: list[tuple[list[Any], pa.DataType]] = [
    (["a", "", "bcd", "e"], pa.string()),
    (["ä", "", "日本", "e"], pa.string()),
    (["a", None, "bcd", None], pa.string()),
    ([1.5, float("inf"), -0.0, 2.0], pa.float64()),
    ([1.5, None, 0.0, 2.0], pa.float64()),
    ([1, 2, 3, 4], pa.int64()),
    ([True, False, True, True], pa.bool_()),
    ([True, None, False, True], pa.bool_()),
    ([None] * 4, pa.list_(pa.string())),
    ([["a"], None, [], ["b", "c"]], pa.list_(pa.string())),
    ([], pa.string()),
    ([], pa.float64()),
]


@pytest.mark.parametrize(("values", "kind"), COLUMNS)
def test_a_column_has_its_values(values: list[Any], kind: pa.DataType) -> None:
    """Whole, in several chunks, and cut out of a longer one, where the values begin inside a byte."""
    whole = pa.array(values, type=kind)
    for column in (
        pa.chunked_array([whole], type=kind),
        pa.chunked_array([whole, whole], type=kind),
        pa.chunked_array([pa.concat_arrays([whole] * 5)], type=kind).slice(3, 11),
    ):
        assert list(values_of(column)) == column.to_pylist()
        assert nulls(column).tolist() == column.is_null().to_pylist()


@pytest.mark.parametrize(("values", "kind"), COLUMNS)
def test_an_array_has_its_values(values: list[Any], kind: pa.DataType) -> None:
    """As Arrow makes it from a list, and from an array of numbers."""
    assert array_of(values, kind).equals(pa.array(values, type=kind))
    if kind in (pa.float64(), pa.int64(), pa.bool_()) and None not in values:
        assert array_of(np.array(values, dtype=kind.to_pandas_dtype()), kind).equals(pa.array(values, type=kind))


def test_texts_and_booleans_are_python_and_numpy_values() -> None:
    """Texts are `str`, truths an array."""
    assert texts(pa.chunked_array([["a", "b"], ["c"]])) == ["a", "b", "c"]
    found = booleans(pa.chunked_array([[True] * 9 + [False]]).slice(7))
    assert found.dtype == np.bool_
    assert found.tolist() == [True, True, False]


def test_rows_are_selected_as_arrow_selects_them() -> None:
    """In several chunks, and none at all."""
    part = pa.table({"condition": ["clean", "noise", "clean"] * 7, "n": list(range(21))})
    table = pa.concat_tables([part, part.slice(1, 9)])
    found = rows_where(table, "condition", "clean").to_pylist()
    assert found == [row for row in table.to_pylist() if row["condition"] == "clean"]
    assert rows_where(table, "condition", "other").num_rows == 0
