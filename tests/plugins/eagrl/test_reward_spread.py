"""Rewards that are all equal train nothing: advantages of 0, no optimiser step, and both are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eagbench.api import Trajectory
from eagbench.contracts.rules import ContractError
from eagbench.registry.plugins import load_registry, registered
from eagbench_plugins.eagrl.dynamic_sampling import DynamicSamplingTrainer
from eagbench_plugins.eagrl.optimisation import JudgedCase
from eagbench_plugins.eagrl.policy_optimisation import optimise_policy
from eagbench_plugins.eagrl.reward_spread import groups_without_spread
from eagbench_plugins.eagrl.rewards.classification import ClassificationReward
from tests.plugins.eagrl.conftest import Prepared, stage_run
from tests.plugins.eagrl.test_policy_optimisation import curves, optimised, params, weights

STEPS_PER_BATCH = 4  # of the small training

# Eight equal numbers of this value have a float32 mean that is not the number.
ODD = -5.605170185988091


@pytest.mark.parametrize(
    ("rewards", "flat"),
    [
        ([ODD] * 8, True),
        ([0.0] * 7 + [9e-7], True),
        ([0.0] * 7 + [1.1e-6], False),
        ([1.0] * 7 + [0.0], False),
    ],
)
def test_a_group_has_spread_from_a_millionth_on(rewards: list[float], flat: bool) -> None:
    found = groups_without_spread(torch.tensor([*rewards, *range(8)]), 8)
    assert found.tolist() == [flat, False]


def _scripted(monkeypatch: pytest.MonkeyPatch, flat: Any) -> list[int]:
    """Judge texts apart, except where `flat` says that all get the same; the list holds the batches' numbers."""
    batches: list[int] = []
    generate = DynamicSamplingTrainer._generate_and_score_completions

    def counting(self: Any, inputs: Any) -> Any:
        batches.append(1 + self.state.global_step // STEPS_PER_BATCH)
        return generate(self, inputs)

    def judge(self: JudgedCase, trajectory: Trajectory) -> dict[str, float]:
        told_apart = 0.01 * trajectory.generated_tokens + 0.001 * (sum(map(ord, trajectory.text)) % 97)
        return {"total": ODD if flat(self, batches[-1]) else told_apart}

    monkeypatch.setattr(DynamicSamplingTrainer, "_generate_and_score_completions", counting)
    monkeypatch.setattr(JudgedCase, "judge", judge)
    return batches


@pytest.mark.parametrize("beta", [0.0, 0.05])
def test_a_batch_without_spread_leaves_the_weights_as_they_were_after_ordinary_ones(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beta: float
) -> None:
    """AdamW's momentum would go on moving them, and so would the penalty for leaving the first policy."""
    _scripted(monkeypatch, lambda judged, batch: batch > 3)
    three, five = (optimised(tmp_path / str(n), prepared.inputs, steps=n, beta=beta) for n in (3, 5))
    assert weights(three) != weights(prepared.inputs["policy"])
    assert weights(five) == weights(three)
    lines = curves(five)
    assert [line["groups_without_spread"] for line in lines] == [0, 0, 0, 1, 1]
    assert [line.get("without_step") for line in lines] == [None, None, None, 1, 1]
    assert json.loads((five / "summary.json").read_text())["batches_without_step"] == 2
    assert json.loads((three / "summary.json").read_text())["batches_without_step"] == 0


def test_training_goes_on_after_a_batch_without_spread_as_if_it_had_not_been(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither momentum nor the count of steps hears of it."""
    states: dict[int, Any] = {}
    batches = _scripted(monkeypatch, lambda judged, batch: batch == 2)
    step = torch.optim.AdamW.step

    def watching(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = step(self, *args, **kwargs)
        states[batches[-1]] = [
            [value.clone() for value in state.values() if torch.is_tensor(value)] for state in self.state.values()
        ]
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", watching)
    optimised(tmp_path / "out", prepared.inputs, steps=3)
    for first, second, third in zip(states[1], states[2], states[3], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(second, third, strict=True))


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("answer_weight", [1.0, 7.0])
def test_advantages_of_a_group_without_spread_are_zero_to_the_bit(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standardise: bool, answer_weight: float
) -> None:
    flat_ids = set(prepared.training.train.cases.case_ids[::2])
    _scripted(monkeypatch, lambda judged, batch: judged.case.case_id in flat_ids)
    outputs: list[Any] = []
    generate = DynamicSamplingTrainer._generate_and_score_completions

    def watching(self: Any, inputs: Any) -> Any:
        outputs.append((inputs, generate(self, inputs)))
        return outputs[-1][1]

    monkeypatch.setattr(DynamicSamplingTrainer, "_generate_and_score_completions", watching)
    asked = {"standardise_advantages": standardise, "answer_weight": answer_weight, "group_size": 8}
    folder = optimised(tmp_path / "out", prepared.inputs, **asked)
    shares = []
    for inputs, output in outputs:
        flat = np.array([prepared.training.train.cases.case_ids[row["position"]] in flat_ids for row in inputs])
        advantages = output["advantages"].view(len(inputs), -1).abs().amax(dim=1).numpy()
        assert (advantages[flat] == 0).all()
        assert (advantages[~flat].reshape(-1, 8).max(axis=1) > 0).all()
        shares.append(flat.mean())
    assert 0 < np.mean(shares) < 1
    assert [line["groups_without_spread"] for line in curves(folder)] == pytest.approx(shares)


def test_unreadable_answers_only_teach_nothing(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reward of the built-in ones, as the policy writes nothing that can be read within four tokens."""
    asked = params("classification", steps=4)
    run = stage_run(tmp_path / "out", prepared.inputs, {**asked, "max_new_tokens": 4})
    optimise_policy(run)
    assert [line["unparsed_rate"] for line in curves(run.out)] == [1, 1, 1, 1]
    assert [line["groups_without_spread"] for line in curves(run.out)] == [1, 1, 1, 1]
    assert weights(run.out) == weights(prepared.inputs["policy"])


def test_a_batch_of_cut_answers_that_are_left_out_makes_no_step(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their rewards differ, and the loss takes none of them: its gradient is 0 and momentum would act alone."""
    _scripted(monkeypatch, lambda judged, batch: False)
    monkeypatch.setattr(
        JudgedCase, "judge", lambda self, trajectory: {"total": float(sum(map(ord, trajectory.text)) % 97)}
    )
    asked = params("classification", steps=2, drop_truncated=True, beta=0.0)
    run = stage_run(tmp_path / "out", prepared.inputs, {**asked, "max_new_tokens": 4})
    optimise_policy(run)
    assert [line["groups_without_spread"] for line in curves(run.out)] == [0, 0]
    assert [line["without_step"] for line in curves(run.out)] == [1, 1]
    assert weights(run.out) == weights(prepared.inputs["policy"])


@pytest.mark.parametrize("total", [float("nan"), float("inf"), -float("inf"), 1e39, None])
def test_a_reward_that_is_no_number_is_refused_with_case_and_text(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: Any
) -> None:
    class Undefined(ClassificationReward):
        name = "undefined"

        def __call__(self, *args: Any) -> Any:
            return {"total": total}

    components: Any = load_registry().components
    entry = registered("reward", Undefined, "broken", "a-package")
    monkeypatch.setitem(components, ("reward", "undefined"), (entry,))
    run = stage_run(tmp_path / "out", prepared.inputs, params("undefined"))
    with pytest.raises(ContractError, match=r"for case \S+, text '") as caught:
        optimise_policy(run)
    assert "the reward 'undefined' of a-package" in str(caught.value)
    assert f"total = {total!r} is not a finite number" in str(caught.value)
