"""Trajectories from a server in vLLM's protocol: the version of the moment, exact tokens, faults a user can mend."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from eagbench.api import UserError
from eagbench_plugins.eagrl import two_stages
from eagbench_plugins.eagrl.policy_optimisation import optimise_policy
from eagbench_plugins.eagrl.two_stages import PolicyOptimisation
from eagbench_plugins.eagrl.vllm_params import VLLMRollouts
from eagbench_plugins.eagrl.vllm_rollouts import VLLMSampler
from tests.plugins.eagrl import test_policy_optimisation as stage_two
from tests.plugins.eagrl.conftest import Prepared, stage_run
from tests.plugins.eagrl.test_data_parallel import _policy
from tests.plugins.eagrl.vllm_stand_in import VLLMStandIn

ENDS = frozenset([2])
PROMPTS = [[5, 6, 7]] * 3 + [[8, 9]] * 3


@pytest.fixture
def serve(prepared: Prepared) -> Iterator[Callable[..., VLLMStandIn]]:
    with contextlib.ExitStack() as running:

        def serve(**changes: Any) -> VLLMStandIn:
            server = VLLMStandIn(changes.pop("base", prepared.inputs["policy"]), **changes)
            running.callback(server.close)
            return server

        yield serve


def adapters(prepared: Prepared, rank: int = 4) -> Any:
    model = AutoModelForCausalLM.from_pretrained(prepared.inputs["policy"], dtype=torch.float32)
    return get_peft_model(model, LoraConfig(r=rank, target_modules="all-linear", task_type="CAUSAL_LM"))


def sampler(server: VLLMStandIn, prepared: Prepared, out: Path, **changes: Any) -> VLLMSampler:
    params = VLLMRollouts(name="vllm", base_url=server.url, timeout_s=30, **changes)
    run = stage_run(out, prepared.inputs, {})
    return VLLMSampler(params, run, prepared.inputs["policy"], rank=4, temperature=1.0, most=6)


def test_stage_two_samples_every_batch_from_the_adapters_of_the_moment(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    server = serve()
    optimisation = {"lora": {"rank": 4, "alpha": 8}, "rollouts": {"name": "vllm", "base_url": server.url}}
    run = stage_run(tmp_path, prepared.inputs, stage_two.params("eag", **optimisation, learning_rate=3e-3))
    optimise_policy(run)
    names = list(server.versions)
    assert len(names) == len(set(names)) == 3  # generated batches
    assert [name for name, _, _ in server.written] == [name for name in names for _ in range(4)]  # groups, in turn
    first, *later = (server.versions[name] for name in names)
    assert all(bool((weight == 0).all()) for place, weight in first.items() if "lora_B" in place)
    for before, after in zip([first, *later], later, strict=False):
        assert before.keys() == after.keys() != set(), list(before)
        assert any(not torch.equal(before[place], after[place]) for place in before)
    assert run.costs["generated_tokens"] == sum(len(text) for _, _, texts in server.written for text in texts)
    assert len({request["seed"] for request in server.requests}) == len(server.requests)
    assert server.adapters == {}
    assert not list((tmp_path / "checkpoints").glob("*adapters"))
    assert len(stage_two.curves(tmp_path)) == 3
    assert stage_two.weights(tmp_path) != stage_two.weights(prepared.inputs["policy"])


def test_what_comes_back_are_the_tokens_that_were_sampled(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    server, model = serve(), adapters(prepared)
    rollouts = sampler(server, prepared, tmp_path)
    rollouts.open()
    found = [rollouts.write(model, PROMPTS, ENDS, step) for step in (0, 1)]
    assert found[0] != found[1]
    by_prompt = {tuple(prompt): texts for _, prompt, texts in server.written[:2]}
    assert found[0] == [*by_prompt[5, 6, 7], *by_prompt[8, 9]]
    request = server.requests[0]
    # What is left out, the server takes from the model's generation_config.json.
    assert {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}.items() <= request.items()
    assert list(server.adapters) == list(server.versions)[1:]  # the version before is gone
    rollouts.close()
    assert server.adapters == {}


def test_files_in_the_folder_of_the_user_stay(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "notes.txt").write_text("mine")
    rollouts = sampler(serve(), prepared, tmp_path, folder=str(shared))
    rollouts.open()
    rollouts.write(adapters(prepared), PROMPTS, ENDS, 0)
    rollouts.close()
    assert [path.name for path in shared.iterdir()] == ["notes.txt"]


def test_what_a_killed_process_left_is_dropped_and_never_taken_for_new(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    server, model = serve(), adapters(prepared)
    killed = sampler(server, prepared, tmp_path / "stage")
    killed.write(model, PROMPTS, ENDS, 0)
    other = sampler(server, prepared, tmp_path / "other")
    other.write(model, PROMPTS, ENDS, 0)
    again = sampler(server, prepared, tmp_path / "stage")
    again.open()
    (left,) = server.adapters
    assert left == other._loaded
    again.write(model, PROMPTS, ENDS, 0)
    assert again._loaded not in (killed._loaded, other._loaded)


def _fails(rollouts: VLLMSampler, model: Any, match: str) -> UserError:
    def sample() -> None:
        rollouts.open()
        rollouts.write(model, PROMPTS, ENDS, 0)

    with pytest.raises(UserError, match=match) as caught:
        sample()
    return caught.value


def test_a_server_that_updates_nothing_says_how_to_start_it(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    error = _fails(sampler(serve(updating=False), prepared, tmp_path), adapters(prepared), "loads no adapters while")
    assert "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve" in str(error)
    assert "--enable-lora --max-lora-rank 4" in str(error)


def test_an_adapter_that_can_not_be_read_is_said(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    server = serve()
    folder = tmp_path / "shared"
    server.before = lambda path: shutil.rmtree(folder, ignore_errors=True) if path.startswith("load") else None
    error = _fails(sampler(server, prepared, tmp_path, folder=str(folder)), adapters(prepared), "No adapter found")
    assert "under the same path" in str(error)
    _fails(sampler(serve(), prepared, tmp_path), adapters(prepared, rank=32), "greater than max_lora_rank")


def test_a_stale_version_is_never_trained_on(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    model = adapters(prepared)
    older = serve(changed=lambda answer: {**answer, "model": "eagbench-older"})
    _fails(sampler(older, prepared, tmp_path), model, "another version .* eagbench-older answered")

    dropped = serve()
    dropped.before = lambda path: dropped.adapters.clear() if path == "completions" else None
    _fails(sampler(dropped, prepared, tmp_path), model, "another version .* does not know")

    replaced = serve()

    def replace(path: str) -> None:  # somebody else loads other files under the name
        if len(replaced.written) == 2:
            replaced.adapters.update(dict.fromkeys(replaced.adapters, "/elsewhere"))

    replaced.before = replace
    _fails(sampler(replaced, prepared, tmp_path), model, "another version .* from /elsewhere")


def test_a_server_that_dies_in_the_middle_is_the_users_to_start_again(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    server = serve()
    server.before = lambda path: setattr(server, "dies", path == "completions")
    error = _fails(sampler(server, prepared, tmp_path), adapters(prepared), "could not be reached for completions")
    assert "goes on from its last checkpoint" in str(error)


def test_texts_without_their_tokens_are_refused(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    def without(answer: dict[str, Any]) -> dict[str, Any]:
        kept = [{name: c[name] for name in c if name != "token_ids"} for c in answer["choices"]]
        return {**answer, "choices": kept}

    def unended(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "choices": [{**c, "finish_reason": "stop", "token_ids": [7]} for c in answer["choices"]]}

    model = adapters(prepared)
    _fails(sampler(serve(changed=without), prepared, tmp_path), model, "does not tell the tokens")
    _fails(sampler(serve(changed=unended), prepared, tmp_path), model, "without one of the tokens that end it")


def test_a_server_of_another_model_is_refused(
    serve: Callable[..., VLLMStandIn], prepared: Prepared, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(prepared.inputs["policy"], other)
    error = _fails(sampler(serve(base=other), prepared, tmp_path), adapters(prepared), "serves another model")
    assert str(prepared.inputs["policy"]) in str(error)


def test_parameters_that_can_not_work_are_refused_beforehand() -> None:
    rollouts = {"name": "vllm"}
    with pytest.raises(ValidationError, match="add `lora: "):
        PolicyOptimisation(rollouts=rollouts)
    with pytest.raises(ValidationError, match="on this machine"):
        PolicyOptimisation(lora={}, rollouts={**rollouts, "base_url": "http://elsewhere.example:8000/v1"})
    with pytest.raises(UserError, match="training runs on one device"):
        two_stages._refuse_undividable(_policy(2), PolicyOptimisation(lora={}, rollouts=rollouts), "eag_rl")
