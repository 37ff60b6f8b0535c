"""Cases that are searched each in its own time end as cases searched in rounds, and wait for nobody."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from eagbench.api import Generation, SearchResult, WritesOn
from eagbench_plugins.eagrl.case_by_case import search_case_by_case
from eagbench_plugins.eagrl.searches.beam import Beam
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from eagbench_plugins.eagrl.searches.greedy import Greedy
from eagbench_plugins.eagrl.searches.mcts import MCTS, ExpertMCTS
from tests.plugins.eagrl.scripted import ScriptedModel
from tests.plugins.eagrl.test_mcts import reasoning, search_task, tree_search
from tests.plugins.eagrl.test_simple_searches import read

NAMES = [f"case {i}" for i in range(7)]
SEARCHES = {
    "greedy": Greedy(Greedy.Params()),
    "best_of_n": BestOfN(BestOfN.Params()),
    "beam": Beam(Beam.Params()),
    "mcts": tree_search(MCTS, self_evaluation=True),
    "expert_mcts": tree_search(ExpertMCTS, step_tokens=20),
}


class WritingOn(ScriptedModel):
    """Hands a request's texts over after as many steps as its longest text has tokens.

    Attributes:
        steps: Number of steps so far.
        forgot: How often it was told to forget.
    """

    writes_on = True

    def __init__(self, script: Any = reasoning) -> None:
        super().__init__(script)
        self.steps = self.forgot = 0
        self.open: dict[int, tuple[int, list[Generation]]] = {}

    def take_up(self, prompts: Any, sampling: Any, seed: int, written: Any = None) -> int:
        texts = self.generate(prompts, sampling, seed, written)
        self.open[len(self.calls)] = self.steps + max((text.tokens for text in texts), default=0), texts
        return len(self.calls)

    def write_on(self) -> dict[int, list[Generation]]:
        self.steps += 1
        finished = [number for number, (ready, _) in self.open.items() if ready <= self.steps]
        return {number: self.open.pop(number)[1] for number in finished}

    def forget(self) -> None:
        self.open.clear()
        self.forgot += 1


def searched(search: Any, model: Any = None, names: list[str] = NAMES, read: Any = read) -> list[SearchResult]:
    tasks = [search_task(name) for name in names]
    return search_case_by_case(search, model or WritingOn(), tasks, read, 300, 5)


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_each_case_gets_what_it_gets_among_others(name: str) -> None:
    search = SEARCHES[name]
    assert search.traits.case_by_case
    tasks = [search_task(name) for name in NAMES]
    assert searched(search) == search.run(ScriptedModel(reasoning), tasks, read, 300, 5)
    assert searched(search, names=[]) == []


def test_nobody_waits_for_the_longest_text_of_a_round() -> None:
    search = SEARCHES["expert_mcts"]
    together, alone = WritingOn(), []
    searched(search, together)
    for name in NAMES:
        alone.append(WritingOn())
        searched(search, alone[-1], [name])
    assert together.steps == max(model.steps for model in alone)


def test_equal_texts_give_an_equal_course() -> None:
    first, second = WritingOn(), WritingOn()
    assert isinstance(first, WritesOn)
    searched(SEARCHES["mcts"], first)
    searched(SEARCHES["mcts"], second)
    assert (first.calls, first.steps) == (second.calls, second.steps)
    assert first.forgot == 2  # before, so that nothing depends on what it read; behind, to free the memory


def test_all_that_may_compute_with_the_policy_runs_in_the_calling_thread() -> None:
    where = set()

    class Here(WritingOn):
        def continuation_probabilities(self, *args: Any) -> np.ndarray:
            where.add(threading.get_ident())
            return super().continuation_probabilities(*args)

    def noting(*args: Any) -> Any:
        where.add(threading.get_ident())
        return read(*args)

    searched(SEARCHES["mcts"], Here(), read=noting)
    assert where == {threading.get_ident()}


class Failing(WritingOn):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def write_on(self) -> dict[int, list[Generation]]:
        if self.steps == 10:
            raise self.error
        return super().write_on()


class FailingSearch:
    """Fails with its third case, behind its first text."""

    def run(self, model: Any, tasks: Any, read: Any, token_budget: int, seed: int) -> Any:
        result = SEARCHES["greedy"].run(model, tasks, read, token_budget, seed)
        if tasks[0].case.case_id == NAMES[2]:
            raise ValueError("the third case")
        return result


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no memory")])
def test_an_error_of_the_policy_ends_all_searches(error: BaseException) -> None:
    before = threading.active_count()
    model = Failing(error)
    with pytest.raises(type(error)):
        searched(SEARCHES["expert_mcts"], model)
    assert threading.active_count() == before
    assert not model.open


def test_an_error_of_a_search_or_of_reading_ends_all_others() -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match="the third case"):
        searched(FailingSearch())

    def unreadable(*args: Any) -> Any:
        raise ValueError("unreadable")

    with pytest.raises(ValueError, match="unreadable"):
        searched(SEARCHES["mcts"], read=unreadable)
    assert threading.active_count() == before
