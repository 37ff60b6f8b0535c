"""Answers about changed records: whose series come in, what is like a cited feature, and what is asked of a method."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.contracts.answers import Prediction
from eagbench.contracts.records import Case, Cases
from eagbench.contracts.rereading import AGAIN, AS_IS, READINGS, REREAD_COLUMNS
from eagbench.contracts.stages import StageRun
from eagbench.stages.reread import ANSWERS, BASELINE, DONORS, REREAD_FILE, by_expert, by_method, matched_control
from eagbench.stages.salience import GlobalImportance, frequency_baseline
from eagbench.stages.series_donors import SeriesDonors, remove
from tests.builders import make_case, make_cohort_cases
from tests.conftest import Finished

NAN = float("nan")
NAMES = ("a", "b", "c", "d")


def series(case: Case, name: str) -> dict[float, float]:
    column = case.values[:, case.features.index(name)]
    return {float(t): float(v) for t, v in zip(case.times, column, strict=True) if not np.isnan(v)}


def test_a_swap_takes_the_whole_series_with_its_times_and_leaves_all_else() -> None:
    case = make_case({"a": [1, 2, NAN], "b": [NAN, 5, NAN], "c": [NAN, NAN, 7]}, [0, 3, 6], "own")
    donor = make_case({"a": [8, 9], "b": [NAN, NAN], "c": [3, NAN]}, [3, 4], "other")
    swapped = SeriesDonors.drawn(make_cohort_cases([donor], ("a", "b", "c")), 0).swap(case, ["a"], 0)
    assert series(swapped, "a") == {3: 8, 4: 9}
    assert series(swapped, "b") == {3: 5}
    assert series(swapped, "c") == {6: 7}
    assert swapped.times.tolist() == [3, 4, 6]  # nothing was measured at 0 but the series that went
    assert (swapped.case_id, swapped.patient_id, swapped.static) == ("own", "own", case.static)


def test_one_patient_in_whom_all_were_measured_gives_them_and_else_the_one_with_most() -> None:
    case = make_case({"a": [0], "b": [0], "c": [0], "d": [0]})
    some = [make_case({"a": [1], "b": [NAN], "c": [NAN], "d": [NAN]}, case_id="x")] * 5
    whole = make_case({"a": [2], "b": [2], "c": [2], "d": [NAN]}, case_id="y")
    donors = SeriesDonors.drawn(make_cohort_cases([*some, whole], NAMES), 0)
    for seed in range(5):
        assert donors.swap(case, ["a", "b"], seed).values.tolist() == [[2, 2, 0, 0]]
        # Nobody was measured in d, which stays.
        assert donors.swap(case, ["a", "b", "c", "d"], seed).values.tolist() == [[2, 2, 2, 0]]
    second = make_case({"a": [NAN], "b": [NAN], "c": [NAN], "d": [4]}, case_id="z")
    donors = SeriesDonors.drawn(make_cohort_cases([second, *some, whole], NAMES), 0)
    assert donors.swap(case, NAMES, 1).values.tolist() == [[2, 2, 2, 4]]


def test_donors_differ_between_seeds_and_not_within_one() -> None:
    case = make_case({"a": [0], "b": [0]})
    donors = SeriesDonors.drawn(
        make_cohort_cases([make_case({"a": [i], "b": [i]}, case_id=str(i)) for i in range(1, 40)], ("a", "b")), 0
    )
    both = [donors.swap(case, ["a"], seed).values[0, 0] for seed in range(20)]
    assert len(set(both)) > 5
    assert both == [donors.swap(case, ["b"], seed).values[0, 1] for seed in range(20)]


def test_removal_takes_times_along_unless_nothing_is_left() -> None:
    case = make_case({"a": [1, NAN, NAN], "b": [NAN, 2, NAN]}, [0, 1, 2])
    assert remove(case, ["a"]).times.tolist() == [1, 2]  # an empty time stays, as it was
    bare = remove(make_case({"a": [1, 3]}, [0, 1]), ["a"])
    assert bare.observed() == ()
    assert bare.times.tolist() == [0, 1]


def test_a_control_is_as_long_uncited_measured_and_of_like_importance() -> None:
    importance = {"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}
    assert matched_control(["b"], NAMES, importance) == {"c"}
    assert matched_control(["c"], ["a", "c", "d"], importance) == {"d"}
    assert matched_control(["a", "d"], NAMES, importance) == {"b", "c"}
    assert matched_control(["a", "b", "c"], NAMES, importance) == {"d"}
    assert matched_control([], NAMES, importance) == frozenset()


class Weighs:
    """An expert whose weights are the last values, and whose probability is that of `a` alone."""

    asked: Sequence[tuple[str, ...]]

    @classmethod
    def load(cls, params: object, folder: object) -> Weighs:
        return cls()

    def salience(self, cases: Cases) -> np.ndarray:
        values = np.stack([np.nan_to_num(case.values_in_order(cases.feature_names)[-1]) for case in cases])
        return values / values.sum(axis=1, keepdims=True)

    def predict(self, cases: Cases) -> np.ndarray:
        return np.array([np.nan_to_num(case.values_in_order(("a",))).sum() / 10 for case in cases])


class ReadsA:
    """A method that answers with `a`, and can't answer about a record without it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def predict(self, cases: Cases, run: StageRun) -> list[Prediction]:
        assert run.params["answer"] == {"mode": "expectation"}
        assert set(run.inputs) == {"policy", "cases"}
        self.asked.append(list(cases.case_ids))
        found = [series(case, "a") for case in cases]
        return [
            Prediction(case.case_id, max(of_case.values()) / 10 if of_case else None, "expectation")
            for case, of_case in zip(cases, found, strict=True)
        ]


