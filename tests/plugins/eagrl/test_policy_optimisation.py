"""Stage II: which cases it takes, that it learns, repeats itself, survives a kill, and what its curves say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from eagbench.api import STYLES, FeatureVocabulary, Generation, RecordText, UserError, open_policy, prompt_with_spans
from eagbench_plugins.eagrl import (
    branch_attention,
    policy_optimisation,
    policy_optimisation_training,
    trained_policy,
)
from eagbench_plugins.eagrl.adaptive_clipping import AdaptiveClippingTrainer
from eagbench_plugins.eagrl.lora import LoRA
from eagbench_plugins.eagrl.optimisation import JudgedCase, Optimisation
from eagbench_plugins.eagrl.policy_optimisation import TRL_VERSIONS, case_order, optimise_policy
from eagbench_plugins.eagrl.rewards.brier import BrierReward
from tests.plugins.eagrl.conftest import Prepared, stage_run

STYLE = STYLES["question_decomposition"]
SMALL = {
    "steps": 3,
    "cases": 4,
    "group_size": 4,
    "passes": 2,
    "mini_batches": 2,
    "checkpoint_every": 1,
    "learning_rate": 1e-3,
}


def params(reward: str = "eag", **optimisation: Any) -> dict[str, Any]:
    return {
        "reward": {"kind": "reward", "name": reward, "params": {}},
        "style": "question_decomposition",
        "max_new_tokens": 48,
        "max_training_cases": None,
        "optimisation": Optimisation(**{**SMALL, **optimisation}).model_dump(mode="json"),
    }


def optimised(out: Path, inputs: dict[str, Any], reward: str = "eag", **optimisation: Any) -> Path:
    optimise_policy(stage_run(out, inputs, params(reward, **optimisation)))
    return out


def curves(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# Which cases


def test_no_case_comes_again_before_all_others_did() -> None:
    labels = np.array([1, 0, 0, 0, 1, 0, 0])
    order = case_order(labels, 5, 3, balance=False, seed=1)
    assert order.shape == (5, 3)
    taken = order.ravel()[: 2 * len(labels)]
    assert sorted(taken[: len(labels)]) == sorted(taken[len(labels) :]) == list(range(len(labels)))
    assert not np.array_equal(order, case_order(labels, 5, 3, balance=False, seed=2))


def test_half_of_each_balanced_batch_is_positive() -> None:
    labels = np.array([1] * 3 + [0] * 40)
    order = case_order(labels, 6, 4, balance=True, seed=0)
    assert (labels[order].sum(axis=1) == 2).all()
    assert np.unique(order[labels[order] == 1], return_counts=True)[1].tolist() == [4, 4, 4]


def test_a_batch_that_can_not_be_filled_is_the_users_to_mend() -> None:
    with pytest.raises(UserError, match="can't fill a generated batch of 4"):
        case_order(np.array([1, 0, 0]), 1, 4, balance=False, seed=0)
    with pytest.raises(UserError, match="half of them positive"):
        case_order(np.array([1, 0, 0, 0, 0]), 1, 4, balance=True, seed=0)


# What is asked for


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"passes": 1, "mini_batches": 1}, "no clip can act"),
        ({"cases": 3, "group_size": 3, "mini_batches": 2}, "do not divide"),
        ({"epsilon_high": 0.28}, "without adaptive clipping"),
        ({"group_size": 1}, "group_size"),
    ],
)
def test_what_can_not_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Optimisation(**changes)


def test_one_step_per_batch_is_allowed_without_adaptive_clipping() -> None:
    Optimisation(passes=1, mini_batches=1, adaptive_clipping=False)


def test_another_version_of_trl_is_refused(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy_optimisation.importlib.metadata, "version", lambda name: "2.0.0")
    with pytest.raises(UserError, match=f"TRL 2.0.0 is installed.*{TRL_VERSIONS}"):
        optimised(tmp_path / "out", prepared.inputs)


def test_a_policy_without_weights_is_refused(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trained_policy, "open_policy", lambda folder: object())
    with pytest.raises(UserError, match="can't be trained"):
        optimised(tmp_path / "out", prepared.inputs)


def test_an_answer_is_judged_up_to_its_end(prepared: Prepared) -> None:
    train = prepared.training.train
    vocabulary = FeatureVocabulary(train.cases.features)
    judged = JudgedCase(train.cases[0], 1, "", {}, None, BrierReward(BrierReward.Params()), STYLE, vocabulary)
    answer = "<Important Features> lactate<Final answer>0.70</Final answer>"
    trajectory = judged.read(Generation(answer + " and <Final answer>0.10</Final answer>", 12))
    assert (trajectory.text, trajectory.probability, trajectory.generated_tokens) == (answer, 0.7, 12)
    assert judged.judge(trajectory)["total"] == pytest.approx(1 - 0.3**2)
    assert judged.judge(judged.read(Generation("<Final answer>0.70", 5)))["total"] == -1.0


# Training


def test_the_same_seed_gives_the_same_bytes_and_a_kill_changes_nothing(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = optimised(tmp_path / "a", prepared.inputs)
    assert capsys.readouterr().out == ""
    assert weights(first) == weights(optimised(tmp_path / "b", prepared.inputs))

    class KilledError(Exception):
        pass

    real, calls = AdaptiveClippingTrainer._generate_and_score_completions, []

    def dying(self: Any, inputs: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KilledError
        return real(self, inputs)

    with monkeypatch.context() as patched:
        patched.setattr(AdaptiveClippingTrainer, "_generate_and_score_completions", dying)
        with pytest.raises(KilledError):
            optimised(tmp_path / "c", prepared.inputs)
    assert len(curves(tmp_path / "c")) == 2  # written while it trains
    generated = []

    def counting(self: Any, inputs: Any) -> Any:
        generated.append(self.state.global_step)
        return real(self, inputs)

    with monkeypatch.context() as patched:
        patched.setattr(AdaptiveClippingTrainer, "_generate_and_score_completions", counting)
        resumed = optimised(tmp_path / "c", prepared.inputs)
    assert generated == [8]  # the third generated batch, after 2 x 4 steps
    assert weights(resumed) == weights(first)
    assert (resumed / "curves.jsonl").read_bytes() == (first / "curves.jsonl").read_bytes()


def test_the_curves_say_what_was_written(prepared: Prepared, tmp_path: Path) -> None:
    run = stage_run(tmp_path / "out", prepared.inputs, params(steps=2))
    optimise_policy(run)
    lines = curves(run.out)
    assert [line["step"] for line in lines] == [1, 2]
    for line in lines:
        parts = 0.6 * line["reward_classification"] + 0.4 * line["reward_attention"] + line["reward_unparsed"]
        assert line["reward"] == pytest.approx(parts, abs=1e-5)
        assert line["unparsed_rate"] == -line["reward_unparsed"]
        assert 0 <= line["clip_freed"] <= line["clip_above_fixed"]
        assert line["clip_above_fixed"] == pytest.approx(line["clip_freed"] + line["clip_high"], abs=1e-6)
        assert 0.2 <= line["upper_bound"] <= 0.4
        assert line["entropy"] > 0
        assert line["kl"] >= 0
    assert run.costs == {"generated_tokens": round(sum(line["length"] for line in lines) * 16)}
    assert not list(run.out.glob("*.bin"))
    described = json.loads((run.out / "policy.json").read_text())
    assert described == json.loads((prepared.inputs["policy"] / "policy.json").read_text())
    open_policy(run.out)


def test_the_reward_rises(prepared: Prepared, tmp_path: Path) -> None:
    """The base policy cites at random and often can't be read; overlap with the expert's features is all it earns."""
    folder = optimised(
        tmp_path / "out",
        prepared.inputs,
        reward="citation_jaccard",
        steps=8,
        cases=8,
        group_size=8,
        learning_rate=2e-3,
        checkpoint_every=100,
        beta=0.0,
    )
    rewards = [line["reward"] for line in curves(folder)]
    assert np.mean(rewards[-2:]) > np.mean(rewards[:2]) + 0.1
    assert max(line["clip_above_fixed"] for line in curves(folder)) > 0.01


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8, "dropout": 0.0}], ids=["all weights", "adapters"])
def test_the_attention_that_is_judged_is_that_of_the_policy_as_it_is(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: dict[str, Any] | None
) -> None:
    case, cases = prepared.training.train.cases[0], prepared.training.train.cases
    prompt, spans = prompt_with_spans(STYLE, case, cases, RecordText.load(prepared.inputs["record_text"]))
    probes: list[Any] = []
    seen: list[Any] = []
    real = policy_optimisation_training.measure_attention

    def watching(probe: Any, prompts: Any, *rest: Any) -> Any:
        training = probe.model.training
        attention = real(probe, prompts, *rest)
        assert probe.model.training == training
        probes.append(probe)
        seen.append((probe.attention_to([prompt], ["<Final answer>"], [""], [list(spans.values())])[0], len(prompts)))
        return attention

    monkeypatch.setattr(policy_optimisation_training, "measure_attention", watching)
    folder = optimised(tmp_path / "out", prepared.inputs, reward="attention_mass", lora=lora)
    assert [n for _, n in seen] == [16] * 3
    (first, _), (second, _), (third, _) = seen
    base: Any = open_policy(prepared.inputs["policy"])
    np.testing.assert_allclose(
        first, base.attention_to([prompt], ["<Final answer>"], [""], [list(spans.values())])[0], rtol=1e-4
    )
    assert np.abs(np.subtract(second, first)).max() > 1e-5
    assert np.abs(np.subtract(third, second)).max() > 1e-5
    lines = curves(folder)
    for line in lines:
        parts = 0.6 * line["reward_classification"] + 0.4 * line["reward_attention"] + line["reward_unparsed"]
        assert line["reward"] == pytest.approx(parts, abs=1e-5)
    assert max(line["reward_attention"] for line in lines) > 0


@pytest.mark.parametrize("lora", [None, LoRA(rank=4)])
def test_no_pass_attends_over_whole_packed_rows(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: LoRA | None
) -> None:
    """Neither that of the policy nor that of the initial one."""
    monkeypatch.delattr(branch_attention, "sdpa_attention_forward")
    assert curves(optimised(tmp_path / "out", prepared.inputs, steps=1, beta=0.1, lora=lora))


def test_advantages_as_asked(prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's advantages: the reward minus the mean, over the standard deviation if asked."""
    seen: list[torch.Tensor] = []
    real = AdaptiveClippingTrainer._generate_and_score_completions

    def watching(self: Any, inputs: Any) -> Any:
        output = real(self, inputs)
        rewards = torch.tensor(list(self._logs["rewards"]["reward"])).view(-1, 4)
        seen.extend([rewards, output["advantages"].view(-1, 4)])
        return output

    monkeypatch.setattr(AdaptiveClippingTrainer, "_generate_and_score_completions", watching)
    for standardise in (False, True):
        seen.clear()
        optimised(tmp_path / str(standardise), prepared.inputs, steps=1, standardise_advantages=standardise)
        rewards, advantages = seen
        centred = rewards - rewards.mean(dim=1, keepdim=True)
        expected = centred / (rewards.std(dim=1, keepdim=True) + 1e-4) if standardise else centred
        torch.testing.assert_close(advantages, expected, rtol=0, atol=1e-5)


