"""The cases of a stored cohort, read from `measurements.parquet` by row groups.

A row group holds whole cases, and its statistics say which. Cohorts of earlier versions may have one that ends within a
case; that case belongs to the block in which it begins. The workers of a run share the measurements of a large cohort.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from eagbench.contracts.block_sequence import BlockSequence
from eagbench.contracts.records import Case, FloatArray
from eagbench.stages.parquet_files import numbers
from eagbench.stages.shared_measurements import Rows, is_mapped, shared

# Of a case, beside its numbers: the objects of Python around them.
_OBJECTS_BYTES = 2000


def weight(case: Case) -> int:
    """Return about how many bytes of this process's own memory a case takes."""
    own = (array.nbytes for array in (case.values, case.times) if not is_mapped(array))
    return sum(own) + _OBJECTS_BYTES


class StoredCases(BlockSequence[Case]):
    """All cases of a cohort folder, in its order.

    Args:
        path: `measurements.parquet`.
        features: Names of the features, the columns of every case.
        ids: The ids of the cases and of their patients.
        static: Each static fact of the cases, shape (N,).
    """

    def __init__(
        self,
        path: Path,
        features: tuple[str, ...],
        ids: tuple[tuple[str, ...], tuple[str, ...]],
        static: Mapping[str, FloatArray],
    ) -> None:
        self._path, self._features, self._static = path, features, static
        self._ids = {"case_id": ids[0], "patient_id": ids[1]}
        with pq.ParquetFile(path) as file:
            self._metadata = file.metadata
        n_cases = len(ids[0])
        first, self._groups = _blocks(_spans(self._metadata))
        n_bytes = self._metadata.num_rows * (8 + 4 * len(features))
        rows = [sum(self._metadata.row_group(group).num_rows for group in groups) for groups in self._groups]
        self._shared = shared(path, rows, len(features))
        changed = n_bytes / max(n_cases, 1) + _OBJECTS_BYTES
        mean = changed if self._shared is None else _OBJECTS_BYTES
        super().__init__([*first, n_cases] if n_cases else [0], weight, mean, changed)

    @property
    def known(self) -> Mapping[str, Sequence[str]]:
        """The ids of the cases and of their patients."""
        return self._ids

    def _made(self, number: int, places: Sequence[int]) -> Iterator[Case]:
        start, end = self.starts[number], self.starts[number + 1]
        owner, times, values = self._rows(number)
        # Copies, so that a case that somebody keeps doesn't keep its whole block; what is mapped takes no memory.
        own = np.asarray if is_mapped(values) else np.copy
        bounds = np.searchsorted(owner, np.arange(start, end + 1)).tolist()
        static = {name: of_cases[start:end].tolist() for name, of_cases in self._static.items()}
        ids, patients = self._ids["case_id"], self._ids["patient_id"]
        for i in places:
            rows = slice(bounds[i], bounds[i + 1])
            yield Case(
                case_id=ids[start + i],
                patient_id=patients[start + i],
                features=self._features,
                times=own(times[rows]),
                values=own(values[rows]),
                static={name: of_cases[i] for name, of_cases in static.items()},
            )

    def _rows(self, number: int) -> Rows:
        """Return the rows of a block."""
        decode = partial(self._decoded, self._groups[number])
        return decode() if self._shared is None else self._shared.block(number, decode)

    def _decoded(self, groups: Sequence[int]) -> Rows:
        """Read row groups."""
        with pq.ParquetFile(self._path, metadata=self._metadata) as file:
            table = file.read_row_groups(list(groups), use_threads=False)
        values = np.empty((table.num_rows, len(self._features)), np.float32)
        for j, name in enumerate(self._features):
            values[:, j] = numbers(table[f"value:{name}"])
        return Rows(numbers(table["case"]), numbers(table["time"]), values)


def _spans(metadata: pq.FileMetaData) -> list[tuple[int, int, int]]:
    """Return each row group that has rows, and the first and the last case in it."""
    column = metadata.schema.names.index("case")
    groups = [group for group in range(metadata.num_row_groups) if metadata.row_group(group).num_rows]
    found = [(group, metadata.row_group(group).column(column).statistics) for group in groups]
    return [(group, int(cases.min), int(cases.max)) for group, cases in found]


def _blocks(spans: Sequence[tuple[int, int, int]]) -> tuple[list[int], list[list[int]]]:
    """Divide cases into blocks, one for each row group in which a case begins.

    Returns:
        The first case of each block, and the row groups that its cases are in. Cases without a row belong to the block
        before them, or to the first.
    """
    first: list[int] = []
    groups: list[list[int]] = []
    last = -1
    for group, lowest, highest in spans:
        goes_on = lowest == last
        if goes_on:
            groups[-1].append(group)
        if not goes_on or highest > lowest:
            first.append(lowest + goes_on if first else 0)
            groups.append([group])
        last = highest
    return (first, groups) if first else ([0], [[]])
