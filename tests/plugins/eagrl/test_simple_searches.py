"""`greedy` and `best_of_n`: what they return, in which order, and that no case exceeds its token budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.api import STYLES, FeatureVocabulary, Thought, Trajectory, read_answer
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from eagbench_plugins.eagrl.searches.greedy import Greedy
from tests.plugins.eagrl.scripted import ScriptedModel, make_task, probability_reward

STYLE = STYLES["question_decomposition"]
VOCABULARY = FeatureVocabulary([])


def read(case, text: str, tokens: int, thought: Thought | None = None) -> Trajectory:
    return read_answer(STYLE, case, text, tokens, VOCABULARY, thought)


def answer(text: str, draw: float) -> str:
    """Between 3 and 9 words and the answer, which is the draw in two decimals."""
    words = " ".join(["word"] * (3 + int(draw * 1000) % 7))
    return f"{words} <Final answer>{draw * 0.99:.2f}</Final answer> never written"


def best_of_n(**params) -> BestOfN:
    return BestOfN(BestOfN.Params(**params))


def test_greedy_writes_one_text_per_case_in_one_call() -> None:
    model = ScriptedModel(answer)
    tasks = [make_task(name, probability_reward) for name in ("x", "y")]
    results = Greedy(Greedy.Params()).run(model, tasks, read, 1000, 0)
    assert [r.case_id for r in results] == ["x", "y"]
    assert [len(r.trajectories) for r in results] == [1, 1]
    assert len(model.calls) == 1
    assert model.calls[0][1].temperature == 0
    assert results[0].trajectories[0].text == "word word word <Final answer>0.00</Final answer>"
    assert results[0].generated_tokens == 6


def test_best_of_n_returns_all_samples_best_first_and_uses_its_budget() -> None:
    results = best_of_n().run(ScriptedModel(answer), [make_task(n, probability_reward) for n in "xyz"], read, 400, 0)
    for result in results:
        totals = [reward["total"] for reward in result.rewards]
        assert totals == sorted(totals, reverse=True)
        assert [t.probability for t in result.trajectories] == [
            max(total, 0) if total >= 0 else None for total in totals
        ]
        assert sum(t.generated_tokens for t in result.trajectories) == result.generated_tokens
        # A text takes 40 tokens at most and is begun with no less than a quarter of them left.
        assert 390 < result.generated_tokens <= 400
        assert len({t.text for t in result.trajectories}) > 15
    assert results[0].trajectories != results[1].trajectories


def test_the_best_of_n_is_what_theory_says() -> None:
    """The expected maximum of n uniform draws is n / (n + 1)."""
    tasks = [make_task(str(i), probability_reward) for i in range(300)]
    results = best_of_n(samples=4).run(ScriptedModel(answer), tasks, read, 400, 0)
    assert all(len(r.trajectories) == 4 for r in results)
    mean = sum(r.rewards[0]["total"] for r in results) / len(results)
    assert mean / 0.99 == pytest.approx(4 / 5, abs=0.03)


def test_samples_depend_on_the_seed_only() -> None:
    def found(seed: int):
        return best_of_n().run(ScriptedModel(answer), [make_task("x", probability_reward)], read, 100, seed)

    assert found(1) == found(1)
    assert found(1)[0].trajectories != found(2)[0].trajectories


@pytest.mark.parametrize(
    "search", [best_of_n(), best_of_n(samples=3), Greedy(Greedy.Params())], ids=["n", "3", "greedy"]
)
@given(budget=st.integers(0, 300), longest=st.integers(1, 60), n_tasks=st.integers(0, 3), seed=st.integers(0, 99))
def test_no_case_ever_exceeds_its_budget(search, budget: int, longest: int, n_tasks: int, seed: int) -> None:
    model = ScriptedModel(answer)
    tasks = [make_task(str(i), probability_reward, max_new_tokens=longest) for i in range(n_tasks)]
    results = search.run(model, tasks, read, budget, seed)
    assert [r.case_id for r in results] == [t.case.case_id for t in tasks]
    for result in results:
        assert result.generated_tokens <= budget
        assert sum(t.generated_tokens for t in result.trajectories) == result.generated_tokens
    assert all(sampling.max_new_tokens <= min(longest, budget) for _, sampling in model.calls)
