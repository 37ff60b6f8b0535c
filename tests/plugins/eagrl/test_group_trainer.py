"""A group whose prompt is read once has the log-probabilities and gradients of trajectories that each read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from trl import GRPOTrainer
from trl.trainer import grpo_trainer

from eagbench_plugins.eagrl import group_trainer
from eagbench_plugins.eagrl.shared_prompts import groups_by_prompt
from eagbench_plugins.eagrl.training_memory import Recomputed
from eagbench_plugins.eagrl.training_passes import training_passes
from eagbench_plugins.policies.transformers_model import TransformersModel
from tests.plugins.eagrl.test_adaptive_clipping import _batch, _trainer, tokenizer

__all__ = ["tokenizer"]  # a fixture


def _group_trainer(tokenizer: Any, folder: Path) -> Any:
    trainer = _trainer(tokenizer, folder)
    trainer._policy = TransformersModel(trainer.model, tokenizer, batch_size=3)
    assert trainer._policy.shares_prompts
    return trainer


def _grouped(tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
    """Rows of two prompts, mixed: 0, 1, 1, 0."""
    batch = _batch(tokenizer)
    prompts = torch.cat([batch["prompt_ids"], batch["prompt_mask"]], dim=1)[[0, 1, 1, 0]]
    width = batch["prompt_ids"].size(1)
    ids = torch.cat([prompts[:, :width], batch["completion_ids"]], dim=1)
    mask = torch.cat([prompts[:, width:], batch["completion_mask"]], dim=1)
    return ids, mask, batch["completion_ids"].size(1)


@pytest.mark.parametrize("places", [1, 4096])
@pytest.mark.parametrize("recomputed", list(Recomputed))
@pytest.mark.parametrize("cut", [False, True])
def test_packs_give_what_single_rows_give(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: int, recomputed: Recomputed, cut: bool
) -> None:
    monkeypatch.setattr(group_trainer, "_PLACES", places)
    trainer = _group_trainer(tokenizer, tmp_path)
    ids, mask, width = _grouped(tokenizer)
    assert groups_by_prompt(ids[:, :-width], mask[:, :-width]) == [[0, 3], [1, 2]]
    if cut:  # truncated answers that are left out lose their whole mask
        mask[1:, -width:] = 0
    if recomputed is Recomputed.LAYERS:
        trainer.model.activation_checkpointing_enable({"use_reentrant": False})
    trainer.model.train()
    found = []
    for function in (
        type(trainer)._get_per_token_logps_and_entropies,
        GRPOTrainer._get_per_token_logps_and_entropies,
    ):
        trainer.model.zero_grad()
        trainer._first_pass = (ids, ids)  # so that only the function under test is called
        with training_passes([trainer.model], recomputed, packed=True):
            log_p, entropy, _ = function(trainer, trainer.model, ids, mask, width, compute_entropy=True)
            (log_p * mask[:, -width:] * torch.linspace(-1, 1, width)).sum().backward()
        found.append([log_p, entropy, *(p.grad.clone() for p in trainer.model.parameters())])
    for ours, trls in zip(*found, strict=True):
        torch.testing.assert_close(ours, trls, rtol=1e-4, atol=1e-5)


def test_the_prompt_of_a_group_goes_through_the_model_once(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_trainer, "_PLACES", 1)  # no padding
    trainer = _group_trainer(tokenizer, tmp_path)
    ids, mask, width = _grouped(tokenizer)
    places: list[int] = []
    hook = trainer.model.get_input_embeddings().register_forward_hook(lambda *call: places.append(call[1][0].numel()))
    trainer._first_pass = (ids, ids)
    trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)
    hook.remove()
    written, read = mask[:, -width:].sum(dim=1), mask[:, :-width].sum(dim=1)
    packs = [int(read[group[0]] - 1 + sum(written[i] + 1 for i in group)) for group in ([0, 3], [1, 2])]
    assert sum(places) == sum(packs) < int(mask.sum())


def test_a_generated_batch_is_shuffled_by_whole_groups() -> None:
    batch = {
        "completion_ids": torch.arange(12),
        "texts": [str(i) for i in range(12)],
        "n": torch.tensor(12),
        "none": None,
    }
    torch.manual_seed(1)
    with group_trainer._shuffled_by(3, 1, Accelerator(cpu=True), 2):
        shuffled = grpo_trainer.shuffle_sequence_dict(batch)
    rows = shuffled["completion_ids"].tolist()
    assert sorted(rows) == list(range(12)) != rows
    assert all(rows[i : i + 3] == [rows[i], rows[i] + 1, rows[i] + 2] and rows[i] % 3 == 0 for i in range(0, 12, 3))
    assert shuffled["texts"] == [str(i) for i in rows]
    assert shuffled["n"] == 12
    assert shuffled["none"] is None


def test_each_mini_batch_holds_as_many_of_each_class() -> None:
    torch.manual_seed(0)
    orders = [group_trainer._spread(16, 2) for _ in range(20)]
    for order in orders:
        assert sorted(order) == list(range(16))
        assert all(sum(number < 8 for number in order[i : i + 4]) == 2 for i in range(0, 16, 4))
    assert len({tuple(order) for order in orders}) == 20
    assert sorted(i for i, number in enumerate(group_trainer._spread(5, 2)) if number < 2) == [1, 3]


def test_trajectories_are_samples_of_the_policy_that_depend_on_the_draws_alone(tokenizer: Any, tmp_path: Path) -> None:
    trainer = _group_trainer(tokenizer, tmp_path)
    ids, mask, width = _grouped(tokenizer)
    prompts = [row[real.bool()].tolist() for row, real in zip(ids[:, :-width], mask[:, :-width], strict=True)]
    trainer.model.train()
    found = []
    for batch_size in (1, 4):
        trainer._policy.batch_size = batch_size
        torch.manual_seed(5)
        written, log_p = trainer._generate_single_turn(prompts, None, {}, 2)
        assert log_p is None
        found.append(written)
    assert found[0] == found[1]
    assert trainer.model.training
    torch.manual_seed(5)
    draws = torch.rand(4, trainer.max_completion_length, dtype=torch.float64)
    with torch.no_grad():
        logits = trainer.model.eval()(torch.tensor([[*prompts[1], *found[0][1][:3]]])).logits[0, len(prompts[1]) - 1 :]
    order = (logits / trainer.temperature).softmax(dim=-1).double().sort(dim=-1, descending=True, stable=True)
    for step, token in enumerate(found[0][1][:4]):  # the token at the draw in the cumulative distribution
        assert order.indices[step][torch.searchsorted(order.values[step].cumsum(0), draws[1, step])] == token


@pytest.mark.parametrize("places", [1, 4096])
def test_in_bfloat16_the_first_ratio_is_one(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: int
) -> None:
    monkeypatch.setattr(group_trainer, "_PLACES", places)
    trainer = _trainer(tokenizer, tmp_path, bf16=True)
    trainer._policy = TransformersModel(trainer.model, tokenizer, batch_size=3)
    ids, mask, width = _grouped(tokenizer)
    trainer._first_pass = (ids, ids)
    trainer.model.train()
    with torch.no_grad():
        before, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)
    now, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, mask, width)
    assert now.requires_grad
    assert torch.equal(before, now)
    (now * mask[:, -width:]).sum().backward()
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in trainer.model.parameters())