def test_the_answers_tokens_weigh_more_if_asked(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, torch.Tensor]] = []
    real = AdaptiveClippingTrainer._generate_and_score_completions

    def watching(self: Any, inputs: Any) -> Any:
        seen.append(real(self, inputs))
        return seen[-1]

    monkeypatch.setattr(AdaptiveClippingTrainer, "_generate_and_score_completions", watching)
    for weight in (1.0, 7.0):
        optimised(tmp_path / str(weight), prepared.inputs, steps=1, answer_weight=weight)
    plain, weighted = (output["advantages"] for output in seen)
    mask = seen[1]["completion_mask"]
    torch.testing.assert_close(seen[0]["completion_ids"], seen[1]["completion_ids"])
    assert (weighted[mask == 0] == 0).all()
    torch.testing.assert_close(weighted.sum(dim=1) / mask.sum(dim=1), plain, rtol=0, atol=1e-5)
    tokenizer = open_policy(prepared.inputs["policy"]).tokenizer  # type: ignore[attr-defined]
    answers = 0
    for tokens, values, length in zip(seen[1]["completion_ids"], weighted, mask.sum(dim=1), strict=True):
        text = tokenizer.decode(tokens[:length], skip_special_tokens=True)
        lightest = values[:length].abs().min()
        if lightest > 1e-6 and text.count(STYLE.answer_open) == 1 and STYLE.answer_close in text:
            heavy = (values[:length].abs() / lightest).round().eq(7.0)
            written = text.partition(STYLE.answer_open)[2].partition(STYLE.answer_close)[0]
            assert tokenizer.decode(tokens[:length][heavy]).split() == written.split()
            answers += 1
    assert answers >= 4


