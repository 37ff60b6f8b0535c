"""Cohorts are written block by block: in row groups of whole cases, the same whatever the blocks."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from eagbench.api import (
    Case,
    CaseBlock,
    Cohort,
    CohortStream,
    DatasetTraits,
    Provenance,
    ResultTimes,
    StageRun,
    UserError,
)
from eagbench.contracts.rules import ContractError
from eagbench.stages import cohort_writer
from eagbench.stages.cohort import load, open_cohort, read_cohort
from eagbench.stages.cohort_files import read_stored, write_cohort
from eagbench.testing.cases import content
from tests.builders import TASK, make_case, make_cohort_cases

ENDS = (3, 0, 5, 1, 8, 2, 2)
LATE = {"lactate": ResultTimes(9, 2, 2, 1, (0.5, 2.0, 3.5)), "sodium": ResultTimes(1, 0, 0, 1, None)}
FACTS = Provenance("made", "open", "none", False, 9, (("too young", 2),), result_times=LATE)


def case(number: int, rows: int, **static: float) -> Case:
    rng = np.random.default_rng(number)
    values = {name: rng.normal(size=rows) for name in ("a", "b")}
    return make_case(values, case_id=f"c{number}", static={"age": 50.0 + number, "sex": 1.0, **static})  # type: ignore[arg-type]


def items() -> list[Case]:
    made = [case(number, rows) for number, rows in enumerate(ENDS)]
    made[3] = case(3, ENDS[3], score=7.0)
    return made


def whole() -> Cohort:
    n = len(ENDS)
    return Cohort(
        cases=make_cohort_cases(items(), ["a", "b"]),
        labels=np.arange(n) % 2,
        provenance=FACTS,
        groups={"unit": tuple("xyxyxyx")},
        reference_probabilities={"oracle": np.linspace(0, 1, n)},
    )


def blocks(cohort: Cohort, ends: Sequence[int], last: Any = FACTS) -> Generator[CaseBlock, None, Any]:
    start = 0
    for end in ends:
        yield CaseBlock(
            tuple(cohort.cases)[start:end],
            cohort.labels[start:end],
            {name: group[start:end] for name, group in cohort.groups.items()},
            {name: column[start:end] for name, column in cohort.reference_probabilities.items()},
        )
        start = end
    return last


def streamed(cohort: Cohort, ends: Sequence[int], last: Any = FACTS) -> CohortStream:
    cases = cohort.cases
    return CohortStream(cases.features, cases.static_names, cases.task, blocks(cohort, ends, last))


def stage(folder: Path, found: Any, unknown: tuple[str, ...] = ()) -> StageRun:
    folder.mkdir(exist_ok=True)
    dataset = SimpleNamespace(load=lambda run: found, traits=DatasetTraits(unknown=unknown))
    return StageRun({}, {}, 0, folder, component=dataset)


def assert_equal(found: Cohort, expected: Cohort) -> None:
    assert content(found.cases) == content(expected.cases)
    assert (found.cases.features, found.cases.task) == (expected.cases.features, expected.cases.task)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert (found.groups, found.provenance) == (expected.groups, expected.provenance)


@pytest.mark.parametrize("ends", [[7], [1, 2, 3, 4, 5, 6, 7], [0, 4, 4, 7]])
def test_the_files_do_not_depend_on_the_blocks(
    tmp_path: Path, ends: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohort_writer, "GROUP_VALUES", 16)
    load(stage(tmp_path / "stream", streamed(whole(), ends)))
    load(stage(tmp_path / "whole", whole()))
    for name in ("cases.parquet", "measurements.parquet", "labels.parquet", "cohort.json"):
        assert (tmp_path / "stream" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_cohort(whole(), tmp_path)
    stored = read_stored(tmp_path)
    np.testing.assert_array_equal(stored.labels, whole().labels)
    assert stored.groups == whole().groups
    assert stored.provenance == FACTS
    for found, expected in zip(stored.cases, whole().cases, strict=True):
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.times, expected.times)
    # A fact that one case alone has is unknown for the others.
    assert [found.static["score"] for found in stored.cases][3] == 7.0
    assert np.isnan([found.static["score"] for found in stored.cases]).sum() == len(ENDS) - 1


def test_row_groups_hold_whole_cases_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_writer, "GROUP_VALUES", 16)  # 8 rows of 2 features
    write_cohort(whole(), tmp_path)
    file = pq.ParquetFile(tmp_path / "measurements.parquet")
    groups = [file.read_row_group(i, columns=["case"])["case"].to_pylist() for i in range(file.num_row_groups)]
    assert groups == [[0] * 3 + [2] * 5, [3], [4] * 8, [5] * 2 + [6] * 2]
    for i, group in enumerate(groups):
        statistics = file.metadata.row_group(i).column(0).statistics
        assert (statistics.min, statistics.max) == (group[0], group[-1])


def test_a_case_larger_than_a_row_group_is_one_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_writer, "GROUP_VALUES", 1)
    write_cohort(whole(), tmp_path)
    file = pq.ParquetFile(tmp_path / "measurements.parquet")
    rows = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert [n for n in rows if n] == [n for n in ENDS if n]


def test_a_stream_collects_into_the_whole() -> None:
    assert_equal(streamed(whole(), [2, 7]).collect(), whole())
    assert_equal(CohortStream.of(whole()).collect(), whole())


def test_a_stream_is_read_once_and_ends_with_its_provenance(tmp_path: Path) -> None:
    stream = streamed(whole(), [7])
    stream.collect()
    with pytest.raises(TypeError, match="can be read once"):
        stream.collect()
    with pytest.raises(TypeError, match=r"end with `return Provenance\(...\)`"):
        load(stage(tmp_path / "s", streamed(whole(), [7], last=None)))


def test_a_loader_that_returns_something_else_breaks_its_contract(tmp_path: Path) -> None:
    run = stage(tmp_path / "s", [1, 2])
    with pytest.raises(ContractError, match="a Cohort or a CohortStream, not list"):
        open_cohort(run.component, run)


def test_both_shapes_are_read_into_memory(tmp_path: Path) -> None:
    for found in (whole(), streamed(whole(), [1, 7])):
        run = stage(tmp_path / "s", found)
        assert_equal(read_cohort(run.component, run), whole())


def test_each_block_is_checked(tmp_path: Path) -> None:
    wrong = whole()
    with pytest.raises(ContractError, match="a label is 0 or 1"):
        load(stage(tmp_path / "a", streamed(Cohort(wrong.cases, np.full(7, 2), FACTS), [3, 7])))
    late = make_case({"a": [1.0], "b": [1.0]}, times=[TASK.window_hours + 1], case_id="late")
    cases = make_cohort_cases([*items(), late], ["a", "b"])
    with pytest.raises(ContractError, match="case late has times after the window"):
        load(stage(tmp_path / "b", streamed(Cohort(cases, np.zeros(8, dtype=np.int64), FACTS), [7, 8])))


def test_an_id_in_two_blocks_is_refused(tmp_path: Path) -> None:
    cases = make_cohort_cases([*items(), items()[0]], ["a", "b"])
    with pytest.raises(UserError, match="case ids occur more than once"):
        load(stage(tmp_path / "s", streamed(Cohort(cases, np.zeros(8, dtype=np.int64), FACTS), [7, 8])))


def test_an_empty_stream_says_what_was_left_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the cohort is empty: 9 patients read, cases left out: 2 too young"):
        load(stage(tmp_path / "s", streamed(whole(), [])))


def test_a_fact_unknown_in_all_blocks_is_refused_unless_declared(tmp_path: Path) -> None:
    nowhere = [make_case({"a": [1.0], "b": [1.0]}, case_id=f"c{i}", static={"age": np.nan, "sex": 1.0}) for i in (0, 1)]
    cohort = Cohort(make_cohort_cases(nowhere, ["a", "b"]), np.array([0, 1]), FACTS)
    with pytest.raises(UserError, match="age is unknown for all 2 cases"):
        load(stage(tmp_path / "a", streamed(cohort, [1, 2])))
    load(stage(tmp_path / "b", streamed(cohort, [1, 2]), unknown=("age",)))
    known = [nowhere[0], make_case({"a": [1.0], "b": [1.0]}, case_id="c9")]
    load(stage(tmp_path / "c", streamed(Cohort(make_cohort_cases(known, ["a", "b"]), np.array([0, 1]), FACTS), [1, 2])))
