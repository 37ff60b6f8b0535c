"""Two copies in two processes answer as one model does, whatever is asked and however often."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from eagbench.api import (
    STYLES,
    AttentionProbe,
    LanguageModel,
    OnSeveralDevices,
    RemembersTexts,
    Sampling,
    TextEncoder,
    UserError,
    open_policy,
    prompt_text,
)
from eagbench_plugins.policies.replicas import ReplicatedModel, check_devices
from tests.plugins.policies.conftest import Prepared

SAMPLED = Sampling(24, temperature=1.0)


def _policy(prepared: Prepared, folder: Path, devices: int) -> Any:
    params = {"path": str(prepared.folder), "devices": devices, "device": "cpu", "dtype": "float32"}
    folder.mkdir(exist_ok=True)
    (folder / "policy.json").write_text(json.dumps({"name": "hf", "params": params}))
    return open_policy(folder)


@pytest.fixture(scope="module")
def models(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    folder = tmp_path_factory.mktemp("devices")
    two = _policy(prepared, folder / "two", 2)
    yield _policy(prepared, folder / "one", 1), two
    two._processes.end()


@pytest.fixture(scope="module")
def prompts(prepared: Prepared) -> list[str]:
    style = STYLES["question_decomposition"]
    cases = prepared.held_out
    texts = [prompt_text(style, case, cases, prepared.record_text) for case in cases.items[:5]]
    return [*texts, texts[1], texts[1], texts[4]]


def test_it_has_every_ability_of_a_model_but_its_weights(models: tuple[Any, Any]) -> None:
    one, two = models
    assert isinstance(two, OnSeveralDevices)
    assert not isinstance(one, OnSeveralDevices)
    for ability in (LanguageModel, AttentionProbe, TextEncoder, RemembersTexts):
        assert isinstance(two, ability)


def test_texts_are_those_of_one_device(models: tuple[Any, Any], prompts: list[str]) -> None:
    found = [model.generate(prompts, SAMPLED, 3) for model in models]
    assert found[0] == found[1]
    assert len({text.text for text in found[0][5:7]}) == 2  # the same prompt again draws anew, on either
    begun = [text.text[:9] for text in found[0]]
    again = [model.generate(prompts[::-1], SAMPLED, 3, begun[::-1]) for model in models]
    assert again[0] == again[1]
    greedy = [model.generate(prompts, Sampling(8), 0) for model in models]
    assert greedy[0] == greedy[1]


def test_numbers_are_those_of_one_device(models: tuple[Any, Any], prompts: list[str]) -> None:
    levels, begun = ["0.1", "0.5", "0.9"], ["<"] * len(prompts)
    one, two = (model.continuation_probabilities(prompts, begun, levels) for model in models)
    np.testing.assert_allclose(one, two, atol=1e-6)
    one, two = (model.encode(prompts) for model in models)
    assert two.dtype == np.float32
    np.testing.assert_allclose(one, two, atol=1e-5)
    spans = [[(0, 4), (5, 12)]] * len(prompts)
    one, two = (model.attention_to(prompts, begun, ["0.5"] * len(prompts), spans) for model in models)
    np.testing.assert_allclose(one, two, atol=1e-7)


def test_nothing_to_do_is_done(models: tuple[Any, Any]) -> None:
    _, two = models
    assert two.generate([], SAMPLED, 0) == []
    assert two.continuation_probabilities([], [], ["a", "b"]).shape == (0, 2)
    assert two.encode([]).shape == models[0].encode([]).shape


def test_a_prompt_stays_on_the_device_that_read_it(models: tuple[Any, Any], prompts: list[str]) -> None:
    _, two = models
    two.forget()
    first = two._rows(prompts)
    assert sorted(first) == [0, 1]
    assert sorted(i for rows in first.values() for i in rows) == list(range(len(prompts)))
    owner = {prompts[i]: device for device, rows in first.items() for i in rows}
    for device, rows in two._rows(prompts[3:]).items():
        assert {owner[prompts[3:][i]] for i in rows} == {device}


@pytest.mark.slow
def test_an_error_of_a_copy_is_the_callers_and_the_next_call_starts_anew(prepared: Prepared, tmp_path: Path) -> None:
    two = _policy(prepared, tmp_path, 2)
    with pytest.raises(AttributeError):
        two._answers({1: ("no_such_method", ())})
    assert two._processes is None
    assert len(two.generate(["a"], SAMPLED, 0)) == 1
    two._processes._processes[1].kill()
    with pytest.raises(RuntimeError, match="process 1 of 2 ended without a result"):
        two.generate(["a", "b"], SAMPLED, 0)


@pytest.mark.slow
def test_the_copies_end_with_the_model(prepared: Prepared, tmp_path: Path) -> None:
    two = _policy(prepared, tmp_path, 2)
    two.generate(["a"], SAMPLED, 0)
    processes = [psutil.Process(process.pid) for process in two._processes._processes]
    assert len(processes) == 2
    del two
    assert not [process for process in processes if process.is_running()]


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="names one device"):
        check_devices(2, "cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(2, "auto")
    check_devices(4, "cpu")
    with pytest.raises(UserError, match="this machine has 2 GPUs"):
        check_devices(4, "auto")


def test_opening_loads_no_weights(prepared: Prepared, tmp_path: Path) -> None:
    two = _policy(prepared, tmp_path, 2)
    assert isinstance(two, ReplicatedModel)
    assert two._processes is None
    assert two.prompt_tokens(["a b"]) == two._policy.counter(tmp_path).prompt_tokens(["a b"])
