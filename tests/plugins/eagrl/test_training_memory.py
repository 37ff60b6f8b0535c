"""A step is divided by declared numbers, from an estimate that is near the bytes which autograd really keeps."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eagbench.api import StageRun, UserError
from eagbench_plugins.eagrl.lora import LoRA, peft_config
from eagbench_plugins.eagrl.scored_positions import TILE, only_scored_positions
from eagbench_plugins.eagrl.selective_recomputation import sparing_feed_forward
from eagbench_plugins.eagrl.training_memory import (
    Division,
    Recomputed,
    Rows,
    TrainingMemory,
    divide_step,
    training_memory,
    ways_to_train,
)

WIDTH, FEED_FORWARD = 192, 512


def _model(layers: int, dtype: torch.dtype = torch.float32) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=96,
        hidden_size=WIDTH,
        intermediate_size=FEED_FORWARD,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).to(dtype)


def _opened(model: Any, memory_gb: float = 8.0) -> Any:
    nothing = {"generate": None, "continuation_probabilities": None, "as_input": None, "tokenizer": None}
    return SimpleNamespace(model=model, memory_gb=memory_gb, **nothing)


def _kept(layers: int, lora: LoRA | None, bf16: bool, rows: int, length: int, way: Recomputed) -> int:
    """Count the bytes that are kept of a forward pass for its backward pass."""
    from peft import get_peft_model

    model = _model(layers, torch.bfloat16 if bf16 and lora else torch.float32)
    if lora is not None:
        model = get_peft_model(model, peft_config(lora))
        model.enable_input_require_grads()
    model.train()
    ids, mask = torch.ones(rows, length, dtype=torch.long), torch.ones(rows, 1, length, length, dtype=torch.bool).tril()
    with (
        sparing_feed_forward(model) if way is Recomputed.CHEAP else nullcontext(),
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile,
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        out = model(input_ids=ids, attention_mask=mask, use_cache=False)
    assert out.logits.requires_grad
    return sum(event.self_cpu_memory_usage for event in profile.key_averages())


@pytest.mark.parametrize("way", [Recomputed.NOTHING, Recomputed.CHEAP])
@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("lora", [None, LoRA(dropout=0.0), LoRA(dropout=0.05)])
def test_the_estimate_of_a_layer_is_near_what_is_kept(lora: LoRA | None, bf16: bool, way: Recomputed) -> None:
    rows, length = 4, 256
    counted = (_kept(3, lora, bf16, rows, length, way) - _kept(1, lora, bf16, rows, length, way)) / 2
    if bf16 and lora is None:  # autocast's copies of the layer's weights, which the estimate has among the fixed bytes
        counted -= 2 * sum(p.numel() for p in _model(1).model.layers.parameters())
    opened = _opened(_model(1, torch.bfloat16 if bf16 else torch.float32))
    memory = training_memory(opened, lora, way)
    estimate = memory.of(rows * length, length) - memory.fixed
    # On a CPU the estimate has half more, for the allocator.
    assert 0.95 < estimate / 1.5 / counted < 1.35, (estimate, counted)


def test_packed_rows_that_are_computed_again_keep_one_layer_s_mask() -> None:
    opened = _opened(_model(4))
    plain, packed = (training_memory(opened, None, Recomputed.CHEAP, packed=packed) for packed in (False, True))
    assert (plain.masks, packed.masks) == (4 * packed.masks, 1.5)
    assert plain.per_token == packed.per_token


def test_what_a_parameter_costs_follows_from_what_is_trained() -> None:
    model = _model(2)
    parameters = sum(p.numel() for p in model.parameters())
    every, with_reference = (
        training_memory(_opened(model), None, Recomputed.NOTHING, reference=r) for r in (False, True)
    )
    assert with_reference.fixed - every.fixed == 4 * parameters
    small, large = (training_memory(_opened(model), LoRA(rank=rank), Recomputed.NOTHING) for rank in (1, 3))
    from peft import get_peft_model

    adapted = get_peft_model(_model(2), peft_config(LoRA(rank=2)))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert large.fixed - small.fixed == 16 * trained
    again = training_memory(_opened(model), None, Recomputed.LAYERS)
    assert again.of(1000, 500) < 0.8 * every.of(1000, 500) + 0.2 * every.fixed


def test_the_rows_of_a_group_count_their_prompt_once() -> None:
    assert Rows(8, 0, 100).tokens(3) == (300, 100)
    grouped = Rows(8, 500, 40, group=4)
    assert grouped.tokens(8) == (2 * 500 + 8 * 41, 500 + 4 * 41)
    assert grouped.tokens(2) == (500 + 2 * 41, 500 + 2 * 41)
    assert grouped.tokens(6)[0] == 3 * 500 + 6 * 41  # a part that cuts groups may touch one more


def _ways(*per_token: float) -> dict[Recomputed, TrainingMemory]:
    return {
        way: TrainingMemory(fixed=1e9, per_token=bytes_, masks=0)
        for way, bytes_ in zip((Recomputed.NOTHING, Recomputed.CHEAP), per_token, strict=False)
    }


@pytest.mark.parametrize(("declared", "parts"), [(13.0, 1), (12.9, 2), (4.5, 4), (3.9, 6), (2.0, 12)])
def test_a_step_is_divided_into_as_few_equal_parts_as_fit(declared: float, parts: int, tmp_path: Path) -> None:
    ways = _ways(1e7)  # 1 GB, and 1 GB for a row of 100 tokens
    run = StageRun({}, {}, 0, tmp_path)
    division = divide_step(_opened(None, declared), ways, Rows(12, 0, 100), None, run)
    assert division == Division(parts, Recomputed.NOTHING)
    told = json.loads((tmp_path / "memory.json").read_text())
    assert (told["parts"], told["rows_per_part"], told["longest_row"]) == (parts, 12 // parts, 100)
    assert told["estimated_gb"] == 1 + 12 // parts <= told["memory_gb"] == declared
    assert told["recomputed"] == "nothing"


@pytest.mark.parametrize(
    ("declared", "parts", "recomputed"),
    [(13.0, 1, "nothing"), (7.0, 1, "cheap"), (6.9, 2, "cheap"), (1.5, 12, "cheap")],
)
def test_what_is_cheap_is_computed_again_where_fewer_parts_do_then(
    declared: float, parts: int, recomputed: str, tmp_path: Path
) -> None:
    ways = _ways(1e7, 5e6)  # 1 GB, and 1 or 0.5 GB for a row of 100 tokens
    found = divide_step(_opened(None, declared), ways, Rows(12, 0, 100), None, StageRun({}, {}, 0, tmp_path))
    assert found == Division(parts, Recomputed(recomputed))
    declared_parts = divide_step(_opened(None, 8.0), ways, Rows(12, 0, 100), 1, StageRun({}, {}, 0, tmp_path))
    assert declared_parts == Division(1, Recomputed.CHEAP)


def test_too_little_memory_is_refused_with_what_is_needed_and_a_declared_division_stays(tmp_path: Path) -> None:
    ways, run = _ways(2e7, 1e7), StageRun({}, {}, 0, tmp_path)
    with pytest.raises(UserError, match=r"single row of 100 tokens takes about 2.0 GB.*`memory_gb` is 1.9") as refused:
        divide_step(_opened(None, 1.9), ways, Rows(12, 0, 100), None, run)
    for hint in ("lora", "activation_checkpointing", "compact", "memory_gb: 2"):
        assert hint in str(refused.value.hint)
    assert divide_step(_opened(None, 1.9), ways, Rows(12, 0, 100), 3, run) == Division(3, Recomputed.CHEAP)


def test_who_asks_for_whole_layers_gets_whole_layers() -> None:
    opened = _opened(_model(2))
    assert list(ways_to_train(opened, None, checkpointing=True, packed=True)) == [Recomputed.LAYERS]
    plain, cheap = ways_to_train(opened, None, checkpointing=False, packed=True).values()
    assert cheap.of(1000, 500) < plain.of(1000, 500)


def test_a_model_of_unknown_blocks_keeps_everything() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    opened = _opened(GPT2LMHeadModel(GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=2)))
    assert list(ways_to_train(opened, None, checkpointing=False, packed=True)) == [Recomputed.NOTHING]


@pytest.mark.parametrize("bf16", [False, True])
def test_a_head_in_tiles_gives_the_values_and_gradients_of_all_logits_at_once(bf16: bool) -> None:
    from trl.trainer.utils import add_fused_lm_head

    model = _model(1)
    add_fused_lm_head(model, outputs=("log_probs", "entropy"))
    length = 2 * TILE + 40
    ids = torch.randint(96, (2, length), generator=torch.Generator().manual_seed(0))
    weights = torch.linspace(-1, 1, length - 1)
    found = []
    for fused in (True, False):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            if fused:
                with only_scored_positions():
                    out = model(input_ids=ids, labels=ids, use_cache=False, fused_lm_head=True)
                log_p, entropy = out.log_probs, out.entropy
            else:
                logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float().log_softmax(-1)
                log_p = logits.gather(-1, ids[:, 1:, None])[..., 0]
                entropy = -(logits.exp() * logits).sum(-1)
        (log_p * weights + 0.1 * entropy).sum().backward()
        found.append([log_p.detach(), entropy.detach(), *(p.grad.clone() for p in model.parameters())])
    tolerance = 3e-2 if bf16 else 1e-5
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=tolerance, atol=tolerance * max(1.0, float(plain.abs().max())))
