"""What learnt answers aim at: the label or the expert, whatever the search found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import ANSWER_LEVELS, STYLES, FeatureVocabulary, question, read_answer, write_answer
from eagbench_plugins.eagrl.answer_targets import (
    answer_levels,
    answered,
    bare_answers,
    levels_around,
    with_answers,
    without_steps,
)
from eagbench_plugins.eagrl.distillation import Selection, balanced, select
from tests.plugins.eagrl.conftest import Prepared, stage_run

STYLE = STYLES["question_decomposition"]
LEVELS = [float(level) for level in ANSWER_LEVELS]


def trajectory(p: float | None, steps: list[tuple[str, str]], total: float = 0.0) -> dict:
    text = "nothing to read" if p is None else write_answer(STYLE, steps, ["lactate"], p, "How likely?")
    return {"text": text, "probability": p, "reward": {"total": total}}


def test_the_expert_s_level_is_the_nearest_that_can_be_written(prepared: Prepared, tmp_path: Path) -> None:
    train = prepared.training.train
    probability = np.linspace(0, 1, len(train.cases))
    table = pa.table({"case_id": list(train.cases.case_ids), "probability": probability})
    pq.write_table(table, tmp_path / "salience.parquet")
    levels = answer_levels("expert", train, stage_run(tmp_path / "out", {"salience": tmp_path}, {"levels": LEVELS}))
    assert levels[train.cases.case_ids[0]] == 0.05
    assert levels[train.cases.case_ids[-1]] == 0.95
    found = np.array([levels[case_id] for case_id in train.cases.case_ids])
    assert np.all(np.abs(found - np.clip(probability, 0.05, 0.95)) <= 0.025 + 1e-9)
    assert set(found) == {float(level) for level in ANSWER_LEVELS}


def test_only_the_answer_of_a_text_changes(prepared: Prepared) -> None:
    steps = [("What about <Final answer>?", "0.30 of what was seen")]
    found = [{"case_id": "a", "trajectories": [trajectory(0.3, steps), trajectory(None, [])]}]
    changed, unread = with_answers(found, {"a": 0.95}, STYLE)[0]["trajectories"]
    assert changed["text"] == write_answer(STYLE, steps, ["lactate"], 0.95, "How likely?")
    assert changed["probability"] == 0.95
    assert unread == trajectory(None, [])


@given(st.floats(0.05, 0.95), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_soft_levels_are_the_two_around_and_have_the_target_as_their_mean(aim: float, n: int, seed: int) -> None:
    levels = levels_around(aim, LEVELS, n, np.random.default_rng(seed))
    assert len(levels) == n
    assert all(abs(level - aim) <= 0.05 + 1e-9 for level in levels)
    assert len(set(levels)) <= 2
    assert abs(np.mean(levels) - aim) <= 0.05 / n + 1e-9


def test_over_many_cases_soft_levels_are_not_biased() -> None:
    rng = np.random.default_rng(0)
    drawn = [np.mean(levels_around(0.083, LEVELS, 8, rng)) for _ in range(4000)]
    assert np.mean(drawn) == pytest.approx(0.083, abs=0.0003)


def test_a_level_itself_and_a_target_beyond_all_levels_are_not_spread() -> None:
    rng = np.random.default_rng(0)
    assert levels_around(0.3, LEVELS, 4, rng) == [0.3] * 4
    assert levels_around(0.01, LEVELS, 4, rng) == [0.05] * 4
    assert levels_around(0.01, (0.01, *LEVELS), 4, rng) == [0.01] * 4
    assert levels_around(1.0, LEVELS, 4, rng) == [0.95] * 4


def test_the_probability_of_a_text_is_replaced_alone() -> None:
    text = write_answer(STYLE, [("How is lactate?", "0.30")], ["lactate"], 0.3, "How likely?")
    assert answered(text, 0.1, STYLE) == write_answer(
        STYLE, [("How is lactate?", "0.30")], ["lactate"], 0.1, "How likely?"
    )


def test_reasonings_that_differ_in_their_answer_alone_are_learnt_once() -> None:
    found = [
        {"case_id": "a", "trajectories": [trajectory(p, [("How?", "so")], total) for p, total in ((0.2, 1), (0.3, 0))]},
        {"case_id": "b", "trajectories": [trajectory(0.6, [("How?", "so")])]},
    ]
    rules = Selection(top_k=2, balance=False)
    assert len(select(found, {"a": 0, "b": 1}, rules)) == 3
    aimed = select(with_answers(found, {"a": 0.05, "b": 0.95}, STYLE), {"a": 0, "b": 1}, rules)
    assert [(item.case_id, item.probability) for item in aimed] == [("a", 0.05), ("b", 0.95)]


def test_without_steps_a_text_keeps_its_list_and_its_answer(prepared: Prepared) -> None:
    cases = prepared.training.train.cases
    whole = [
        {**trajectory(p, [("How is lactate?", said)], total), "steps": [["How is lactate?", said]]}
        for p, said, total in ((0.2, "high", 1.0), (0.2, "low", 0.5), (0.4, "low", 0.0))
    ]
    found = [{"case_id": "a", "trajectories": [{**t, "cited_features": ["lactate"]} for t in whole]}]
    [line] = without_steps([*found], cases, STYLE)
    vocabulary = FeatureVocabulary(cases.features)
    for before, after in zip(whole, line["trajectories"], strict=True):
        read = read_answer(STYLE, cases[0], after["text"], 9, vocabulary)
        assert (read.steps, read.cited_features, read.probability) == ((), ("lactate",), before["probability"])
        assert after["reward"] == before["reward"]
    # Texts that differed in their steps alone are learnt once.
    other = [{"case_id": "b", "trajectories": line["trajectories"][:1]}]
    assert len(select([line, *other], {"a": 0, "b": 1}, Selection(top_k=3, balance=False))) == 3
    unread = [{"case_id": "a", "trajectories": [trajectory(None, [])]}]
    assert without_steps(unread, cases, STYLE) == unread


def test_the_changed_text_is_read_back(prepared: Prepared) -> None:
    cases = prepared.training.train.cases
    [line] = with_answers([{"case_id": "a", "trajectories": [trajectory(0.4, [])]}], {"a": 0.15}, STYLE)
    text = line["trajectories"][0]["text"]
    assert read_answer(STYLE, cases[0], text, 9, FeatureVocabulary(cases.features)).probability == 0.15


def test_each_answer_is_written_once_without_its_reasoning(prepared: Prepared) -> None:
    cases = prepared.training.train.cases
    found = [
        {"case_id": "a", "trajectories": [trajectory(0.2, [("How?", word)]) for word in ("low", "high")]},
        {"case_id": "b", "trajectories": [trajectory(p, [("How?", "so")]) for p in (0.6, 0.9)]},
        {"case_id": "c", "trajectories": [trajectory(0.1, [("How?", "so")])]},
    ]
    selected = select(found, {"a": 0, "b": 1, "c": 0}, Selection(top_k=2))
    assert selected[-1] == selected[2]  # a repeat, for balance
    bare = bare_answers(selected, cases, STYLE)
    assert [(item.case_id, item.label, item.probability) for item in bare] == [
        ("a", 0, 0.2),
        ("b", 1, 0.6),
        ("b", 1, 0.9),
        ("c", 0, 0.1),
    ]
    assert {item.format_weight for item in bare} == {0.0}, "to leave out the reasoning is not learnt"
    assert {item.format_weight for item in selected} == {1.0}
    asked = question(cases.task)
    assert bare[0].text == f"<Final subquestion> {asked}<Important Features> <Final answer>0.20</Final answer>"
    read = read_answer(STYLE, cases[0], bare[0].text, 9, FeatureVocabulary(cases.features))
    assert (read.probability, read.steps, read.cited_features) == (0.2, (), ())
    assert balanced(bare) == bare
