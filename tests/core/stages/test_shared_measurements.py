"""Workers share measurements: each block is decoded once, mapped by all, and gives the cases that decoding gives."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eagbench.contracts import block_sequence
from eagbench.contracts.records import Cases, Cohort, Provenance
from eagbench.stages import shared_measurements
from eagbench.stages.cohort_files import read_cases, write_cohort
from eagbench.stages.shared_measurements import Rows, SharedMeasurements, is_mapped, share_in
from eagbench.stages.stored_cases import StoredCases
from eagbench.testing.cases import content, labelled_cases

ROWS = Rows(np.arange(3, dtype=np.int32), np.arange(3.0), np.arange(6, dtype=np.float32).reshape(3, 2))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Share everything, however small."""
    monkeypatch.setattr(shared_measurements, "WORTH_SHARING", 0)
    read_cases.cache_clear()
    place = tmp_path / "shared"
    place.mkdir()
    share_in(place)
    yield place
    share_in(None)
    read_cases.cache_clear()


def write(cases: Cases, folder: Path) -> Path:
    """Write a cohort with four row groups or more."""
    folder.mkdir()
    provenance = Provenance("made", "open", "none", patient_is_stay=True, n_patients_read=1)
    write_cohort(Cohort(cases, np.arange(len(cases)) % 2, provenance), folder)
    path = folder / "measurements.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=max(1, table.num_rows // 4))
    return folder


def again(cohort: Path) -> Cases:
    """Read a cohort as another process does."""
    read_cases.cache_clear()
    return read_cases(cohort)


@pytest.mark.parametrize("kept", [2**30, 1])
def test_shared_cases_are_those_that_were_stored(
    folder: Path, tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_sequence, "KEPT_BYTES", kept)
    cases = labelled_cases(40).cases
    stored = again(write(cases, tmp_path / "cohort"))
    order = np.random.default_rng(0).permutation(len(cases))
    assert content(stored) == content(cases)
    assert content(stored.select(order)) == content(cases.select(order))
    assert content(pickle.loads(pickle.dumps(stored))) == content(cases)
    assert all(is_mapped(case.values) and is_mapped(case.times) for case in stored if case.values.size)
    assert not any(is_mapped(case.values) for case in pickle.loads(pickle.dumps(stored)))
    with pytest.raises(ValueError, match="read-only"):
        stored[0].values[0, 0] = 1.0


def test_each_block_is_decoded_by_one_process(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = write(labelled_cases(40).cases, tmp_path / "cohort")
    first = content(again(cohort))

    def twice(*_: object) -> Rows:
        raise AssertionError("it is decoded a second time")

    monkeypatch.setattr(StoredCases, "_decoded", twice)
    assert content(again(cohort)) == first
    names = {path.name for path in folder.iterdir()}
    assert names == {f"cohort-{block}" for block in range(len(names))}
    assert len(names) >= 4


def test_cohorts_do_not_meet(folder: Path, tmp_path: Path) -> None:
    few, many = labelled_cases(20).cases, labelled_cases(40).cases
    stored = [again(write(cases, tmp_path / name)) for name, cases in (("few", few), ("many", many))]
    assert [content(cases) for cases in stored] == [content(few), content(many)]


def test_what_another_process_wrote_meanwhile_stays(tmp_path: Path) -> None:
    mine = SharedMeasurements(tmp_path, "cohort")

    def decode() -> Rows:
        SharedMeasurements(tmp_path, "cohort").rows(0, lambda: ROWS)
        return ROWS

    for array, expected in zip(mine.rows(0, decode), ROWS, strict=True):
        np.testing.assert_array_equal(array, expected)
    assert [path.name for path in tmp_path.iterdir()] == ["cohort-0"]


def test_what_can_not_be_written_is_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shared_measurements.np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        SharedMeasurements(tmp_path, "cohort").rows(0, lambda: ROWS)
    assert list(tmp_path.iterdir()) == []


def test_a_small_cohort_is_read_by_each_process(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_measurements, "WORTH_SHARING", 2**26)
    stored = again(write(labelled_cases(40).cases, tmp_path / "cohort"))
    assert not any(is_mapped(case.values) for case in stored)
    assert list(folder.iterdir()) == []


def test_shared_measurements_take_no_memory_of_a_process(folder: Path, tmp_path: Path) -> None:
    cohort = write(labelled_cases(2000).cases, tmp_path / "cohort")

    def taken(cases: Cases) -> int:
        block_sequence._KEPT.forget()
        tracemalloc.start()
        kept = list(cases)
        found = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(kept) == 2000
        return found

    again(cohort)[0]  # imports
    shared = taken(again(cohort))
    share_in(None)
    alone = taken(again(cohort))
    n_bytes = sum(case.values.nbytes + case.times.nbytes for case in again(cohort))
    assert alone - shared > 0.9 * n_bytes
    block_sequence._KEPT.forget()


def test_changed_cases_count_with_their_own_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = labelled_cases(200).cases
    stored = again(write(cases, tmp_path / "cohort")).items
    assert isinstance(stored, block_sequence.BlockSequence)
    monkeypatch.setattr(block_sequence, "KEPT_BYTES", 2001 * len(cases))
    changed = stored.changed(lambda _, some: [replace(case, values=case.values + 1) for case in some])
    part = stored.select(range(0, 200, 2))
    assert stored.fits
    assert part.mean_weight == stored.mean_weight
    assert not changed.fits
    assert changed.mean_weight == part.changed_weight == stored.changed_weight
    assert stored.weigh(changed[0]) > stored.weigh(stored[0])
