"""Attention branch by branch is the attention that the mask asks for, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from eagbench_plugins.eagrl import branch_attention
from eagbench_plugins.eagrl.branch_attention import NAME, SPARING, by_branch
from eagbench_plugins.eagrl.shared_prompts import visible

VOCABULARY = 50
# Trunk and branches, a branch of one place, no trunk, one branch; padded to the longest.
ROWS = [[7, 5, 9], [4, 1, 6, 3], [0, 6, 5], [11, 3]]


def _model(**changes: Any) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        **changes,
    )
    return LlamaForCausalLM(config).train()


def _packed() -> dict[str, torch.Tensor]:
    longest = max(map(sum, ROWS))
    branch, positions = [], []
    for trunk, *branches in ROWS:
        row, at = [0] * trunk, [*range(trunk)]
        for number, length in enumerate(branches, start=1):
            row += [number] * length
            at += range(trunk, trunk + length)
        padding = longest - len(row)
        branch.append(row + [-1] * padding)
        positions.append(at + [0] * padding)
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": torch.randint(VOCABULARY, (len(ROWS), longest), generator=generator),
        "position_ids": torch.tensor(positions),
        "attention_mask": visible(torch.tensor(branch)),
    }


def _found(model: Any, packed: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """The logits of all places but the padding, and all gradients."""
    model.zero_grad()
    logits = model(**packed, use_cache=False).logits
    real = torch.stack([torch.arange(logits.shape[1]) < sum(row) for row in ROWS])
    weights = torch.linspace(-1, 1, logits[real].numel()).view_as(logits[real])
    (logits[real] * weights).sum().backward()
    return [logits[real].detach(), *(parameter.grad.clone() for parameter in model.parameters())]


@pytest.mark.parametrize("again", ["nothing", "copies", "layers"])
def test_logits_and_gradients_are_those_of_the_mask(again: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, packed = _model(), _packed()
    expected = _found(model, packed)
    if again == "layers":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    called = []
    row = branch_attention._row
    monkeypatch.setattr(branch_attention, "_row", lambda *given: called.append(1) or row(*given))
    before = model.config._attn_implementation
    name = SPARING if again == "copies" else NAME
    with by_branch(model, name=name):
        assert model.config._attn_implementation == name
        found = _found(model, packed)
    assert model.config._attn_implementation == before
    assert len(called) == len(ROWS) * 2 * (1 if again == "nothing" else 2)  # rows x layers, and again backwards
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_rows_that_are_not_packed_are_read_as_ever() -> None:
    model = _model().eval()
    ids = torch.arange(12).view(2, 6)
    padded = torch.tensor([[0, 0, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    travelled = _packed()["attention_mask"].clone()  # a mask whose layout nobody knows
    with torch.no_grad():
        for mask in (None, padded, travelled[:2, :, :6, :6]):
            expected = model(ids, attention_mask=mask).logits
            with by_branch(model):
                torch.testing.assert_close(model(ids, attention_mask=mask).logits, expected)


def test_dropout_acts_on_every_branch() -> None:
    model, packed = _model(attention_dropout=0.5), _packed()
    with by_branch(model), torch.no_grad():
        torch.manual_seed(3)
        first, again = model(**packed).logits, model(**packed).logits
    changed = (first - again).abs().sum(dim=-1) > 0
    for row, lengths in zip(changed, ROWS, strict=True):
        assert row[1 : sum(lengths)].float().mean() > 0.6
    model.eval()
    with by_branch(model), torch.no_grad():
        torch.testing.assert_close(model(**packed).logits, model(**packed).logits, rtol=0, atol=0)


def test_layouts_are_forgotten_with_their_masks() -> None:
    kept = visible(torch.tensor([[0, 1, 2]]))
    n = len(branch_attention._layouts)
    for _ in range(5):
        visible(torch.tensor([[0, 1, 1]]))
    assert len(branch_attention._layouts) == n
    del kept
    assert len(branch_attention._layouts) == n - 1
