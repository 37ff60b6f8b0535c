"""What a local model really reads: whole records, in a template that holds them, within its positions."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from eagbench.api import STYLES, AnswerMode, Sampling, StageRun, UserError, answer_cases, prompt_text
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.transformers_model import TransformersModel

SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {**SIZE, "intermediate_size": 64},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "falcon_mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8},
    "rwkv": {"hidden_size": 32, "num_hidden_layers": 2, "attention_hidden_size": 32},
    "lfm2": {**SIZE, "intermediate_size": 64, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},
    "qwen3_next": {
        **SIZE, "intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8, "linear_key_head_dim": 8,
        "linear_value_head_dim": 8, "linear_num_key_heads": 2, "linear_num_value_heads": 4, "num_experts": 4,
        "num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 16,
        "layer_types": ["linear_attention", "full_attention"],
    },
}  # fmt: skip
TURNS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"


@pytest.fixture
def folder(prepared, tmp_path: Path) -> Callable[..., Path]:
    """Writes a model folder of a family, with the tiny policy's tokenizer as a test changes it."""

    def write(family: str = "llama", change: Callable[[Any], Any] = lambda t: t, **shape: Any) -> Path:
        tokenizer = AutoTokenizer.from_pretrained(prepared.folder)
        tokenizer = change(tokenizer) or tokenizer
        ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
        torch.manual_seed(0)
        config = AutoConfig.for_model(family, **{**SHAPES[family], **shape}, vocab_size=len(tokenizer), **ends)
        model = AutoModelForCausalLM.from_config(config).float()
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() > 1:
                    weights.mul_(8.0)  # far from ties
        model.save_pretrained(tmp_path / family)
        tokenizer.save_pretrained(tmp_path / family)
        return tmp_path / family

    return write


def policy(path: Path) -> HuggingFacePolicy:
    return HuggingFacePolicy(HuggingFacePolicy.Params(path=str(path), device="cpu", dtype="float32"))


def prepare(path: Path, prepared: Any) -> None:
    policy(path).prepare(prepared.training, prepared.record_text, StageRun({}, {}, 0, path.parent))


def template(text: str) -> Callable[[Any], None]:
    def change(tokenizer: Any) -> None:
        tokenizer.chat_template = text

    return change


def appending_end(tokenizer: Any) -> None:
    end = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
    )


def test_a_template_that_holds_the_record_is_taken(prepared, folder) -> None:
    prepare(folder(change=template(TURNS + "{% if add_generation_prompt %}<bot>{% endif %}")), prepared)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}"
            "{% endfor %}{% endfor %}<bot>",
            "leaves the patient's record out: it expects content in parts",
        ),
        ("{% for m in messages %}{% if m['role'] == 'human' %}{{ m['content'] }}{% endif %}{% endfor %}<bot>",
         "leaves the patient's record out: it knows no user turn"),
        ("{% if messages[0]['role'] != 'system' %}{{ raise_exception('system first') }}{% endif %}" + TURNS,
         "demands a system turn.*system first"),
        ("{{ raise_exception('no such role') }}", "can't render a user turn: no such role"),
        (TURNS + "{{ eos_token }}", "ends in its end token"),
        (TURNS + "{{ eos_token }}\n", "ends in its end token"),
    ],
)  # fmt: skip
def test_a_template_without_the_record_or_with_an_end_is_refused_before_anything_is_asked(
    prepared, folder, text, said
) -> None:
    with pytest.raises(UserError, match=said) as raised:
        prepare(folder(change=template(text)), prepared)
    assert raised.value.hint


def test_a_tokenizer_that_appends_its_end_token_does_not_end_a_begun_answer(prepared, folder) -> None:
    path = folder(change=appending_end)
    assert AutoTokenizer.from_pretrained(path)("a")["input_ids"][-1] == AutoTokenizer.from_pretrained(path).eos_token_id
    prepare(path, prepared)
    model = TransformersModel.load(path, dtype="float32", device="cpu")
    plain = TransformersModel(model.model, AutoTokenizer.from_pretrained(prepared.folder), 16)
    prompts, levels = ["sex=male", "sex=female age=q5"], ["0.05", "0.10"]
    assert model.generate(prompts, Sampling(8), 0, ["<answer>", ""]) == plain.generate(
        prompts, Sampling(8), 0, ["<answer>", ""]
    )
    np.testing.assert_array_equal(
        model.continuation_probabilities(prompts, ["<answer>"] * 2, levels),
        plain.continuation_probabilities(prompts, ["<answer>"] * 2, levels),
    )


