"""A step is divided by declared numbers, from an estimate that is near the bytes which autograd really keeps."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from eagbench.api import StageRun, UserError
from eagbench_plugins.eagrl.lora import LoRA, peft_config
from eagbench_plugins.eagrl.scored_positions import TILE, only_scored_positions
from eagbench_plugins.eagrl.training_memory import Rows, TrainingMemory, parts_of_step, training_memory

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


def _kept(layers: int, lora: LoRA | None, bf16: bool, rows: int, length: int) -> int:
    """Count the bytes that autograd keeps of a forward pass, parameters apart."""
    from peft import get_peft_model

    model = _model(layers, torch.bfloat16 if bf16 and lora else torch.float32)
    if lora is not None:
        model = get_peft_model(model, peft_config(lora))
        model.enable_input_require_grads()
    model.train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, tuple[int, Any]] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes(), tensor
        return tensor

    mask = torch.ones(rows, 1, length, length, dtype=torch.bool).tril()
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=bf16),
    ):
        model(input_ids=torch.ones(rows, length, dtype=torch.long), attention_mask=mask, use_cache=False)
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("lora", [None, LoRA(dropout=0.0), LoRA(dropout=0.05)])
def test_the_estimate_of_a_layer_is_near_what_autograd_keeps(lora: LoRA | None, bf16: bool) -> None:
    rows, length = 4, 256
    counted = (_kept(3, lora, bf16, rows, length) - _kept(1, lora, bf16, rows, length)) / 2
    if bf16 and lora is None:  # autocast's copies of the layer's weights, which the estimate has among the fixed bytes
        counted -= 2 * sum(p.numel() for p in _model(1).model.layers.parameters())
    opened = _opened(_model(1, torch.bfloat16 if bf16 else torch.float32))
    memory = training_memory(opened, lora, checkpointing=False)
    estimate = memory.of(rows * length, length) - memory.fixed
    # On a CPU the estimate has half more, for the allocator.
    assert 0.95 < estimate / 1.5 / counted < 1.35, (estimate, counted)


def test_what_a_parameter_costs_follows_from_what_is_trained() -> None:
    model = _model(2)
    parameters = sum(p.numel() for p in model.parameters())
    every, with_reference = (
        training_memory(_opened(model), None, checkpointing=False, reference=r) for r in (False, True)
    )
    assert with_reference.fixed - every.fixed == 4 * parameters
    small, large = (training_memory(_opened(model), LoRA(rank=rank), checkpointing=False) for rank in (1, 3))
    from peft import get_peft_model

    adapted = get_peft_model(_model(2), peft_config(LoRA(rank=2)))
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert large.fixed - small.fixed == 16 * trained
    again = training_memory(_opened(model), None, checkpointing=True)
    assert again.of(1000, 500) < 0.8 * every.of(1000, 500) + 0.2 * every.fixed


def test_the_rows_of_a_group_count_their_prompt_once() -> None:
    assert Rows(8, 0, 100).tokens(3) == (300, 100)
    grouped = Rows(8, 500, 40, group=4)
    assert grouped.tokens(8) == (2 * 500 + 8 * 41, 500 + 4 * 41)
    assert grouped.tokens(2) == (500 + 2 * 41, 500 + 2 * 41)
    assert grouped.tokens(6)[0] == 3 * 500 + 6 * 41  # a part that cuts groups may touch one more


@pytest.mark.parametrize(("declared", "parts"), [(13.0, 1), (12.9, 2), (4.5, 4), (3.9, 6), (2.0, 12)])
def test_a_step_is_divided_into_as_few_equal_parts_as_fit(declared: float, parts: int, tmp_path: Path) -> None:
    memory = TrainingMemory(fixed=1e9, per_token=1e7, masks=0)  # 1 GB, and 1 GB for a row of 100 tokens
    run = StageRun({}, {}, 0, tmp_path)
    assert parts_of_step(_opened(None, declared), memory, Rows(12, 0, 100), None, run) == parts
    told = json.loads((tmp_path / "memory.json").read_text())
    assert (told["parts"], told["rows_per_part"], told["longest_row"]) == (parts, 12 // parts, 100)
    assert told["estimated_gb"] == 1 + 12 // parts <= told["memory_gb"] == declared


def test_too_little_memory_is_refused_with_what_is_needed_and_a_declared_division_stays(tmp_path: Path) -> None:
    memory, run = TrainingMemory(fixed=1e9, per_token=1e7, masks=0), StageRun({}, {}, 0, tmp_path)
    with pytest.raises(UserError, match=r"single row of 100 tokens takes about 2.0 GB.*`memory_gb` is 1.9") as refused:
        parts_of_step(_opened(None, 1.9), memory, Rows(12, 0, 100), None, run)
    for way in ("lora", "activation_checkpointing", "compact", "memory_gb: 2"):
        assert way in str(refused.value.hint)
    assert parts_of_step(_opened(None, 1.9), memory, Rows(12, 0, 100), 3, run) == 3


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
