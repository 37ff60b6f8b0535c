"""Steps that begin with the expert's features: which, how many, and what the policy still writes itself."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from eagbench.api import Generation, SearchResult
from eagbench_plugins.eagrl.searches.mcts import ExpertMCTS
from eagbench_plugins.eagrl.searches.proposals import Proposals, proposed_citations
from tests.plugins.eagrl.scripted import ScriptedModel
from tests.plugins.eagrl.test_mcts import read, search_task

BEGIN = "<Subquestion>"


def beginning(name: str) -> str:
    return f" What does the record say about {name}?<Answer>"


def test_the_experts_features_are_drawn_by_their_salience() -> None:
    propose = Proposals(search_task("a"), k=2, n=1)
    drawn = Counter(tuple(propose(BEGIN, seed)) for seed in range(2000))
    assert set(drawn) == {(beginning("alpha"),), (beginning("beta"),)}
    assert drawn[(beginning("alpha"),)] / 2000 == pytest.approx(0.7 / 0.9, abs=0.03)


def test_no_feature_is_asked_about_twice() -> None:
    propose = Proposals(search_task("a"), k=3, n=3)
    assert sorted(propose(BEGIN, 0)) == [beginning(name) for name in ("alpha", "beta", "gamma")]
    text = f"{BEGIN} how is alpha ?<Answer> high{BEGIN}"
    assert sorted(propose(text, 0)) == [beginning("beta"), beginning("gamma")]
    everything = f"{BEGIN} alpha, beta, gamma ?<Answer> high{BEGIN}"
    assert propose(everything, 0) == []


def test_the_final_answer_begins_with_nothing() -> None:
    assert Proposals(search_task("a"), k=3, n=3)("<Subquestion> x<Answer> y<Final subquestion>", 0) == []


def test_a_feature_without_salience_is_not_asked_about() -> None:
    task = search_task("a", salience={"alpha": 0.0, "beta": 0.4, "gamma": 0.0})
    assert Proposals(task, k=3, n=3)(BEGIN, 0) == [beginning("beta")]


def asks_about_gamma(text: str, draw: float) -> str:
    """A policy that knows the format, and always asks about the least important feature."""
    if text.endswith("<Answer>"):
        return f" noted {draw:.3f}<Final subquestion> q<Important Features> gamma<Final answer>0.50</Final answer>"
    if text.endswith("<Final subquestion>"):
        return " q<Important Features> gamma<Final answer>0.50</Final answer>"
    return f" how is gamma ?<Answer> noted {draw:.3f}<Final subquestion> q"


def asked(proposals: int, budget: int = 400) -> list[str]:
    search = ExpertMCTS(ExpertMCTS.Params(proposals=proposals))
    (found,) = search.run(ScriptedModel(asks_about_gamma), [search_task("a")], read, budget, 0)
    assert found.generated_tokens <= budget
    return [trajectory.steps[0][0].strip() for trajectory in found.trajectories if trajectory.steps]


def test_a_policy_that_asks_about_nothing_else_is_asked() -> None:
    assert set(asked(0)) == {"how is gamma ?"}
    assert "What does the record say about alpha?" in asked(2)
    assert "how is gamma ?" in asked(2), "a child of each node stays the policy's own"


class Counting(ScriptedModel):
    """Counts what it writes."""

    tokens = 0

    def generate(self, *args: Any, **kwargs: Any) -> list[Generation]:
        texts = super().generate(*args, **kwargs)
        self.tokens += sum(text.tokens for text in texts)
        return texts


def test_what_is_given_costs_no_tokens() -> None:
    model = Counting(asks_about_gamma)
    search = ExpertMCTS(ExpertMCTS.Params(proposals=3))
    (found,) = search.run(model, [search_task("a")], read, 400, 0)
    assert found.generated_tokens == model.tokens
    first = found.trajectories[0]
    assert first.generated_tokens < len(first.text.split(" ")) - 4, "the question has six words"


def test_the_experts_features_are_cited_in_the_order_of_the_record() -> None:
    task = search_task("a")
    assert proposed_citations(task, 2) == " alpha, beta<Final answer>"
    backwards = replace(
        task, case=replace(task.case, features=task.case.features[::-1], values=task.case.values[:, ::-1])
    )
    assert proposed_citations(backwards, 2) == " beta, alpha<Final answer>"
    assert proposed_citations(task, 0) == ""


def rambles(text: str, draw: float) -> str:
    """A policy that knows the format, and lists names without end where it is left to."""
    if text.endswith("<Final answer>"):
        return f"0.{10 + int(80 * draw)}</Final answer>"
    if text.endswith("<Final subquestion>"):
        return " q<Important Features>" + " gamma, delta," * 40
    return f" how is gamma ?<Answer> noted {draw:.3f}<Final subquestion> q<Important Features>" + " gamma, delta," * 40


def simulated(proposed: int, budget: int = 400) -> SearchResult:
    search = ExpertMCTS(ExpertMCTS.Params(proposed_citations=proposed))
    (found,) = search.run(ScriptedModel(rambles), [search_task("a")], read, budget, 0)
    assert found.generated_tokens <= budget
    return found


def test_a_policy_that_rambles_answers_behind_the_experts_features() -> None:
    assert all(trajectory.probability is None for trajectory in simulated(0).trajectories)
    best = simulated(2).trajectories[0]
    assert best.probability is not None
    assert best.cited_features == ("alpha", "beta")
    assert best.text.count("<Important Features>") == 1


@pytest.mark.parametrize("budget", range(40, 140, 7))
def test_a_budget_that_ends_before_the_answer_leaves_it_cut(budget: int) -> None:
    for trajectory in simulated(2, budget).trajectories:
        assert trajectory.probability is not None or not trajectory.text.endswith("</Final answer>")
