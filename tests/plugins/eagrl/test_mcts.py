"""Tree search: the tree's arithmetic by hand, the search followed on a scripted model, its budget, its replay."""

from __future__ import annotations

from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eagbench.api import STYLES, Feature, FeatureVocabulary, Thought, Trajectory, read_answer
from eagbench_plugins.eagrl.journal import JournaledModel
from eagbench_plugins.eagrl.searches.best_of_n import BestOfN
from eagbench_plugins.eagrl.searches.guidance import mentioned_features, overlap_with_expert
from eagbench_plugins.eagrl.searches.mcts import MCTS, ExpertMCTS
from eagbench_plugins.eagrl.searches.steps import extended, state_of
from eagbench_plugins.eagrl.searches.tree import Node, Tree
from tests.plugins.eagrl.scripted import ScriptedModel, make_task, probability_reward
from tests.plugins.eagrl.test_journal import KilledError

STYLE = STYLES["question_decomposition"]
NAMES = ("alpha", "beta", "gamma")
VOCABULARY = FeatureVocabulary(Feature(name, name, "1", (0, 9)) for name in NAMES)
SALIENCE = {"alpha": 0.7, "beta": 0.2, "gamma": 0.1}


def read(case, text: str, tokens: int, thought: Thought | None = None) -> Trajectory:
    return read_answer(STYLE, case, text, tokens, VOCABULARY, thought)


def reasoning(text: str, draw: float) -> str:
    """Goes on from where a text ends: a step about one of three features, or the end. What it answers is better the
    more often `alpha` was named, and noisy."""
    feature = NAMES[int(draw * 1000) % 3]
    step = f" how is {feature} ? <Answer> it is {feature}"
    named = text.count("alpha ?") + (feature == "alpha")
    p = min(0.99, 0.1 + 0.25 * named + 0.2 * draw)
    end = f" how likely ? <Important Features> {feature} <Final answer>{p:.2f}</Final answer> more"
    if text.endswith("<Final subquestion>"):
        return end
    next_step = " <Subquestion>" if draw < 0.6 else f" <Final subquestion>{end}"
    if next_step == " <Subquestion>":
        next_step += f" how is beta ? <Answer> well <Final subquestion>{end}"
    return step + next_step


def tree_search(kind=ExpertMCTS, **params):
    return kind(kind.Params(**params))


def search_task(name: str, reward=probability_reward, **changes):
    return make_task(name, reward, **{"salience": SALIENCE, "max_new_tokens": 60, **changes})


def run(search, tasks, budget: int = 600, seed: int = 0, model: ScriptedModel | None = None):
    return search.run(model or ScriptedModel(reasoning), tasks, read, budget, seed)


# The tree


def test_uct_by_hand() -> None:
    tree = Tree(exploration=1.0, backup="mean")
    tree.nodes[0].expanded = True
    a, b = (tree.add(Node(f"<Subquestion> {name}<Subquestion>", 0, 1)) for name in "ab")
    for position, value in ((a, -4.0), (a, -2.0), (b, -1.0)):
        tree.back_up(position, value)
    # Scaled by -4 and -1: a has the mean -3 -> 1/3, b has -1 -> 1.
    assert tree.scaled(-3.0) == pytest.approx(1 / 3)
    assert tree._uct(a, 3) == pytest.approx(1 / 3 + sqrt(log(3) / 2))
    assert tree._uct(b, 3) == pytest.approx(1 + sqrt(log(3) / 1))
    assert tree.select() == b
    # With b's simulation in flight, its visits count as 2 with half the value; b itself waits, being without children.
    assert [node.in_flight for node in tree.nodes] == [1, 0, 1]
    assert tree._uct(b, 4) == pytest.approx(1 / 2 + sqrt(log(4) / 2))
    assert tree.select() == a
    assert tree.select() is None
    tree.release(a)
    tree.release(b)
    assert [node.in_flight for node in tree.nodes] == [0, 0, 0]


def test_the_largest_return_or_the_mean_rules() -> None:
    def chosen(backup: str) -> int:
        tree = Tree(exploration=0.0, backup=backup)
        tree.nodes[0].expanded = True
        a, b = (tree.add(Node(f"<Subquestion> {name}<Subquestion>", 0, 1)) for name in "ab")
        for position, value in ((a, 0.0), (a, 1.0), (b, 0.6), (b, 0.6)):
            tree.back_up(position, value)
        return tree.select()

    assert chosen("max") == 1
    assert chosen("mean") == 2


def test_unvisited_children_come_first_and_of_these_the_highest_local_reward() -> None:
    tree = Tree(1.0, "max")
    tree.nodes[0].expanded = True
    for name, local in (("a", 0.0), ("b", 0.2), ("c", 0.2)):
        tree.add(Node(f"<Subquestion> {name}<Subquestion>", 0, 1, local=local))
    tree.back_up(1, 5.0)
    assert [tree.select(), tree.select(), tree.select()] == [2, 3, 1]


