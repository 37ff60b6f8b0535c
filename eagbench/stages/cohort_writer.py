"""Writes the files of a cohort block by block, so that no more than one row group of measurements is in memory."""

from __future__ import annotations

import dataclasses
import json
from array import array
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eagbench.contracts.cohort_stream import CaseBlock, CohortStream
from eagbench.contracts.records import Case, Provenance

CASES, LABELS, MEASUREMENTS, FACTS = "cases.parquet", "labels.parquet", "measurements.parquet", "cohort.json"
GROUP, REFERENCE = "group:", "reference:"
# Values (rows by features) of a row group at most, unless one case has more: 1,000 to 2,000 ordinary records.
GROUP_VALUES = 2_000_000


def write_stream(stream: CohortStream, folder: Path) -> Provenance:
    """Write a cohort's files (see `CohortWriter`), and return its provenance."""
    with CohortWriter(stream, folder) as writer:
        provenance = stream.read(writer.add)
        writer.finish(provenance)
    return provenance


class CohortWriter:
    """Writes `measurements.parquet` as blocks come, and `cases.parquet`, `labels.parquet` and `cohort.json` in the end.

    The row groups of `measurements.parquet` hold whole cases each, of about `GROUP_VALUES` values at most. Where one
    ends depends on the cases alone, not on the blocks in which they came. `case` is the case's position in
    `cases.parquet`.

    Static facts that `static_names` does not list are stored as well. Code that knows their names finds them on a case;
    other code doesn't read them.

    Args:
        stream: The cohort; only its description is read.
        folder: An existing folder.
    """

    def __init__(self, stream: CohortStream, folder: Path) -> None:
        self._stream, self._folder = stream, folder
        self._names = tuple(feature.name for feature in stream.features)
        self._ids: list[str] = []
        self._patients: list[str] = []
        self._static: dict[str, array[float]] = {name: array("d") for name in stream.static_names}
        self._labels = array("b")
        self._groups: dict[str, list[str]] = {}
        self._references: dict[str, array[float]] = {}
        self._waiting: list[Case] = []
        self._rows = 0
        values = [pa.field(f"value:{name}", pa.float32()) for name in self._names]
        schema = pa.schema([pa.field("case", pa.int32()), pa.field("time", pa.float64()), *values])
        self._measurements = pq.ParquetWriter(folder / MEASUREMENTS, schema, compression="zstd")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._measurements.close()

    def add(self, block: CaseBlock) -> None:
        """Take the next cases, and write the row groups that they fill."""
        for case in block.items:
            if self._waiting and (self._rows + len(case.times)) * len(self._names) > GROUP_VALUES:
                self._write_group()
            self._waiting.append(case)
            self._rows += len(case.times)
            for name in case.static.keys() - self._static.keys():
                self._static[name] = array("d", [np.nan]) * len(self._ids)
            for name, column in self._static.items():
                column.append(case.static.get(name, np.nan))
            self._ids.append(case.case_id)
            self._patients.append(case.patient_id)
        self._labels.extend(int(label) for label in block.labels)
        for name, group in block.groups.items():
            self._groups.setdefault(name, []).extend(group)
        for name, probabilities in block.reference_probabilities.items():
            self._references.setdefault(name, array("d")).extend(probabilities)

    def finish(self, provenance: Provenance) -> None:
        """Write what is left, and the other files."""
        if self._waiting:
            self._write_group()
        listed = self._stream.static_names
        table: dict[str, Any] = {"case_id": _texts(self._ids), "patient_id": _texts(self._patients)}
        for name in (*listed, *sorted(self._static.keys() - set(listed))):
            table[f"static:{name}"] = np.array(self._static[name])
        for name, group in self._groups.items():
            table[f"{GROUP}{name}"] = _texts(group)
        pq.write_table(pa.table(table), self._folder / CASES)

        labels: dict[str, Any] = {"case_id": _texts(self._ids), "label": np.array(self._labels, dtype=np.int8)}
        for name, probabilities in self._references.items():
            labels[f"{REFERENCE}{name}"] = np.array(probabilities)
        pq.write_table(pa.table(labels), self._folder / LABELS)

        facts = {
            "features": [dataclasses.asdict(feature) for feature in self._stream.features],
            "static_names": list(listed),
            "task": dataclasses.asdict(self._stream.task),
            "provenance": dataclasses.asdict(provenance),
        }
        (self._folder / FACTS).write_text(json.dumps(facts, indent=1, sort_keys=True))

    def _write_group(self) -> None:
        cases, self._waiting, self._rows = self._waiting, [], 0
        first = len(self._ids) - len(cases)
        owner = np.repeat(np.arange(first, first + len(cases), dtype=np.int32), [len(case.times) for case in cases])
        times = np.concatenate([case.times for case in cases]).astype(np.float64, copy=False)
        values = np.concatenate([case.values_in_order(self._names) for case in cases])  # (rows, F)
        columns = [owner, times, *values.astype(np.float32, copy=False).T]
        table = pa.table([pa.array(column) for column in columns], schema=self._measurements.schema)
        self._measurements.write_table(table, row_group_size=max(1, len(owner)))


def _texts(values: list[str]) -> pa.Array:
    return pa.array(values, pa.string())