def test_a_tokenizer_without_digits_is_refused(prepared, folder) -> None:
    letters = {chr(i): i for i in range(32, 127) if not chr(i).isdigit()}
    vocabulary = {text: i for i, text in enumerate([*letters, "\n", "<unk>", "<end>"])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    other = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="<end>", pad_token="<end>")
    with pytest.raises(UserError, match=r"has no token for .*5"):
        prepare(folder(change=lambda _: other), prepared)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_records_longer_than_the_positions_are_refused_before_anything_is_trained(prepared, folder, family) -> None:
    name = "n_positions" if family == "gpt2" else "max_position_embeddings"
    with pytest.raises(UserError, match=r"200 of 200 prompts are too long: the longest prompt takes \d+ tok") as raised:
        prepare(folder(family, **{name: 8}), prepared)
    assert "policy reads 8" in raised.value.message
    assert "periods" in str(raised.value.hint)
    assert "values" in str(raised.value.hint)


@pytest.mark.parametrize("mode", ["greedy", "mean_of_n", "expectation"])
def test_one_long_record_is_counted_and_changes_no_other_answer(prepared, folder, mode) -> None:
    cases = prepared.held_out.select(range(6))
    style, answer = STYLES["vanilla"], AnswerMode(mode=mode, samples=2)

    def asked(path: Path) -> list[Any]:
        model = policy(path).open(path.parent)
        return answer_cases(model, cases, prepared.record_text, style, answer, seed=0, max_new_tokens=4)

    path = folder("llama")
    free = asked(path)
    model = TransformersModel.load(path, dtype="float32", device="cpu")
    lengths = model.prompt_tokens([prompt_text(style, case, cases, prepared.record_text) for case in cases])
    shutil.rmtree(path)
    bounded = asked(folder("llama", max_position_embeddings=max(lengths)))
    too_long = [length == max(lengths) for length in lengths]
    assert 0 < sum(too_long) < len(lengths)
    assert [p.extras.get("too_long") == 1.0 and p.trajectories[0].text == "" for p in bounded] == too_long
    for one, other, out, length in zip(free, bounded, too_long, lengths, strict=True):
        if not out and length + 4 <= max(lengths):
            assert dataclasses.replace(one, extras={}) == dataclasses.replace(other, extras={})


PROMPTS = ["heart_rate@24h=q9 " * n + "Question" for n in (9, 1, 4, 6)]
LEVELS = ["0.05", "0.10", "0.95"]


@pytest.mark.parametrize("family", sorted(SHAPES))
def test_a_family_writes_the_same_alone_in_a_batch_and_as_transformers_does(folder, family) -> None:
    model = TransformersModel.load(folder(family), dtype="float32", device="cpu", batch_size=8)
    together = model.generate(PROMPTS, Sampling(8), 0)
    assert together == [model.generate([prompt], Sampling(8), 0)[0] for prompt in PROMPTS]
    for prompt, written in zip(PROMPTS, together, strict=True):
        ids = model.tokenizer(prompt, return_tensors="pt")["input_ids"]
        made = model.model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :]
        assert written.text == model.tokenizer.decode(made, skip_special_tokens=True)
    together_levels = model.continuation_probabilities(PROMPTS, [""] * 4, LEVELS)
    alone = [model.continuation_probabilities([prompt], [""], LEVELS)[0] for prompt in PROMPTS]
    np.testing.assert_allclose(together_levels, alone, rtol=1e-4, atol=1e-7)
    if family not in {"rwkv", "gpt2"}:
        vectors = np.concatenate([model.encode([prompt]) for prompt in PROMPTS])
        np.testing.assert_allclose(model.encode(PROMPTS), vectors, rtol=1e-3, atol=1e-4)


def test_a_state_space_model_gives_no_attention(folder) -> None:
    model = TransformersModel.load(folder("mamba"), dtype="float32", device="cpu")
    with pytest.raises(UserError, match="attention can't be measured"):
        model.attention_to(["a b"], [""], ["c"], [[(0, 1)]])
