"""An interrupted search is continued on its journals: the same result, nothing written twice, the same batches."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from eagbench.api import Sampling
from eagbench_plugins.eagrl.journal import JournaledModel, journal_path
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from tests.plugins.eagrl.scripted import ScriptedModel, make_task, probability_reward
from tests.plugins.eagrl.test_simple_searches import answer, read

SAMPLING = Sampling(40, temperature=1.0)
TASKS = [make_task(name, probability_reward) for name in ("x", "y")]


class KilledError(Exception):
    """Stands for a SIGKILL."""


class DiesAfter(ScriptedModel):
    """Writes a number of calls, then dies."""

    def __init__(self, calls: int) -> None:
        super().__init__(answer)
        self.left = calls

    def generate(self, *args, **kwargs):
        if not self.left:
            raise KilledError
        self.left -= 1
        return super().generate(*args, **kwargs)


def lines_of(folder: Path, case_id: str) -> list[bytes]:
    path = journal_path(folder, case_id)
    return path.read_bytes().split(b"\n")[:-1] if path.exists() else []


@pytest.mark.parametrize("calls", [0, 1, 3])
@pytest.mark.parametrize("damage", ["none", "cut line", "lost line"])
def test_a_resumed_search_equals_an_unbroken_one_and_asks_only_for_what_is_missing(
    tmp_path: Path, calls: int, damage: str
) -> None:
    search = BestOfN(BestOfN.Params())
    unbroken = ScriptedModel(answer)
    expected = search.run(JournaledModel(unbroken, TASKS, tmp_path / "unbroken"), TASKS, read, 300, 7)
    assert expected == search.run(ScriptedModel(answer), TASKS, read, 300, 7)
    assert len(unbroken.calls) > 4
    with pytest.raises(KilledError):
        search.run(JournaledModel(DiesAfter(calls), TASKS, tmp_path / "broken"), TASKS, read, 300, 7)
    last = journal_path(tmp_path / "broken", "y")  # the kill came while the last case of the call was noted
    whole_lines = lines_of(tmp_path / "broken", "y")
    if damage != "none" and whole_lines:
        cut = 5 if damage == "cut line" else len(whole_lines[-1]) + 1
        last.write_bytes(last.read_bytes()[:-cut])
    rest = ScriptedModel(answer)
    journaled = JournaledModel(rest, TASKS, tmp_path / "broken")
    assert search.run(journaled, TASKS, read, 300, 7) == expected
    # The rest is asked for in the very calls of the unbroken search, and the journals end as its do: nothing twice.
    known = max(0, calls - (damage != "none"))
    assert rest.calls == unbroken.calls[known:]
    for case_id in ("x", "y"):
        assert lines_of(tmp_path / "broken", case_id) == lines_of(tmp_path / "unbroken", case_id)
    finished = JournaledModel(DiesAfter(0), TASKS, tmp_path / "broken")
    assert search.run(finished, TASKS, read, 300, 7) == expected
    assert finished.replayed == len(unbroken.calls)


def test_a_line_of_a_case_holds_its_own_part_of_the_call(tmp_path: Path) -> None:
    journaled = JournaledModel(ScriptedModel(answer), TASKS, tmp_path)
    texts = journaled.generate(["x: ", "y: ", "x: "], SAMPLING, 0)
    journaled.generate(["y: "], SAMPLING, 1)
    journaled.generate(["y: \nIs it useful?"], SAMPLING, 1)  # a judgement belongs to the case it is about
    assert texts == ScriptedModel(answer).generate(["x: ", "y: ", "x: "], SAMPLING, 0)
    [(_, answers)] = map(json.loads, lines_of(tmp_path, "x"))
    assert answers == [[texts[0].text, texts[0].tokens], [texts[2].text, texts[2].tokens]]
    assert len(lines_of(tmp_path, "y")) == 3


@pytest.mark.parametrize(
    "other",
    [
        (["y: "], SAMPLING, 0, ["begun"]),
        (["y: "], SAMPLING, 1, None),
        (["y: "], Sampling(40), 0, None),
        (["y: ", "y: "], SAMPLING, 0, None),
        (["y: and more"], SAMPLING, 0, None),
    ],
)
def test_a_search_that_asks_something_else_than_before_is_no_function_of_its_arguments(tmp_path: Path, other) -> None:
    call = (["y: "], SAMPLING, 0, None)
    JournaledModel(ScriptedModel(answer), TASKS, tmp_path).generate(*call)
    with pytest.raises(ValueError, match="asks something else"):
        JournaledModel(ScriptedModel(answer), TASKS, tmp_path).generate(*other)
    again = JournaledModel(DiesAfter(0), TASKS, tmp_path).generate(*call)
    assert again == ScriptedModel(answer).generate(*call)


def test_cases_with_equal_prompts_keep_their_own_draws(tmp_path: Path) -> None:
    twins = [TASKS[0], dataclasses.replace(TASKS[1], prompt=TASKS[0].prompt)]
    search = BestOfN(BestOfN.Params())
    expected = search.run(ScriptedModel(answer), twins, read, 300, 7)
    assert [t.text for t in expected[0].trajectories] != [t.text for t in expected[1].trajectories]
    with pytest.raises(KilledError):
        search.run(JournaledModel(DiesAfter(2), twins, tmp_path), twins, read, 300, 7)
    assert search.run(JournaledModel(ScriptedModel(answer), twins, tmp_path), twins, read, 300, 7) == expected
    assert search.run(JournaledModel(DiesAfter(0), twins, tmp_path), twins, read, 300, 7) == expected


def test_what_a_case_holds_is_not_replaced_by_a_new_answer(tmp_path: Path) -> None:
    """The model may answer in other last bits, on a GPU; what was noted may have been built on."""
    JournaledModel(ScriptedModel(answer), TASKS, tmp_path).generate(["x: ", "y: "], SAMPLING, 0)
    noted = lines_of(tmp_path, "x")
    journal_path(tmp_path, "y").unlink()
    other = ScriptedModel(lambda text, draw: "something else")
    x, y = JournaledModel(other, TASKS, tmp_path).generate(["x: ", "y: "], SAMPLING, 0)
    assert x == ScriptedModel(answer).generate(["x: "], SAMPLING, 0)[0]
    assert y.text == "something else"
    assert lines_of(tmp_path, "x") == noted


@pytest.mark.parametrize("text", ["\u2028 \x85 \x1c", "\r\n\n", "ä \U0001f600", ""])
def test_any_text_comes_back_to_the_letter(tmp_path: Path, text: str) -> None:
    tasks = [make_task("a/../b\0 ", probability_reward)]
    first = JournaledModel(ScriptedModel(lambda *_: text), tasks, tmp_path).generate([tasks[0].prompt], SAMPLING, 0)
    assert JournaledModel(DiesAfter(0), tasks, tmp_path).generate([tasks[0].prompt], SAMPLING, 0) == first
    assert first[0].text == text


def test_probabilities_come_back_to_the_last_bit(tmp_path: Path) -> None:
    asked = (["x: ", "y: "], ["w", "w"], ["0.1", "0.2", "0.3"])
    first = JournaledModel(ScriptedModel(answer), TASKS, tmp_path).continuation_probabilities(*asked)
    journaled = JournaledModel(ScriptedModel(answer), TASKS, tmp_path)
    np.testing.assert_array_equal(journaled.continuation_probabilities(*asked), first)
    assert journaled.replayed == 1