def test_what_is_finished_is_not_visited_again_and_exhaustion_climbs() -> None:
    tree = Tree(1.0, "max")
    tree.nodes[0].expanded = True
    a = tree.add(Node("<Subquestion> a<Final subquestion>", 0, 1))
    tree.nodes[a].expanded = True
    end = tree.add(Node("<Subquestion> a<Final subquestion> <Final answer>0.5</Final answer>", a, 2))
    assert tree.nodes[end].exhausted
    tree.mark_exhausted(a)
    assert tree.nodes[0].exhausted
    assert tree.select() is None


def test_equal_texts_are_one_child() -> None:
    tree = Tree(1.0, "max")
    assert tree.add(Node("<Subquestion> a<Subquestion>", 0, 1)) == tree.add(Node("<Subquestion> a<Subquestion>", 0, 1))
    assert len(tree.nodes) == 2


def test_the_last_edge_is_forced_to_be_the_end() -> None:
    text = "<Subquestion>"
    states = []
    for edges in range(4):
        text = extended(text, " q<Answer> a<Subquestion>", edges, depth=5)
        states.append(state_of(text))
    assert states == ["step", "step", "step", "final"]
    assert text.count("<Subquestion>") == 4
    assert state_of(extended(text, "<Final answer>0.5</Final answer>", 4, 5)) == "finished"
    assert state_of(extended("<Subquestion>", " q<Answer> cut sho", 0, 5)) == "cut"


# The expert's guidance


def test_names_are_found_as_whole_words_with_or_without_underscore() -> None:
    names = ("heart_rate", "ph", "heart_rate_variability")
    assert mentioned_features("Is heart rate@12h=q5, pH: 7?", names) == {"heart_rate", "ph"}
    assert mentioned_features("phase of heart_rate_variability", names) == {"heart_rate_variability"}
    assert mentioned_features("ph", ()) == set()


def test_overlap_counts_what_steps_name_and_what_the_end_cites() -> None:
    overlap = overlap_with_expert(search_task("x"), k=2)  # the expert's: alpha, beta
    partial = read(search_task("x").case, "<Subquestion> how is alpha?<Answer> high<Subquestion>", 9)
    assert overlap(partial) == pytest.approx(1 / 2)
    whole = read(
        search_task("x").case,
        "<Subquestion> how is alpha?<Answer> high<Final subquestion> q<Important Features> gamma, beta"
        "<Final answer>0.50</Final answer>",
        9,
    )
    assert overlap(whole) == pytest.approx(2 / 3)


def test_a_search_guided_by_an_expert_refuses_to_go_without() -> None:
    with pytest.raises(ValueError, match="salience"):
        run(tree_search(), [search_task("x", salience=None)])
    assert run(tree_search(MCTS), [search_task("x", salience=None)])[0].trajectories


# The search


@pytest.mark.parametrize("kind", [MCTS, ExpertMCTS])
def test_the_tree_tells_what_happened(kind) -> None:
    search = tree_search(kind, step_tokens=20)
    result = run(search, [search_task("x"), search_task("y")])[0]
    nodes = result.tree
    assert nodes[0]["parent"] is None
    assert nodes[0]["visits"] == len(result.trajectories) > 5
    assert sorted(i for node in nodes for i in node["finished"]) == list(range(len(result.trajectories)))
    depth = {0: 0}
    for i, node in enumerate(nodes[1:], start=1):
        depth[i] = depth[node["parent"]] + 1
        assert depth[i] <= 5
        children = [n for n in nodes if n["parent"] == i]
        assert len(children) <= 3
        # Every simulation went through one child or ended here.
        assert node["visits"] == sum(c["visits"] for c in children) + len(node["finished"])
        if node["visits"]:
            assert node["best"] >= node["mean"] - 1e-12
    assert [t.case_id for t in result.trajectories] == ["x"] * len(result.trajectories)
    totals = [r["total"] for r in result.rewards]
    assert totals == sorted(totals, reverse=True)
    # Every trajectory is its nodes' texts and what was simulated from there.
    for i, node in enumerate(nodes):
        path, above = [], i
        while above is not None:
            path.append(nodes[above]["text"])
            above = nodes[above]["parent"]
        for place in node["finished"]:
            text = result.trajectories[place].text
            assert all(part.removesuffix("<Subquestion>") in text for part in path)


@pytest.mark.parametrize("kind", [MCTS, ExpertMCTS])
def test_it_uses_the_budget_as_far_as_a_simulation_may_need(kind) -> None:
    """So that searches can be compared at equal tokens. The scripted tree is not exhausted by so few."""
    results = run(tree_search(kind, step_tokens=20), [search_task(name) for name in "xyz"], budget=300)
    assert all(300 - 60 / 4 <= r.generated_tokens <= 300 for r in results)


def test_returns_are_reward_plus_weighted_overlap() -> None:
    result = run(tree_search(step_weight=0.5, k=1, simulations=8), [search_task("x")])[0]
    overlap = overlap_with_expert(search_task("x"), k=1)
    returns = [r["total"] + 0.5 * overlap(t) for t, r in zip(result.trajectories, result.rewards, strict=True)]
    root = result.tree[0]
    assert root["mean"] == pytest.approx(np.mean(returns))
    assert root["best"] == pytest.approx(max(returns))
    gains = {node["overlap"] for node in result.tree}
    assert len(gains) > 1


