"""Measurements that the workers of a run share: decoded once, and mapped into the memory of each.

They are in one file of the run that has no name: its workers get it open, nobody else can open it, and it is gone with
the last of them, however that ends. What is mapped is in the operating system's cache of files, once for all processes,
which lets go of it where memory is short.

    directory            one entry a cohort: what tells it from others, and where its part of the file is
    part of a cohort     a byte for each block, 1 once it is written; then the blocks, each `owner`, `times`, `values`

The first worker that needs a block decodes it and writes it. Two that do it at once write the same. Where a part can't
be had or written (a full disk, a file system without locks) each worker keeps what it decodes, as it does alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from eagbench.contracts.records import FloatArray, IntArray

# What is less is decoded by every process within a moment.
WORTH_SHARING = 2**26  # bytes
# Of the machine's memory and of what is free on the disk, a part of the file takes no more than this share.
_SHARE = 0.5
_ENTRY = struct.Struct("<32sQQ")  # a digest, where the part begins, its size
_DIRECTORY_BYTES = 2**16
_ALIGNED = mmap.ALLOCATIONGRANULARITY  # what is mapped begins at a multiple of it

_descriptor: int | None = None


class Rows(NamedTuple):
    """Rows of measurements.

    Attributes:
        owner: The case of each row, shape (R,), int32.
        times: Its time, shape (R,), float64.
        values: Its values, shape (R, F), float32.
    """

    owner: IntArray
    times: FloatArray
    values: FloatArray


@contextmanager
def nameless_file(folder: Path) -> Iterator[int | None]:
    """Open a file to share through; None if the folder has no room for one.

    Args:
        folder: Where. Not /tmp, which may be small or all memory.
    """
    try:
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - closed below
    except OSError:
        yield None
        return
    with file:
        yield file.fileno()


def share_through(descriptor: int | None) -> None:
    """Share the measurements that this process reads from now on.

    Args:
        descriptor: A `nameless_file` that is open; None to keep them to itself.
    """
    global _descriptor
    _descriptor = descriptor


def shared(path: Path, rows: Sequence[int], n_features: int) -> SharedMeasurements | None:
    """Return where the measurements of a cohort are shared; None if they are not.

    Args:
        path: The file that holds them.
        rows: Number of rows of each block.
        n_features: Number of features.
    """
    if _descriptor is None or sum(rows) * _row_bytes(n_features) < WORTH_SHARING:
        return None
    found = path.stat()  # a cohort that is computed again is another one
    key = hashlib.sha256(f"{path.absolute()}|{found.st_ino}|{found.st_size}|{found.st_mtime_ns}".encode()).digest()
    sizes = [_aligned(n * _row_bytes(n_features)) for n in rows]
    starts = list(accumulate(sizes, initial=_aligned(len(rows))))
    try:
        begin = _part(_descriptor, key, starts[-1])
        if begin is None:
            return None
        memory = mmap.mmap(_descriptor, starts[-1], offset=begin, access=mmap.ACCESS_READ)
    except OSError:
        return None
    return SharedMeasurements(_descriptor, begin, memory, tuple(starts), tuple(rows), n_features)


@dataclass(frozen=True, slots=True)
class SharedMeasurements:
    """The measurements of a cohort in a file that several processes have open.

    Attributes:
        descriptor: The open file.
        begin: Where the cohort's part of it begins.
        memory: That part, mapped.
        starts: Where each block begins in it, and where the last one ends.
        rows: Number of rows of each block.
        n_features: Number of features.
    """

    descriptor: int
    begin: int
    memory: mmap.mmap
    starts: tuple[int, ...]
    rows: tuple[int, ...]
    n_features: int

    def block(self, number: int, decode: Callable[[], Rows]) -> Rows:
        """Return the rows of a block; arrays that are shared can't be written to.

        Args:
            number: Which block.
            decode: Decodes it, if no process has done so.
        """
        if os.pread(self.descriptor, 1, self.begin + number) != b"\1":
            decoded = decode()
            try:
                self._write(number, decoded)
            except OSError:
                return decoded
        n, at = self.rows[number], self.starts[number]
        times = np.frombuffer(self.memory, np.float64, n, at)
        owner = np.frombuffer(self.memory, np.int32, n, at + 8 * n)
        values = np.frombuffer(self.memory, np.float32, n * self.n_features, at + 12 * n)
        return Rows(owner, times, values.reshape(n, self.n_features))

    def _write(self, number: int, rows: Rows) -> None:
        at = self.begin + self.starts[number]
        for array, dtype in ((rows.times, np.float64), (rows.owner, np.int32), (rows.values, np.float32)):
            at = _written(self.descriptor, np.ascontiguousarray(array, dtype), at)
        os.pwrite(self.descriptor, b"\1", self.begin + number)  # last: from now on the block is whole


def is_mapped(array: npt.NDArray[Any]) -> bool:
    """Say whether the memory of an array is a file's, which takes none of this process."""
    memory: object = array
    while isinstance(memory, np.ndarray | memoryview):
        memory = memory.base if isinstance(memory, np.ndarray) else memory.obj
    return isinstance(memory, mmap.mmap)


def _row_bytes(n_features: int) -> int:
    return 8 + 4 + 4 * n_features


def _aligned(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGNED) * _ALIGNED


def _part(descriptor: int, key: bytes, size: int) -> int | None:
    """Find where a cohort's part of the file begins, or give it one; None if there is no room."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    try:
        listed = os.pread(descriptor, _DIRECTORY_BYTES, 0)
        end, place = _DIRECTORY_BYTES, 0
        while place + _ENTRY.size <= len(listed):
            digest, begin, length = _ENTRY.unpack_from(listed, place)
            if not length:
                break
            if digest == key:
                return int(begin)
            end, place = begin + length, place + _ENTRY.size
        if place + _ENTRY.size > _DIRECTORY_BYTES or size > _most_bytes(descriptor):
            return None
        end = _aligned(end)
        os.ftruncate(descriptor, end + size)  # takes no room yet
        os.pwrite(descriptor, _ENTRY.pack(key, end, size), place)
        return end
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)


def _most_bytes(descriptor: int) -> float:
    """Return how large a part may be: more would crowd out the run's own files, or be read from the disk each time."""
    disk = os.fstatvfs(descriptor)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _SHARE * min(disk.f_bavail * disk.f_frsize, memory)


def _written(descriptor: int, array: npt.NDArray[Any], at: int) -> int:
    """Write an array into a file, and return where it ends."""
    left = memoryview(array).cast("B") if array.size else memoryview(b"")
    while left:
        n = os.pwrite(descriptor, left, at)
        left, at = left[n:], at + n
    return at
