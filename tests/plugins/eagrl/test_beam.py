"""`beam` on a scripted model."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eagbench_plugins.eagrl.searches.beam import Beam
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from tests.plugins.eagrl.scripted import ScriptedModel
from tests.plugins.eagrl.test_mcts import run, search_task


def beam(**params) -> Beam:
    return Beam(Beam.Params(**params))


def test_it_continues_the_partial_answers_whose_completions_earn_most() -> None:
    """Steps are numbers; an answer is their mean. With a width of 1 the second round goes on from the best of them."""

    def numbers(text: str, draw: float) -> str:
        digit = int(draw * 10)
        if text.endswith("<Final subquestion>"):
            digits = [int(word) for word in text.split() if word.isdigit()]
            return f" q<Important Features> alpha<Final answer>{np.mean(digits) / 10:.2f}</Final answer>"
        return (
            f" {digit} <Answer> a {'<Subquestion>' if len(text) < 60 else '<Final subquestion>'} {digit} <Answer> b"
            + (" <Final subquestion> q<Important Features> alpha<Final answer>0.10</Final answer>")
        )

    model = ScriptedModel(numbers)
    result = run(beam(width=1, children=4, step_tokens=20), [search_task("x")], budget=150, model=model)[0]
    assert len(model.calls[0][0]) == 4
    assert len(set(model.calls[2][0])) == 1  # one partial answer is continued, by four steps
    assert len(model.calls[2][0]) == 4
    completed = model.calls[1][0]
    assert model.calls[2][0][0] in completed
    assert result.rewards[0]["total"] == max(r["total"] for r in result.rewards)


def test_it_beats_best_of_n_where_early_steps_decide() -> None:
    tasks = [search_task(str(i)) for i in range(40)]

    def best(search) -> float:
        return float(np.mean([r.rewards[0]["total"] for r in run(search, tasks, budget=500)]))

    assert best(beam(step_tokens=20)) > best(BestOfN(BestOfN.Params())) + 0.02


def test_a_search_does_not_depend_on_the_other_cases() -> None:
    alone = run(beam(), [search_task("x")])[0]
    assert alone == run(beam(), [search_task(name) for name in ("w", "x", "y")])[1]
    assert run(beam(), [search_task("x")], seed=1)[0] != alone


@settings(deadline=None, max_examples=25)
@given(
    budget=st.integers(0, 400),
    longest=st.integers(1, 60),
    step_tokens=st.integers(1, 40),
    width=st.integers(1, 4),
    children=st.integers(1, 4),
    depth=st.integers(2, 5),
)
def test_it_ends_and_no_case_exceeds_its_budget(budget: int, longest: int, **params) -> None:
    tasks = [search_task(str(i), max_new_tokens=longest) for i in range(2)]
    for result in run(beam(**params), tasks, budget=budget):
        assert result.generated_tokens <= budget
        assert sum(t.generated_tokens for t in result.trajectories[:1]) <= budget
