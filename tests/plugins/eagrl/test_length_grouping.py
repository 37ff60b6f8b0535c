"""Log-probabilities by groups of like length are TRL's own, and so are their gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOTrainer

from eagbench_plugins.eagrl import length_grouping
from tests.plugins.eagrl.test_adaptive_clipping import _batch, _trainer, tokenizer

__all__ = ["tokenizer"]  # a fixture


@pytest.mark.parametrize("rows_together", [1, 3, 8])
@pytest.mark.parametrize("cut", [False, True])
def test_groups_give_what_the_whole_gives(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_together: int, cut: bool
) -> None:
    monkeypatch.setattr(length_grouping, "_GROUP", rows_together)
    trainer = _trainer(tokenizer, tmp_path)
    batch = _batch(tokenizer)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].size(1)
    if cut:  # truncated answers that are left out lose their whole mask
        mask[1:, -width:] = 0
    found = []
    for function in (
        type(trainer)._get_per_token_logps_and_entropies,
        GRPOTrainer._get_per_token_logps_and_entropies,
    ):
        trainer.model.zero_grad()
        trainer._first_pass = (ids, ids)  # so that only the function under test is called
        log_p, entropy, _ = function(trainer, trainer.model, ids, mask, width, compute_entropy=True)
        (log_p * torch.linspace(-1, 1, width)).sum().backward()
        found.append([log_p, entropy, *(p.grad.clone() for p in trainer.model.parameters())])
    assert found[0][0].shape == (4, width)
    for ours, trls in zip(*found, strict=True):
        torch.testing.assert_close(ours, trls, rtol=1e-4, atol=1e-5)
