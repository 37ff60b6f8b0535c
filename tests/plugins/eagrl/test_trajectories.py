"""The stage `trajectories` with a real (small) policy: what it writes, and that a kill costs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eagbench.api import Trajectory, UserError
from eagbench.registry.blame import ComponentError
from eagbench_plugins.eagrl import trajectories
from eagbench_plugins.eagrl.rewards.eag import EAGReward
from eagbench_plugins.eagrl.trajectories import chosen_cases, read_trajectories, search_trajectories
from tests.builders import make_cases
from tests.plugins.eagrl.conftest import Prepared, stage_run


def params(search: str, **changes: Any) -> dict[str, Any]:
    return {
        "search": {"kind": "search", "name": search, "params": {}},
        "reward": {"kind": "reward", "name": "eag", "params": {}},
        "style": "question_decomposition",
        "token_budget": 150,
        "max_new_tokens": 100,
        "max_training_cases": 6,
        "batch_cases": 4,
        **changes,
    }


@pytest.mark.parametrize("search", ["best_of_n", "expert_mcts", "mcts", "beam", "greedy"])
def test_every_search_finds_trajectories_whose_rewards_are_right(
    prepared: Prepared, tmp_path: Path, search: str
) -> None:
    run = stage_run(tmp_path / "out", prepared.inputs, params(search))
    search_trajectories(run)
    lines = read_trajectories(run.out)
    chosen = chosen_cases(prepared.training.train, 6, 0)
    assert [line["case_id"] for line in lines] == list(chosen.cases.case_ids)
    assert run.costs["generated_tokens"] == sum(line["generated_tokens"] for line in lines)
    assert all(0 < line["generated_tokens"] <= 150 for line in lines)
    reward = EAGReward(EAGReward.Params())
    weights = {"lactate": 0.7, "noise_0": 0.2, "noise_1": 0.06, "noise_2": 0.04}
    n_parsed = 0
    for line, case, label in zip(lines, chosen.cases, chosen.labels, strict=True):
        for found in line["trajectories"]:
            parts = found.pop("reward")
            trajectory = Trajectory(**found)
            assert reward(case, int(label), trajectory, weights) == pytest.approx(parts)
            n_parsed += trajectory.probability is not None
    assert n_parsed >= 3
    trees = (run.out / "trees.jsonl").read_text().splitlines()
    assert len(trees) == (6 if "mcts" in search else 0)
    summary = json.loads((run.out / "summary.json").read_text())
    counted = [summary[name]["all"] for name in ("negative", "positive")]
    assert sum(c["trajectories"] - c["unparsed"] for c in counted) == n_parsed
    assert sum(sum(c["answers_by_tenth"]) for c in counted) == n_parsed


def test_a_reward_that_needs_it_is_given_the_policys_attention(prepared: Prepared, tmp_path: Path) -> None:
    reward = {"kind": "reward", "name": "attention_mass", "params": {}}
    run = stage_run(tmp_path / "out", prepared.inputs, params("best_of_n", reward=reward))
    search_trajectories(run)
    chosen = chosen_cases(prepared.training.train, 6, 0)
    observed = {case.case_id: set(case.observed()) for case in chosen.cases}
    parts = []
    for line in read_trajectories(run.out):
        for found in line["trajectories"]:
            assert (found["attention"] is None) == (found["probability"] is None)
            if found["attention"] is not None:
                assert set(found["attention"]) == observed[line["case_id"]]
                assert sum(found["attention"].values()) == pytest.approx(1)
                parts.append(found["reward"]["attention"])
    assert len(parts) >= 3
    assert 0 < min(parts) < max(parts) < 1
    unmeasured = stage_run(tmp_path / "other", prepared.inputs, params("best_of_n"))
    search_trajectories(unmeasured)
    attentions = [t["attention"] for line in read_trajectories(unmeasured.out) for t in line["trajectories"]]
    assert set(attentions) == {None}


def test_a_policy_whose_attention_can_not_be_measured_is_refused(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WritesOnly:
        def generate(self, *args: Any) -> None: ...

        def continuation_probabilities(self, *args: Any) -> None: ...

    monkeypatch.setattr(trajectories, "open_policy", lambda folder: WritesOnly())
    reward = {"kind": "reward", "name": "attention_mass", "params": {}}
    with pytest.raises(UserError, match="does not give its attention"):
        search_trajectories(stage_run(tmp_path / "out", prepared.inputs, params("best_of_n", reward=reward)))


class KilledError(Exception):
    """Stands for a SIGKILL."""


@pytest.mark.parametrize(
    ("search", "method", "calls_before_kill"),
    [
        ("best_of_n", "generate", 1),
        ("expert_mcts", "generate", 3),
        ("expert_mcts", "generate", 7),
        ("best_of_n", "write_on", 30),
        ("expert_mcts", "write_on", 2),
        ("expert_mcts", "write_on", 150),
    ],
)
def test_a_killed_search_ends_as_an_unbroken_one_did(
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    search: str,
    method: str,
    calls_before_kill: int,
) -> None:
    """In rounds, with journals, as third parties' searches may go (`generate`), and case by case (`write_on`)."""
    from eagbench_plugins.policies.transformers_model import TransformersModel

    monkeypatch.setattr(TransformersModel, "writes_on", method == "write_on")
    unbroken = stage_run(tmp_path / "unbroken", prepared.inputs, params(search))
    search_trajectories(unbroken)

    real, calls = getattr(TransformersModel, method), []

    def dying(self, *args, **kwargs):
        if len(calls) == calls_before_kill:
            raise KilledError
        calls.append(1)
        return real(self, *args, **kwargs)

    broken = stage_run(tmp_path / "broken", prepared.inputs, params(search))
    with monkeypatch.context() as patched:
        patched.setattr(TransformersModel, method, dying)
        named = "KilledError" if method == "generate" else None  # by the search in whose call it was raised
        with pytest.raises(ComponentError if method == "generate" else KilledError, match=named):
            search_trajectories(broken)
    again = stage_run(tmp_path / "broken", prepared.inputs, params(search))
    search_trajectories(again)
    for name in ("trajectories.jsonl", "trees.jsonl", "summary.json"):
        assert (again.out / name).read_bytes() == (unbroken.out / name).read_bytes()
    assert again.costs == unbroken.costs


