"""`hf` opens a folder on disk, and says plainly what is wrong with one that is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from eagbench.api import STYLES, AnswerMode, StageRun, UserError, answer_cases, open_policy
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.tiny.policy import TinyPolicy

from .conftest import TINY


def _policy(path: Path | str) -> HuggingFacePolicy:
    return HuggingFacePolicy(HuggingFacePolicy.Params(path=str(path), device="cpu", dtype="float32"))


@pytest.mark.parametrize("mode", ["greedy", "mean_of_n", "expectation"])
def test_a_tiny_policy_answers_the_same_through_hf(prepared, tmp_path: Path, mode) -> None:
    hf = _policy(prepared.folder)
    hf.prepare(prepared.training, prepared.record_text, StageRun({}, {}, 0, tmp_path))
    assert list(tmp_path.iterdir()) == []
    tiny = TinyPolicy(TINY).open(prepared.folder)
    style, answer = STYLES["question_decomposition"], AnswerMode(mode=mode, samples=2)
    both = [
        answer_cases(model, prepared.held_out, prepared.record_text, style, answer, seed=5, max_new_tokens=120)
        for model in (tiny, hf.open(tmp_path))
    ]
    for one, other in zip(*both, strict=True):
        assert [t.text for t in one.trajectories] == [t.text for t in other.trajectories]
        assert (one.probability is None) == (other.probability is None)
        if one.probability is not None:
            assert one.probability == pytest.approx(other.probability, rel=1e-5)


def test_open_policy_finds_the_component_that_policy_json_names(prepared, tmp_path: Path) -> None:
    params = HuggingFacePolicy.Params(path=str(prepared.folder)).model_dump(mode="json")
    (tmp_path / "policy.json").write_text(json.dumps({"name": "hf", "params": params}))
    assert open_policy(tmp_path).batch_size == HuggingFacePolicy.Params(path="x").batch_size
    assert open_policy(prepared.folder).batch_size == TINY.generation_batch_size


def test_a_model_that_training_wrote_comes_before_the_one_it_started_from(prepared, tmp_path: Path) -> None:
    shutil.copytree(prepared.folder, tmp_path / "trained")
    assert _policy("/nowhere").open(tmp_path / "trained").tokenizer.eos_token == "<|end|>"


def test_content_changes_with_the_weights(prepared, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(prepared.folder, copy)
    before = _policy(prepared.folder).content()
    assert _policy(copy).content() == before
    with (copy / "model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    assert _policy(copy).content() != before


def test_what_is_no_model_is_refused_with_what_where_and_how(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    no_weights = tmp_path / "no_weights"
    no_weights.mkdir()
    (no_weights / "config.json").write_text("{}")
    for path, what in [
        (empty, "no config.json"),
        (no_weights, "no weights"),
        (tmp_path / "missing", "no such folder"),
        ("nobody/no-such-model", "no such folder"),
    ]:
        with pytest.raises(UserError, match=what) as raised:
            _policy(path).content()
        assert str(path) in raised.value.message
        assert raised.value.hint


def test_damaged_weights_are_refused_while_planning(prepared, tmp_path: Path) -> None:
    copy = tmp_path / "cut"
    shutil.copytree(prepared.folder, copy)
    file = copy / "model.safetensors"
    for cut, whole in (
        (file.stat().st_size // 2, file.read_bytes()),
        (100, b"version https://git-lfs.github.com/spec/v1\n" * 3),
    ):
        file.write_bytes(whole[:cut])
        with pytest.raises(UserError, match="damaged or incomplete") as raised:
            _policy(copy).content()
        assert str(file) in raised.value.message
        assert "download the file again" in str(raised.value.hint)


def test_a_folder_without_a_tokenizer_is_refused_by_name(prepared, tmp_path: Path) -> None:
    copy = tmp_path / "bare"
    shutil.copytree(prepared.folder, copy)
    for file in copy.glob("*token*"):
        file.unlink()
    with pytest.raises(UserError, match="tokenizer of this model folder can't be opened") as raised:
        _policy(copy).open(copy)
    assert str(copy) in raised.value.message


@pytest.mark.parametrize("device", ["gpu", "GPU", "cuda:", "cpu:x", ""])
def test_a_word_that_is_no_device_is_refused_by_the_parameters(device: str) -> None:
    with pytest.raises(ValidationError, match="is no device"):
        HuggingFacePolicy.Params(path="a", device=device)


def test_a_device_that_this_machine_lacks_is_told_when_the_model_is_opened(prepared) -> None:
    policy = HuggingFacePolicy(HuggingFacePolicy.Params(path=str(prepared.folder), device="cuda:99", dtype="float32"))
    with pytest.raises(UserError, match="no device 'cuda:99' on this machine"):
        policy.open(prepared.folder)
