"""Workers share measurements: a block is decoded once, mapped by all, and gives the cases that decoding gives."""

from __future__ import annotations

import os
import pickle
import resource
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eagbench.contracts import block_sequence
from eagbench.contracts.records import Cases, Cohort, Provenance
from eagbench.stages import cohort_files, shared_measurements
from eagbench.stages.cohort_files import read_cases, write_cohort
from eagbench.stages.shared_measurements import (
    Rows,
    SharedMeasurements,
    is_mapped,
    nameless_file,
    share_through,
    shared,
)
from eagbench.stages.stored_cases import StoredCases
from eagbench.testing.cases import content, labelled_cases

ROWS = Rows(np.arange(3, dtype=np.int32), np.arange(3.0), np.arange(6, dtype=np.float32).reshape(3, 2))


@pytest.fixture
def descriptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Share everything, however small."""
    monkeypatch.setattr(shared_measurements, "WORTH_SHARING", 0)
    read_cases.cache_clear()
    with nameless_file(tmp_path) as found:
        assert found is not None
        assert list(tmp_path.iterdir()) == []
        share_through(found)
        yield found
    share_through(None)
    read_cases.cache_clear()


def write(cases: Cases, folder: Path, groups: int = 4) -> Path:
    """Write a cohort with so many row groups or more."""
    folder.mkdir(exist_ok=True)
    provenance = Provenance("made", "open", "none", patient_is_stay=True, n_patients_read=1)
    write_cohort(Cohort(cases, np.arange(len(cases)) % 2, provenance), folder)
    path = folder / "measurements.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, row_group_size=max(1, table.num_rows // groups))
    return folder


def again(cohort: Path) -> Cases:
    """Read a cohort as another process does."""
    for cache in (read_cases, cohort_files.read_facts, cohort_files._TABLES):
        cache.cache_clear()
    return read_cases(cohort)


def opened(path: Path, rows: tuple[int, ...] = (3,)) -> SharedMeasurements:
    """Find a cohort's part of the file."""
    found = shared(path, rows, 2)
    assert found is not None
    return found


def never() -> Rows:
    raise AssertionError("it is decoded a second time")


@pytest.mark.usefixtures("descriptor")
@pytest.mark.parametrize("kept", [2**30, 1])
def test_shared_cases_are_those_that_were_stored(tmp_path: Path, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.usefixtures("descriptor")
def test_each_block_is_decoded_by_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = write(labelled_cases(40).cases, tmp_path / "cohort")
    first = content(again(cohort))
    monkeypatch.setattr(StoredCases, "_decoded", lambda *_: never())
    assert content(again(cohort)) == first


@pytest.mark.usefixtures("descriptor")
def test_cohorts_do_not_meet_even_in_the_same_place(tmp_path: Path) -> None:
    few, many = labelled_cases(20).cases, labelled_cases(40).cases
    for cases, groups in ((few, 4), (many, 4), (many, 9), (few, 2)):
        assert content(again(write(cases, tmp_path / "cohort", groups))) == content(cases)
    (tmp_path / "other").mkdir()
    other = write(few, tmp_path / "other" / "cohort")
    assert content(again(other)) == content(few)


@pytest.mark.usefixtures("descriptor")
def test_two_that_write_a_block_at_once_leave_it_whole(tmp_path: Path) -> None:
    (tmp_path / "cohort").touch()

    def slowly() -> Rows:
        opened(tmp_path / "cohort").block(0, lambda: ROWS)  # another process is faster
        return ROWS

    for decode in (slowly, never):
        for array, expected in zip(opened(tmp_path / "cohort").block(0, decode), ROWS, strict=True):
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)


@pytest.mark.usefixtures("descriptor")
def test_what_was_written_in_part_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cohort").touch()
    real, left = os.pwrite, [1]

    def full(descriptor: int, data: bytes, at: int) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        left[0] -= 1
        return real(descriptor, data, at)

    part = opened(tmp_path / "cohort")
    monkeypatch.setattr(os, "pwrite", full)
    own = part.block(0, lambda: ROWS)
    assert own is ROWS  # what it decoded stays its own
    monkeypatch.setattr(os, "pwrite", real)
    assert is_mapped(part.block(0, lambda: ROWS).values)
    np.testing.assert_array_equal(part.block(0, never).values, ROWS.values)


@pytest.mark.usefixtures("descriptor")
def test_cases_that_find_no_room_are_copies_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = labelled_cases(40).cases
    cohort = write(cases, tmp_path / "cohort")
    assert all(is_mapped(case.values) for case in again(cohort) if case.values.size)
    cohort = write(cases, tmp_path / "written later")
    with monkeypatch.context() as patch:
        patch.setattr(SharedMeasurements, "_write", lambda *_: (tmp_path / "missing").stat())  # fails
        stored = again(cohort)
        assert content(stored) == content(cases)
        assert not any(is_mapped(case.values) for case in stored)
        assert max(case.values.base.nbytes for case in stored if case.values.base is not None) < 10_000
    monkeypatch.setattr(shared_measurements, "_most_bytes", lambda _: 100)
    assert not any(is_mapped(case.values) for case in again(write(cases, tmp_path / "other")))


def test_without_a_place_nothing_is_shared(tmp_path: Path) -> None:
    with nameless_file(tmp_path / "missing") as found:
        assert found is None


@pytest.mark.usefixtures("descriptor")
def test_a_small_cohort_is_read_by_each_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_measurements, "WORTH_SHARING", 2**26)
    stored = again(write(labelled_cases(40).cases, tmp_path / "cohort"))
    assert not any(is_mapped(case.values) for case in stored)


def test_many_cohorts_fill_the_directory_and_the_rest_is_not_shared(
    descriptor: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_measurements, "_DIRECTORY_BYTES", 3 * shared_measurements._ENTRY.size + 5)
    paths = [tmp_path / str(i) for i in range(5)]
    for path in paths:
        path.touch()
    assert [shared(path, (3,), 2) is not None for path in paths] == [True, True, True, False, False]
    begins = [opened(path).begin for path in paths[:3]]
    assert begins == sorted(set(begins))
    assert os.fstat(descriptor).st_size >= begins[-1]


@pytest.mark.usefixtures("descriptor")
def test_blocks_take_no_open_files(tmp_path: Path) -> None:
    cohort = write(labelled_cases(400).cases, tmp_path / "cohort", groups=300)
    stored = again(cohort)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 20, hard))
    try:
        assert len(list(stored)) == 400
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptor")
def test_shared_measurements_take_no_memory_of_a_process(tmp_path: Path) -> None:
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
    mapped = taken(again(cohort))
    share_through(None)
    alone = taken(again(cohort))
    n_bytes = sum(case.values.nbytes + case.times.nbytes for case in again(cohort))
    assert alone - mapped > 0.9 * n_bytes
    block_sequence._KEPT.forget()


@pytest.mark.usefixtures("descriptor")
def test_changed_cases_count_with_their_own_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