def test_mcts_keeps_the_expert_out_of_its_returns() -> None:
    def reward(trajectory: Trajectory) -> dict[str, float]:
        value = probability_reward(trajectory)["classification"]
        return {"classification": value, "attention": 100.0, "unparsed": 0.0, "total": value + 100.0}

    root = run(tree_search(MCTS), [search_task("x", reward)])[0].tree[0]
    assert root["best"] < 1
    assert run(tree_search(), [search_task("x", reward)])[0].tree[0]["best"] > 100


def test_it_beats_best_of_n_where_early_steps_decide() -> None:
    """Naming alpha early raises every later answer: a tree can stay there, independent samples can't."""
    tasks = [search_task(str(i)) for i in range(40)]
    best = {
        name: np.mean([r.rewards[0]["total"] for r in run(search, tasks, budget=500)])
        for name, search in {
            "mcts": tree_search(MCTS, step_tokens=20),
            "best_of_n": BestOfN(BestOfN.Params()),
        }.items()
    }
    assert best["mcts"] > best["best_of_n"] + 0.02


def test_the_number_of_simulations_can_be_bounded() -> None:
    results = run(tree_search(simulations=7), [search_task(name) for name in "xyz"], budget=5000)
    # A round that expands a node before the end finishes all its children at once.
    assert all(7 <= len(r.trajectories) <= 7 + 3 * 4 for r in results)


def test_a_search_does_not_depend_on_the_other_cases() -> None:
    alone = run(tree_search(), [search_task("x")])[0]
    among = run(tree_search(), [search_task(name) for name in ("w", "x", "y")])[1]
    assert alone == among
    assert run(tree_search(), [search_task("x")], seed=1)[0] != alone


@settings(deadline=None, max_examples=25)
@given(
    budget=st.integers(0, 400),
    step_tokens=st.integers(1, 40),
    longest=st.integers(1, 60),
    children=st.integers(1, 4),
    depth=st.integers(2, 5),
    parallel=st.integers(1, 6),
    backup=st.sampled_from(["max", "mean"]),
    self_evaluation=st.booleans(),
)
def test_it_ends_and_no_case_exceeds_its_budget(budget: int, longest: int, **params) -> None:
    tasks = [search_task(str(i), max_new_tokens=longest) for i in range(2)]
    for result in run(tree_search(**params), tasks, budget=budget):
        assert result.generated_tokens <= budget
        assert sum(node["visits"] for node in result.tree if node["parent"] is None) == len(result.trajectories)


def test_self_evaluation_costs_tokens_and_enters_the_local_reward() -> None:
    def judging(text: str, draw: float) -> str:
        return "80 points" if "Score the answer" in text else reasoning(text, draw)

    plain = run(tree_search(MCTS, simulations=1), [search_task("x")])[0]
    judged = run(
        tree_search(MCTS, simulations=1, self_evaluation=True), [search_task("x")], model=ScriptedModel(judging)
    )[0]
    new = [node for node in judged.tree if node["parent"] == 0]
    # The scripted model gives Yes and No 1/3 and 2/3.
    assert {round(node["local"], 9) for node in new} == {round((1 / 3) ** 0.4 * 0.8**0.6, 9)}
    assert judged.generated_tokens > plain.generated_tokens
    assert all(node["local"] == 0 for node in plain.tree)


def test_the_root_is_expanded_once_and_calls_are_shared_by_all_cases() -> None:
    model = ScriptedModel(reasoning)
    run(tree_search(simulations=4), [search_task(str(i)) for i in range(10)], budget=5000, model=model)
    first_texts, first_sampling = model.calls[0]
    assert len(first_texts) == 30
    assert first_sampling.temperature == 1.2
    assert first_sampling.top_p == 0.8
    assert len(model.calls) < 20


class DiesAfter(ScriptedModel):
    def __init__(self, calls: int) -> None:
        super().__init__(reasoning)
        self.left = calls

    def generate(self, *args, **kwargs):
        if not self.left:
            raise KilledError
        self.left -= 1
        return super().generate(*args, **kwargs)


@pytest.mark.parametrize("self_evaluation", [False, True])
@pytest.mark.parametrize("calls", [1, 4, 7])
def test_an_interrupted_search_goes_on_inside_the_tree_and_ends_the_same(
    tmp_path: Path, calls: int, self_evaluation: bool
) -> None:
    tasks = [search_task(name) for name in "xy"]
    search = tree_search(self_evaluation=self_evaluation)
    unbroken = ScriptedModel(reasoning)
    expected = run(search, tasks, model=unbroken)
    with pytest.raises(KilledError):
        run(search, tasks, model=JournaledModel(DiesAfter(calls), tasks, tmp_path))
    rest = ScriptedModel(reasoning)
    assert run(search, tasks, model=JournaledModel(rest, tasks, tmp_path)) == expected
    assert rest.calls == unbroken.calls[calls:]