@pytest.mark.parametrize("search", ["best_of_n", "expert_mcts", "mcts", "beam", "greedy"])
def test_a_search_finds_the_same_case_by_case_and_in_rounds(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, search: str
) -> None:
    from eagbench_plugins.policies.transformers_model import TransformersModel

    found = []
    for writes_on in (True, False):
        monkeypatch.setattr(TransformersModel, "writes_on", writes_on)
        run = stage_run(tmp_path / str(writes_on), prepared.inputs, params(search))
        search_trajectories(run)
        found.append(
            [(line["case_id"], [t["text"] for t in line["trajectories"]]) for line in read_trajectories(run.out)]
        )
    assert found[0] == found[1]


def test_a_case_without_salience_is_a_bug_and_not_skipped(prepared: Prepared, tmp_path: Path) -> None:
    other = make_cases(5, {"lactate": 1.0}, n_noise=3, seed=9)
    inputs = {**prepared.inputs, "training": type(prepared.training)(other, other)}
    renamed = [type(c)(f"x{c.case_id}", c.patient_id, c.features, c.times, c.values, c.static) for c in other.cases]
    inputs["training"] = type(prepared.training)(type(other)(other.cases.with_items(renamed), other.labels), other)
    with pytest.raises(ValueError, match="xcase-0"):
        search_trajectories(stage_run(tmp_path / "out", inputs, params("greedy", max_training_cases=None)))


def test_chosen_cases_are_balanced_as_far_as_there_are_any_and_seeded() -> None:
    labelled = make_cases(300, {"a": 0.0}, seed=1)
    rare = labelled.select(np.sort(np.r_[np.flatnonzero(labelled.labels)[:20], np.flatnonzero(labelled.labels == 0)]))
    chosen = chosen_cases(rare, 30, seed=0)
    assert (len(chosen), chosen.labels.sum()) == (30, 15)
    many = chosen_cases(rare, 100, seed=0)
    assert (len(many), many.labels.sum()) == (100, 20)
    assert chosen_cases(rare, None, 0) is rare
    assert chosen_cases(rare, 10_000, 0) is rare
    assert chosen_cases(rare, 30, 0).cases.case_ids == chosen.cases.case_ids
    assert chosen_cases(rare, 30, 1).cases.case_ids != chosen.cases.case_ids
    place = {case_id: i for i, case_id in enumerate(rare.cases.case_ids)}
    order = [place[case_id] for case_id in chosen.cases.case_ids]
    assert order == sorted(order)
