"""Two processes (gloo, on the CPU) train what one trains, sample what one samples, and go on after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.torch import load_file

from eagbench.api import STYLES, ComponentUse, StageNode, UserError, write_answer
from eagbench.contracts.stages import no_progress
from eagbench_plugins.eagrl import two_stages
from eagbench_plugins.eagrl.data_parallel import refuse_uneven
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.policy_optimisation import optimise_policy
from eagbench_plugins.eagrl.sft import fine_tune
from eagbench_plugins.eagrl.sft_training import example_order
from eagbench_plugins.eagrl.trajectories import search_trajectories
from eagbench_plugins.eagrl.two_stages import PolicyOptimisation
from tests.plugins.eagrl import test_policy_optimisation as stage_two
from tests.plugins.eagrl import test_trajectories
from tests.plugins.eagrl.conftest import Prepared, stage_run

STYLE = STYLES["question_decomposition"]
LORA = {"rank": 4, "alpha": 8, "dropout": 0.0}


@pytest.fixture(scope="module")
def inputs(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[int, dict[str, Any]]:
    """The stages' inputs, with the policy on one device and on two."""
    folder = tmp_path_factory.mktemp("several")
    with (folder / "trajectories.jsonl").open("w") as stream:
        rng = np.random.default_rng(0)
        train = prepared.training.train
        for case, label in zip(train.cases.items[:37], train.labels[:37], strict=True):
            feature = str(rng.choice(case.observed()))
            steps = [(f"How is {feature}?", "noted")] * int(rng.integers(1, 4))
            p = 0.9 if label else 0.1
            text = write_answer(STYLE, steps, [feature], p, "How likely?")
            found = {"text": text, "probability": p, "reward": {"total": 0.0}}
            stream.write(json.dumps({"case_id": case.case_id, "generated_tokens": 9, "trajectories": [found]}) + "\n")
    made = {}
    for devices in (1, 2):
        policy = folder / f"policy_{devices}"
        policy.mkdir()
        params = {"path": str(prepared.inputs["policy"]), "devices": devices, "device": "cpu", "dtype": "float32"}
        (policy / "policy.json").write_text(json.dumps({"name": "hf", "params": params}))
        made[devices] = {**prepared.inputs, "trajectories": folder, "policy": policy}
    return made


def fine_tuned(out: Path, inputs: dict[str, Any], progress: Any = no_progress, **sft: Any) -> Path:
    selection = {"top_k": 1, "balance": True, "minimum_reward_positive": None, "minimum_reward_negative": None}
    chosen = FineTuning(**{"steps": 6, "batch_size": 8, "checkpoint_every": 2, **sft}).model_dump(mode="json")
    params = {
        "style": STYLE.name,
        "selection": selection,
        "answer_target": "searched",
        "soft_answers": False,
        "learnt_reasoning": "steps",
        "bare_answers": False,
        "levels": None,
        "sft": chosen,
    }
    fine_tune(stage_run(out, inputs, params, progress=progress))
    return out


def optimised(out: Path, inputs: dict[str, Any], progress: Any = no_progress, **optimisation: Any) -> Path:
    run = stage_run(out, inputs, stage_two.params("eag", **optimisation), progress=progress)
    optimise_policy(run)
    (out / "costs.json").write_text(json.dumps(run.costs))
    return out


def assert_equal_weights(one: Path, two: Path, initial: Path) -> None:
    """The weights agree far more closely than training moved them."""
    a, b, start = (load_file(folder / "model.safetensors") for folder in (one, two, initial))
    assert a.keys() == b.keys()
    moved = max(float((a[name] - start[name]).abs().max()) for name in a)
    apart = max(float((a[name] - b[name]).abs().max()) for name in a)
    assert moved > 1e-3
    assert apart < 1e-2 * moved