def importance(folder: Path) -> Path:
    folder.mkdir()
    rows = [make_case(dict(zip(NAMES, [[v] for v in row], strict=True))) for row in ([4, 3, 2, 1], [4, 3, 1, 2])]
    run = StageRun({"k": 2}, {"cases": make_cohort_cases(rows, NAMES), "expert": folder}, 0, folder, component=Weighs())
    frequency_baseline(run)
    return folder


def held_out() -> Cases:
    first = make_case({"a": [1], "b": [1], "c": [1], "d": [NAN]}, case_id="p")
    second = make_case({"a": [2], "b": [NAN], "c": [1], "d": [1]}, case_id="q")
    return make_cohort_cases([first, second], NAMES)


DONOR = make_cohort_cases([make_case({"a": [9], "b": [9], "c": [9], "d": [9]}, case_id="t")], NAMES)


def reread(folder: Path, cited: Mapping[str, Sequence[str] | None], method: object) -> dict[str, list[float | None]]:
    answers, out = folder / "answers", folder / "out"
    answers.mkdir()
    out.mkdir()
    pq.write_table(
        pa.table({"case_id": list(cited), "cited_features": list(cited.values())}), answers / "predictions.parquet"
    )
    inputs = {
        "policy": folder,
        "cases": held_out(),
        ANSWERS: answers,
        DONORS: DONOR,
        BASELINE: importance(folder / "b"),
    }
    params = {"readings": list(REREAD_COLUMNS), "record_seed": 0, "answer": {"mode": "expectation"}}
    by_method(StageRun(params, inputs, 0, out, component=method))
    table = pq.read_table(out / REREAD_FILE).to_pydict()
    assert table.pop("case_id") == ["p", "q"]
    return table


def test_a_method_is_asked_about_what_it_cited_what_is_like_it_and_the_baseline(tmp_path: Path) -> None:
    method = ReadsA()
    found = reread(tmp_path, {"p": ["a"], "q": ["c", "b"]}, method)  # b was not measured in q
    assert found[AS_IS] == found[AGAIN] == [0.1, 0.2]
    assert ["q", "p"] in method.asked
    assert found["reread_swapped_cited"] == [0.9, 0.2]
    assert found["reread_swapped_all_but_cited"] == [0.1, 0.9]
    # b is nearest to a in importance, and d to c.
    assert found["reread_swapped_control"] == [0.1, 0.2]
    assert found["reread_swapped_all_but_control"] == [0.9, 0.9]
    assert found["reread_swapped_baseline"] == [0.9, 0.9]
    assert found["reread_removed_cited"] == [None, 0.2]
    assert found["reread_removed_all_but_cited"] == [0.1, None]