def test_adapters_are_merged_into_a_folder_like_any_other(prepared: Prepared, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    adapters = {"rank": 4, "alpha": 8, "dropout": 0.0}
    folder = optimised(tmp_path / "lora", prepared.inputs, steps=1, lora=adapters, accumulate=2)
    before = load_file(prepared.inputs["policy"] / "model.safetensors")
    after = load_file(folder / "model.safetensors")
    assert before.keys() == after.keys()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    assert all("proj" in name for name in moved)
    assert not list(folder.glob("adapter*"))


def test_a_chat_model_is_asked_in_its_template(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt's tokens in training are those of prediction."""
    import shutil

    chat = tmp_path / "chat"
    shutil.copytree(prepared.inputs["policy"], chat)
    opened: Any = open_policy(chat)
    opened.tokenizer.chat_template = "{% for m in messages %}age={{ m['content'] }}sex={% endfor %}"
    opened.tokenizer.save_pretrained(chat)
    opened = open_policy(chat)
    seen: list[Any] = []
    real = AdaptiveClippingTrainer._generate_and_score_completions

    def watching(self: Any, inputs: Any) -> Any:
        output = real(self, inputs)
        seen.extend([inputs, output])
        return output

    monkeypatch.setattr(AdaptiveClippingTrainer, "_generate_and_score_completions", watching)
    optimised(tmp_path / "out", {**prepared.inputs, "policy": chat}, steps=1, beta=0.0)
    inputs, output = seen
    for row, tokens, mask in zip(inputs, output["prompt_ids"], output["prompt_mask"], strict=True):
        text = opened.as_input(row["prompt"][0]["content"])
        assert tokens[mask.bool()].tolist() == opened.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_all_weights_of_a_policy_in_bfloat16_are_sampled_and_trained(
    prepared: Prepared, tmp_path: Path, trained_in: set[torch.dtype]
) -> None:
    pointer = tmp_path / "policy"
    pointer.mkdir()
    described = {"name": "hf", "params": {"path": str(prepared.inputs["policy"]), "dtype": "bfloat16"}}
    (pointer / "policy.json").write_text(json.dumps(described))
    folder = optimised(tmp_path / "hf", {**prepared.inputs, "policy": pointer}, steps=1)
    assert weights(folder) != weights(prepared.inputs["policy"])
    assert [line["unparsed_rate"] < 1 for line in curves(folder)] == [True]
    assert trained_in == {torch.bfloat16}


def test_nothing_of_a_training_stays_in_memory(prepared: Prepared, tmp_path: Path, opened_models: list) -> None:
    optimised(tmp_path / "out", prepared.inputs, steps=1)
    assert opened_models
    assert [model() for model in opened_models if model() is not None] == []


def test_a_model_folder_of_policy_hf_is_trained_as_well(prepared: Prepared, tmp_path: Path) -> None:
    pointer = tmp_path / "policy"
    pointer.mkdir()
    described = {"name": "hf", "params": {"path": str(prepared.inputs["policy"]), "batch_size": 64, "dtype": "float32"}}
    (pointer / "policy.json").write_text(json.dumps(described))
    folder = optimised(tmp_path / "hf", {**prepared.inputs, "policy": pointer}, steps=1)
    assert weights(folder) == weights(optimised(tmp_path / "tiny", prepared.inputs, steps=1))
    assert json.loads((folder / "policy.json").read_text()) == described
