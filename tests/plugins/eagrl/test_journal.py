"""An interrupted search is continued on its journal: the same result, and nothing written twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eagbench.api import Sampling
from eagbench_plugins.eagrl.journal import JournaledModel
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from tests.plugins.eagrl.scripted import ScriptedModel, make_task, probability_reward
from tests.plugins.eagrl.test_simple_searches import answer, read

SAMPLING = Sampling(40, temperature=1.0)


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


@pytest.mark.parametrize("calls", [0, 1, 3])
@pytest.mark.parametrize("cut", [0, 5])
def test_a_resumed_search_equals_an_unbroken_one_and_asks_only_for_what_is_missing(
    tmp_path: Path, calls: int, cut: int
) -> None:
    search = BestOfN(BestOfN.Params())
    tasks = [make_task(name, probability_reward) for name in ("x", "y")]
    unbroken = ScriptedModel(answer)
    expected = search.run(unbroken, tasks, read, 300, 7)
    assert len(unbroken.calls) > 4
    path = tmp_path / "journal"
    with JournaledModel(DiesAfter(calls), path) as journaled, pytest.raises(KilledError):
        search.run(journaled, tasks, read, 300, 7)
    if cut and calls:
        path.write_bytes(path.read_bytes()[:-cut])  # the kill came in the middle of a line
    rest = ScriptedModel(answer)
    with JournaledModel(rest, path) as journaled:
        assert search.run(journaled, tasks, read, 300, 7) == expected
        known = max(0, calls - (1 if cut else 0))
        assert journaled.replayed == known
    assert len(rest.calls) == len(unbroken.calls) - known
    with JournaledModel(DiesAfter(0), path) as journaled:
        assert search.run(journaled, tasks, read, 300, 7) == expected


def test_every_part_of_a_call_tells_it_from_others(tmp_path: Path) -> None:
    model = ScriptedModel(answer)
    with JournaledModel(model, tmp_path / "journal") as journaled:
        calls = [
            (["a"], SAMPLING, 0, None),
            (["b"], SAMPLING, 0, None),
            (["a"], SAMPLING, 1, None),
            (["a"], Sampling(40), 0, None),
            (["a"], SAMPLING, 0, ["begun"]),
            (["a", "a"], SAMPLING, 0, None),
        ]
        for call in calls:
            journaled.generate(*call)
        assert len(model.calls) == len(calls)
    with JournaledModel(model, tmp_path / "journal") as journaled:
        for call in calls:
            assert journaled.generate(*call) == ScriptedModel(answer).generate(*call)
        assert len(model.calls) == len(calls)


def test_probabilities_come_back_to_the_last_bit(tmp_path: Path) -> None:
    asked = (["p", "q"], ["w", "w"], ["0.1", "0.2", "0.3"])
    with JournaledModel(ScriptedModel(answer), tmp_path / "journal") as journaled:
        first = journaled.continuation_probabilities(*asked)
    with JournaledModel(ScriptedModel(answer), tmp_path / "journal") as journaled:
        np.testing.assert_array_equal(journaled.continuation_probabilities(*asked), first)
        assert journaled.replayed == 1