def test_a_method_that_cites_nothing_by_construction_is_not_asked(tmp_path: Path) -> None:
    method = ReadsA()
    found = reread(tmp_path, {"p": None, "q": None}, method)
    assert method.asked == []
    assert set(found) == set(REREAD_COLUMNS)
    assert all(values == [None, None] for values in found.values())


def test_an_answer_without_a_citation_moves_nothing(tmp_path: Path) -> None:
    found = reread(tmp_path, {"p": [], "q": None} | {"q": ["a"]}, ReadsA())
    for name, reading in READINGS.items():
        if not reading.all_but:
            assert found[name][0] == 0.1


def test_an_expert_is_asked_about_its_own_weights(tmp_path: Path) -> None:
    inputs = {"expert": tmp_path, "cases": held_out(), ANSWERS: tmp_path, DONORS: DONOR,
              BASELINE: importance(tmp_path / "b")}  # fmt: skip
    readings = [AS_IS, "reread_swapped_cited", "reread_swapped_all_but_cited"]
    run = StageRun({"readings": readings, "record_seed": 0, "k": 1}, inputs, 0, tmp_path, component=Weighs())
    by_expert(run)
    found = pq.read_table(tmp_path / REREAD_FILE).to_pydict()
    assert found["reread_as_is"] == pytest.approx([0.1, 0.2])
    assert found["reread_swapped_cited"] == pytest.approx([0.9, 0.9])  # a is first of equals, and heaviest
    assert found["reread_swapped_all_but_cited"] == pytest.approx([0.1, 0.2])


def test_the_baseline_is_refilled_with_the_next_most_frequent(tmp_path: Path) -> None:
    found = GlobalImportance.read(importance(tmp_path / "b"))
    assert found.ranking == NAMES  # a and b on top twice, then c and d by their mean weight, which is equal
    assert found.refilled(["d", "b", "c"], 2) == ("b", "c")
    assert found.refilled(["d"], 2) == ("d",)


RUN = """\
name: reread
data: {{name: physionet2012, root: {root}}}
reference_expert: logistic_regression
methods: [logistic_regression]
conditions: [clean, {{name: missing_values, severity: [0.3]}}]
metrics: [auroc, citation_comprehensiveness, citation_comprehensiveness_over_baseline, citation_reread_noise]
intervals: {{resamples: 100}}
"""


def test_a_run_that_asks_again_is_verified_from_its_folder(
    cli: Callable[..., Finished], physionet_root: Path, tmp_path: Path
) -> None:
    benchmark, run = tmp_path / "reread.yaml", tmp_path / "run"
    benchmark.write_text(RUN.format(root=physionet_root))
    finished = cli("run", benchmark, "--out", run)
    assert finished.code == 0, finished.err
    with (run / "results.csv").open() as stream:
        rows = {(row["condition"], row["metric"]): row for row in csv.DictReader(stream) if row["seed"] == "0"}
    assert float(rows["clean", "citation_comprehensiveness"]["value"]) > 0
    assert float(rows["clean", "citation_reread_noise"]["value"]) == 0
    # A perturbed record is not asked about again.
    assert rows["missing_values", "citation_comprehensiveness"]["status"] == "undefined"
    answers = (
        pq.read_table(run / "predictions" / "logistic_regression.parquet").to_pandas().query("condition == 'clean'")
    )
    moved = (answers["reread_swapped_cited"] - answers["reread_as_is"]).abs().mean()
    assert float(rows["clean", "citation_comprehensiveness"]["value"]) == pytest.approx(moved)
    verified = cli("verify", run)
    assert verified.code == 0, verified.err
