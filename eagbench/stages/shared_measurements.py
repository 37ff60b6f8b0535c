"""Measurements that the workers of a run share: decoded once, and mapped into the memory of each.

    <folder>/<cohort>-<block>/owner.npy, times.npy, values.npy

The first worker that needs a block of a cohort decodes it and writes its arrays; a folder appears whole, so two workers
that do it at once leave one. What is mapped is in the operating system's cache of files, once for all processes, which
lets go of it where memory is short. A worker reads it again from the disk then, and nothing is decoded again.
"""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from eagbench.contracts.records import FloatArray, IntArray

# What is less is decoded by every process within a moment.
WORTH_SHARING = 2**26  # bytes
_folder: Path | None = None


class Rows(NamedTuple):
    """Rows of measurements.

    Attributes:
        owner: The case of each row, shape (R,).
        times: Its time, shape (R,), float64.
        values: Its values, shape (R, F), float32.
    """

    owner: IntArray
    times: FloatArray
    values: FloatArray


def share_in(folder: Path | None) -> None:
    """Share the measurements that this process reads from now on.

    Args:
        folder: Where; None to keep them to itself.
    """
    global _folder
    _folder = folder


def shared(cohort: str, n_bytes: int) -> SharedMeasurements | None:
    """Return where the measurements of a cohort are shared; None if they are not.

    Args:
        cohort: Names the cohort.
        n_bytes: The size of its measurements.
    """
    return None if _folder is None or n_bytes < WORTH_SHARING else SharedMeasurements(_folder, cohort)


@dataclass(frozen=True, slots=True)
class SharedMeasurements:
    """The measurements of a cohort in a folder that several processes see.

    Attributes:
        folder: The folder.
        cohort: Names the cohort.
    """

    folder: Path
    cohort: str

    def rows(self, block: int, decode: Callable[[], Rows]) -> Rows:
        """Return the rows of a block; their arrays can't be written to.

        Args:
            block: The number of the block.
            decode: Decodes it, if no process has done so.
        """
        place = self.folder / f"{self.cohort}-{block}"
        if not place.is_dir():
            self._write(decode(), place)
        return Rows._make(_mapped(place / f"{name}.npy") for name in Rows._fields)

    def _write(self, rows: Rows, place: Path) -> None:
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=self.folder))
        try:
            for name, array in rows._asdict().items():
                np.save(new / f"{name}.npy", array)
            new.rename(place)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            if not place.is_dir():  # else another process was faster
                raise


def is_mapped(array: npt.NDArray[Any]) -> bool:
    """Say whether the memory of an array is a file's, which takes none of this process."""
    memory: object = array
    while isinstance(memory, np.ndarray):
        memory = memory.base
    return isinstance(memory, mmap.mmap)


def _mapped(path: Path) -> npt.NDArray[Any]:
    # An ordinary array over the file's memory: what cuts a memmap into cases makes each of them a memmap, too.
    found: npt.NDArray[Any] = np.load(path, mmap_mode="r").view(np.ndarray)
    return found
