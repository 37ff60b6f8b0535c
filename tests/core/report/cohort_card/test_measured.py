"""Cohort cards go over the partitions of a stored cohort: the same numbers, without holding all cases."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from eagbench.contracts import block_sequence
from eagbench.contracts.records import Cases, Cohort, IntArray, Provenance
from eagbench.report.cohort_card.make import make_card
from eagbench.report.cohort_card.measured import Measured
from eagbench.stages.cohort_files import read_stored, write_cohort
from eagbench.testing.cases import labelled_cases

PROVENANCE = Provenance("made", "open", "none", patient_is_stay=True, n_patients_read=1)


def stored(cases: Cases, labels: IntArray, folder: Path, rows: int) -> Cohort:
    folder.mkdir()
    write_cohort(Cohort(cases, labels, PROVENANCE), folder)
    path = folder / "measurements.parquet"
    pq.write_table(pq.read_table(path), path, row_group_size=rows)
    return read_stored(folder)


def test_a_stored_cohort_has_the_card_of_one_in_memory(tmp_path: Path) -> None:
    made = labelled_cases(80)
    found = stored(made.cases, made.labels, tmp_path / "cohort", rows=50)
    assert len(list(found.cases.partitions())) > 3
    assert make_card("made", found) == make_card("made", Cohort(made.cases, made.labels, PROVENANCE))


def test_memory_hardly_grows_with_the_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_sequence, "KEPT_BYTES", 100_000)
    grown = []
    for n_cases in (500, 4000):
        cases = labelled_cases(n_cases).cases.changed(
            lambda _, some: [replace(case, values=case.values.round()) for case in some]
        )
        found = stored(cases, np.arange(n_cases) % 2, tmp_path / str(n_cases), rows=400)
        block_sequence._KEPT.forget()
        tracemalloc.start()
        Measured.of(found.cases)
        grown.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert grown[1] < 3 * grown[0], grown
