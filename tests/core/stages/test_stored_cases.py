"""Stored cases are read in partitions: the same cases in any order, and no more memory for a larger cohort."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.contracts import block_sequence
from eagbench.contracts.records import Case, Cases, Cohort, LabelledCases, Provenance, TrainingData
from eagbench.contracts.traits import PerturbationTraits, traits_of
from eagbench.execution.resolve import _perturbed
from eagbench.registry.plugins import load_registry
from eagbench.stages.cohort_files import read_cases, read_static, write_cohort
from eagbench.testing.cases import content, labelled_cases, odd_cases

PROVENANCE = Provenance("made", "open", "none", patient_is_stay=True, n_patients_read=1)


def store(cases: Cases, folder: Path, rows: int | None) -> Cases:
    """Write a cohort with row groups of so many rows, or of whole cases, 7 each."""
    folder.mkdir()
    write_cohort(Cohort(cases, np.arange(len(cases)) % 2, PROVENANCE), folder)
    path = folder / "measurements.parquet"
    table = pq.read_table(path)
    if rows is not None:
        pq.write_table(table, path, row_group_size=rows)
        return read_cases(folder)
    owner = table["case"].to_numpy()
    with pq.ParquetWriter(path, table.schema) as writer:
        for start in range(0, len(cases), 7):
            of_group = table.filter(pa.array((owner >= start) & (owner < start + 7)))
            writer.write_table(of_group, row_group_size=max(1, len(of_group)))
    return read_cases(folder)


def _later(_: range, some: Sequence[Case]) -> list[Case]:
    return [replace(case, times=case.times + 1) for case in some]


@pytest.fixture
def cases() -> Cases:
    """Ordinary cases, with some without a time at the beginning, within and at the end."""
    ordinary, odd = labelled_cases(40).cases, odd_cases()
    empty = replace(odd[0], case_id="empty", patient_id="empty")
    return ordinary.with_items(
        [odd[0], *ordinary[:20], *odd[1:], empty, *ordinary[20:], replace(empty, case_id="last")]
    )


@pytest.mark.parametrize("kept", [2**30, 60_000, 1])  # all cases, some of them, none
@pytest.mark.parametrize("rows", [None, 1, 3, 5, 50, 1_000_000])
def test_cases_are_the_same_whatever_the_row_groups(
    cases: Cases, tmp_path: Path, rows: int | None, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_sequence, "KEPT_BYTES", kept)
    stored = store(cases, tmp_path / "cohort", rows)
    assert (stored.features, stored.static_names, stored.task) == (cases.features, cases.static_names, cases.task)
    assert (stored.case_ids, stored.patient_ids) == (cases.case_ids, cases.patient_ids)
    assert content(stored) == content(cases)
    assert content([case for part in stored.partitions() for case in part]) == content(cases)
    order = np.random.default_rng(0).permutation(len(cases))
    assert content([stored[int(i)] for i in order]) == content([cases[int(i)] for i in order])
    assert content(stored.select(order)) == content(cases.select(order))
    assert content(stored.select(order).select([3, -1])) == content(cases.select(order).select([3, -1]))
    assert content(stored[5:12]) == content(cases[5:12])
    part, expected = stored.select(range(3, 40, 4)), cases.select(range(3, 40, 4))
    assert content(part.changed(_later)) == content(expected.changed(_later))
    assert content([part.changed(_later)[i] for i in (5, 0, -1)]) == content(
        [expected.changed(_later)[i] for i in (5, 0, -1)]
    )
    assert content(pickle.loads(pickle.dumps(stored))) == content(cases)


def test_a_cohort_without_a_measurement_or_a_case(cases: Cases, tmp_path: Path) -> None:
    empty = cases.with_items([cases[0], cases[-1]])
    assert content(store(empty, tmp_path / "empty", None)) == content(empty)
    nobody = store(cases.with_items([]), tmp_path / "nobody", 10)
    assert list(nobody) == []
    assert [len(part) for part in nobody.partitions()] == [0]
    assert nobody.select([]).case_ids == ()


def test_static_facts_are_read_without_the_records(cases: Cases, tmp_path: Path) -> None:
    stored = store(cases, tmp_path / "cohort", 9)
    (tmp_path / "cohort" / "measurements.parquet").unlink()
    ages = read_static(tmp_path / "cohort", "age")
    assert list(ages) == list(stored.case_ids)
    np.testing.assert_array_equal(list(ages.values()), [case.static["age"] for case in cases])


def test_memory_does_not_grow_with_the_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_sequence, "KEPT_BYTES", 200_000)

    def peak(n_cases: int) -> int:
        stored = store(labelled_cases(n_cases).cases, tmp_path / str(n_cases), 400)
        changed = stored.select(np.arange(0, n_cases, 2)).changed(
            lambda _, some: [replace(case, values=case.values + 1) for case in some]
        )
        block_sequence._KEPT.forget()
        tracemalloc.start()
        assert sum(1 for _ in changed) == n_cases // 2
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    small, large = peak(1500), peak(6000)
    assert large < 1.3 * small
    assert large < 2_000_000  # all of them are some 12 MB of objects
    block_sequence._KEPT.forget()


def test_every_perturbation_changes_stored_cases_as_it_changes_cases_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_sequence, "KEPT_BYTES", 1)
    memory = labelled_cases(40).cases
    stored = store(memory, tmp_path / "cohort", 11)
    registry = load_registry()
    n_changed = 0
    for name in registry.names("perturbation"):
        try:
            perturbation = registry.create("perturbation", name, {})
        except Exception:  # noqa: BLE001 - it has parameters that it needs
            continue
        severity = traits_of(perturbation, PerturbationTraits).levels[1]
        params = json.dumps({})
        expected = _perturbed(memory, memory, name, params, severity, 3)
        found = _perturbed(stored, stored, name, params, severity, 3)
        assert content(found) == content(expected), name
        n_changed += content(found) != content(memory)
    assert n_changed > 10


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("lightgbm", {"n_estimators": 20}),
        ("logistic_regression", {}),
        ("gru", {"epochs": 2, "hidden_dim": 4}),
        ("gru_d", {"epochs": 2, "hidden_dim": 4}),
    ],
)
def test_experts_learn_and_answer_the_same_from_partitions(
    name: str, params: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eagbench.contracts.stages import StageRun

    monkeypatch.setattr(block_sequence, "KEPT_BYTES", 1)
    whole = labelled_cases(260)
    stored = store(whole.cases, tmp_path / "cohort", 90)
    files: list[dict[str, bytes]] = []
    answers: list[bytes] = []
    for side, cases in (("memory", whole.cases), ("stored", stored)):
        labelled = LabelledCases(cases, whole.labels)
        data = TrainingData(labelled.select(np.arange(0, 150)), labelled.select(np.arange(150, 200)))
        asked: Cases = cases.select(np.arange(200, 260))
        folder = tmp_path / side
        folder.mkdir()
        expert = load_registry().create("expert", name, params)
        expert.fit(data, StageRun(params={}, inputs={}, seed=1, out=folder))
        saved = tmp_path / f"{side}_saved"
        saved.mkdir()
        expert.save(saved)
        files.append({path.name: path.read_bytes() for path in sorted(saved.iterdir())})
        answers.append(expert.predict(asked).tobytes() + expert.salience(asked).tobytes())
    assert files[0] == files[1]
    assert answers[0] == answers[1]


def test_a_kept_case_does_not_keep_its_partition(tmp_path: Path) -> None:
    stored = store(labelled_cases(50).cases, tmp_path / "cohort", 1000)
    case: Case = stored[7]
    assert case.values.base is not None  # the read-only view of
    assert case.values.base.nbytes == case.values.nbytes