def lines(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("sft", [{"accumulate": 2}, {"lora": LORA, "activation_checkpointing": True}])
def test_stage_one_of_two_processes_is_that_of_one(
    inputs: dict[int, dict[str, Any]], prepared: Prepared, tmp_path: Path, sft: dict[str, Any]
) -> None:
    one, two = (fine_tuned(tmp_path / str(devices), inputs[devices], **sft) for devices in (1, 2))
    assert_equal_weights(one, two, prepared.inputs["policy"])
    assert [line["loss"] for line in lines(two / "training.jsonl")] == pytest.approx(
        [line["loss"] for line in lines(one / "training.jsonl")], rel=1e-4
    )
    assert (one / "prior.json").read_bytes() == (two / "prior.json").read_bytes()


@pytest.mark.parametrize(
    "optimisation",
    [
        {"answer_weight": 4.0, "learning_rate": 3e-3},
        {"loss": "dapo", "drop_truncated": True, "accumulate": 2, "lora": LORA, "beta": 0.0, "learning_rate": 3e-2},
    ],
)
def test_stage_two_of_two_processes_is_that_of_one(
    inputs: dict[int, dict[str, Any]], prepared: Prepared, tmp_path: Path, optimisation: dict[str, Any]
) -> None:
    one, two = (optimised(tmp_path / str(devices), inputs[devices], **optimisation) for devices in (1, 2))
    assert_equal_weights(one, two, prepared.inputs["policy"])
    ours, theirs = lines(one / "curves.jsonl"), lines(two / "curves.jsonl")
    assert [line.keys() for line in ours] == [line.keys() for line in theirs]
    # The first batch is sampled by equal weights, so that its texts are equal, and so is all that is said of them.
    assert theirs[0] == pytest.approx(ours[0], rel=1e-3, abs=1e-4)
    for name in ("generated_tokens", "reward"):
        assert [line[name] for line in theirs] == pytest.approx([line[name] for line in ours], rel=1e-5), name
    assert (one / "costs.json").read_bytes() == (two / "costs.json").read_bytes()


class Interrupted(Exception):
    """What ends a training in the middle."""


class Progress:
    """A progress bar that ends the training before a step."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.total, self.steps = last, 0, 0

    def __call__(self, items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        self.total = total or 0
        for self.steps, item in enumerate(items):
            if self.steps == self.last:
                raise Interrupted
            yield item


@pytest.mark.slow
@pytest.mark.parametrize(("train", "last", "left"), [(fine_tuned, 5, 2), (optimised, 9, 4)])
def test_a_training_of_two_processes_goes_on_after_its_last_checkpoint(
    inputs: dict[int, dict[str, Any]], tmp_path: Path, train: Callable[..., Path], last: int, left: int
) -> None:
    unbroken = Progress()
    whole = train(tmp_path / "whole", inputs[2], unbroken)
    broken, resumed = Progress(last), Progress()
    with pytest.raises(Interrupted):
        train(tmp_path / "killed", inputs[2], broken)
    assert not [child for child in psutil.Process().children(recursive=True) if "spawn_main" in str(child.cmdline())]
    train(tmp_path / "killed", inputs[2], resumed)
    assert (unbroken.total, resumed.total) == (unbroken.steps + 1, left)
    for name in ("model.safetensors", "prior.json"):
        assert (whole / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def _policy(devices: int) -> StageNode:
    use = ComponentUse("policy", "hf", {"path": "model", "devices": devices}, "code")
    return StageNode("policy", "hf", "module:function", {}, {}, component=use)


def test_what_does_not_divide_is_refused_while_planning() -> None:
    two = _policy(2)
    refuse_uneven(two, "sft", examples=8)
    refuse_uneven(_policy(1), "sft", examples=7)
    with pytest.raises(UserError, match="7 examples do not divide into equal parts for 2 devices"):
        refuse_uneven(two, "sft", examples=7)
    odd = PolicyOptimisation(cases=3, group_size=8, mini_batches=2)
    with pytest.raises(UserError, match="3 cases do not divide"):
        two_stages._refuse_undividable(two, odd, "eag_rl")
    small = PolicyOptimisation(cases=4, group_size=3, mini_batches=4)
    with pytest.raises(UserError, match="3 trajectories at once do not divide"):
        two_stages._refuse_undividable(two, small, "eag_rl")
    replacing = PolicyOptimisation(resample_rounds=1)
    two_stages._refuse_undividable(_policy(1), replacing, "dapo")
    with pytest.raises(UserError, match="only be replaced on one device"):
        two_stages._refuse_undividable(two, replacing, "dapo")


@pytest.mark.slow
def test_a_search_on_two_devices_finds_what_one_finds(inputs: dict[int, dict[str, Any]], tmp_path: Path) -> None:
    found = []
    for devices in (1, 2):
        run = stage_run(tmp_path / str(devices), inputs[devices], test_trajectories.params("expert_mcts"))
        search_trajectories(run)
        found.append([(run.out / name).read_text() for name in ("trajectories.jsonl", "trees.jsonl")])
    assert found[0] == found[1]
    assert len(found[0][0].splitlines()) == 6


def test_the_order_of_the_examples_holds_each_once_before_any_comes_again() -> None:
    order = example_order([[0], [1], [2], [3], [4]], 12, seed=1)
    assert len(order) == 12
    assert sorted(order[:5]) == sorted(order[5:10]) == [0, 1, 2, 3, 4]
    assert order != example_order([[0], [1], [2], [3], [4]], 12, seed=2)
