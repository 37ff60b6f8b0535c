"""What is computed again changes no bit of a gradient, and is only what costs little."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from eagbench_plugins.eagrl.selective_recomputation import sparing, sparing_feed_forward

SIZES = {"vocab_size": 50, "hidden_size": 160, "intermediate_size": 192, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}
IDS = torch.arange(24).view(2, 12)


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        self.operations[str(operation)] += 1
        return operation(*arguments, **(options or {}))


def _llama(adapters: bool = False, dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS))
    if adapters:
        model = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", lora_dropout=dropout))
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.1)
    return model.train()


def _found(model: Any, spared: bool, bf16: bool = False) -> tuple[list[torch.Tensor], Counter[str]]:
    """The logits and all gradients, and what was computed."""
    model.zero_grad()
    torch.manual_seed(1)  # of adapters that drop out
    with sparing_feed_forward(model) if spared else nullcontext(), _Counting() as counting:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(IDS, use_cache=False).logits
        (logits.float() * torch.linspace(-1, 1, logits.numel()).view_as(logits)).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    assert gradients
    return [logits.detach(), *gradients], counting.operations


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("options", [{}, {"adapters": True}, {"adapters": True, "dropout": 0.3}], ids=str)
def test_no_bit_of_a_gradient_changes(options: dict[str, Any], bf16: bool) -> None:
    model = _llama(**options)
    expected, plain = _found(model, spared=False, bf16=bf16)
    found, spared = _found(model, spared=True, bf16=bf16)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
    assert spared["aten.silu.default"] == 2 * plain["aten.silu.default"] > 0
    products = [name for name in plain if "mm" in name]
    thin = 2 * 3 if options else 0  # an adapter's second product, in three linear layers of each of two blocks
    assert 0 <= sum(spared[name] - plain[name] for name in products) <= thin


def test_the_experts_of_a_mixture_are_spared_one_by_one_and_keep_their_gradients() -> None:
    torch.manual_seed(0)
    model = MixtralForCausalLM(MixtralConfig(**SIZES, **HEADS, num_local_experts=3)).train()
    expected, _ = _found(model, spared=False)
    found, _ = _found(model, spared=True)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_without_gradients_nothing_is_kept_and_afterwards_all_is_as_before() -> None:
    model = _llama()
    block = model.model.layers[0].mlp
    with sparing_feed_forward(model, model):
        assert "forward" in block.__dict__
        with torch.no_grad(), _Counting() as counting:
            model(IDS)
        assert counting.operations["aten.silu.default"] == 2
    assert "forward" not in block.__dict__


def test_a_function_keeps_its_products_alone() -> None:
    left, right = torch.randn(3, 200, requires_grad=True), torch.randn(200, 5, requires_grad=True)
    thin = torch.randn(5, 4, requires_grad=True)

    def function(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((a @ b).exp() @ thin).tanh() * 2

    with _Counting() as counting:
        out = sparing(function)(left, right)
        forward = counting.operations.copy()
        out.sum().backward()
    again = {name: count - forward[name] for name, count in counting.operations.items()}
    assert forward["aten.mm.default"] == 2
    assert again["aten.exp.default"] == again["aten.tanh.default"] == 1
    assert again["aten.mm.default"] == 2 + 2 + 1  # two products have two gradients each, and the thin one comes again
