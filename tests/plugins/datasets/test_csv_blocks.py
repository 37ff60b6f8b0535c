"""Large CSV files are read in blocks, counted exactly, and kept by ranges of cases."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from eagbench_plugins.datasets import case_partitions, csv_blocks, value_counts
from eagbench_plugins.datasets.case_partitions import CasePartitions
from eagbench_plugins.datasets.csv_blocks import Wanted
from eagbench_plugins.datasets.value_counts import ValueCounts, repeated


def test_an_empty_field_is_null_and_a_field_may_hold_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('ID ,Text,other\n1,"two\nlines, one comma",x\n2,,y\n\n3,"",z\n4,NA,\n')
    [frame] = csv_blocks.csv_blocks(path, ["text", "id"])
    assert frame.columns == ["text", "id", "row"]
    assert frame["text"].to_list() == ["two\nlines, one comma", None, None, "NA"]
    assert frame["id"].to_list() == ["1", "2", "3", "4"]


@pytest.mark.parametrize("members", [1, 3])
def test_rows_keep_their_position_whatever_the_blocks(
    tmp_path: Path, members: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_blocks, "BLOCK", 1000)
    monkeypatch.setattr(csv_blocks, "ROWS", 50)
    lines = [f"{i},{i % 7}\n" for i in range(3000)]
    path = tmp_path / "a.csv.gz"
    parts = np.array_split(np.array(lines), members)
    path.write_bytes(gzip.compress(b"id,item\n") + b"".join(gzip.compress("".join(part).encode()) for part in parts))
    frames = list(csv_blocks.csv_blocks(path, ["id", "item"], Wanted("item", ["3", "5"])))
    assert len(frames) > 5
    found = pl.concat(frames)
    assert found["row"].to_list() == [i for i in range(3000) if i % 7 in (3, 5)]
    assert found["id"].cast(pl.Int64).to_list() == found["row"].to_list()


def test_a_file_without_a_wanted_row_gives_an_empty_frame(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,item\n1,2\n")
    (tmp_path / "b.csv").write_text("id,item\n")
    [none] = csv_blocks.csv_blocks(tmp_path / "a.csv", ["id", "item"], Wanted("item", ["9"]))
    [empty] = csv_blocks.csv_blocks(tmp_path / "b.csv", ["id", "item"])
    assert none.schema == empty.schema == {"id": pl.String, "item": pl.String, "row": pl.Int64}
    assert len(none) == len(empty) == 0


def test_a_cut_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"id\n" + b"".join(b"%d\n" % i for i in range(100_000)))[:-2000])
    with pytest.raises((ValueError, OSError, EOFError)):
        list(csv_blocks.csv_blocks(path, ["id"]))


def test_counts_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_counts, "_HELD", 50)
    rng = np.random.default_rng(0)
    values, units = rng.integers(0, 40, 5000) / 10, rng.choice(["a", "b"], 5000)
    frame = pl.DataFrame({"unit": units, "value": values}).with_columns(
        pl.when(pl.col("unit") == "a").then("unit").alias("unit")
    )
    counts = ValueCounts(pl.Schema({"unit": pl.String, "value": pl.Float64}))
    for part in frame.iter_slices(60):
        counts.add(part)
    total = counts.total()
    for unit in ("a", None):
        of_unit = total.filter(pl.col("unit").eq_missing(pl.lit(unit)))
        expected = np.sort(values[(units == "a") == (unit == "a")])
        np.testing.assert_array_equal(repeated(of_unit["value"], of_unit["n"]).to_numpy(), expected)
    assert total["unit"][0] is None


def test_rows_come_back_by_ranges_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(case_partitions, "CASES", 4)
    monkeypatch.setattr(case_partitions, "_WAITING", 100)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "0.0.parquet").write_text("of an attempt that was killed")
    rng = np.random.default_rng(0)
    case = rng.integers(0, 14, 2500)
    case[case == 9] = 10  # a case without rows
    frame = pl.DataFrame({"case": case, "row": np.arange(len(case))})
    partitions = CasePartitions(tmp_path / "scratch", 19)
    for part in frame.iter_slices(30):
        partitions.add(part)
    assert any((tmp_path / "scratch").iterdir())
    found = list(partitions.read())
    assert [first for first, _ in found] == [0, 4, 8, 12, 16]
    for first, rows in found:
        assert rows.equals(frame.filter((pl.col("case") >= first) & (pl.col("case") < first + 4)))
    assert found[-1][1].schema == frame.schema
    assert not any((tmp_path / "scratch").iterdir())
