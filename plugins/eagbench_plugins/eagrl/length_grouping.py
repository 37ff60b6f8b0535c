"""Compute log-probabilities of a batch without most of its padding. Imported late, because it imports torch and TRL.

TRL pads every part of a generated batch to the batch's longest prompt and longest completion. Completion lengths vary
a lot, so half of the compute is spent on padding. This module sorts the rows by length and runs them through the model
in groups, each cut to its own longest row; then it restores the order. A row's log-probabilities do not depend on the
other rows, so the loss is the same.
"""

from __future__ import annotations

from typing import Any

import torch

from eagbench.api import quiet_transformers
from eagbench_plugins.eagrl.scored_positions import only_scored_positions
from eagbench_plugins.eagrl.whole_checkpoints import WholeCheckpoints

quiet_transformers()

from trl import GRPOTrainer  # noqa: E402 - after transformers was quietened

# Rows that go through the model together. Smaller groups have less padding and keep the processor less busy.
_GROUP = 8


class LengthGroupedTrainer(WholeCheckpoints, GRPOTrainer):  # type: ignore[misc]
    """TRL's GRPOTrainer for text-only models, faster when lengths differ."""

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Call TRL's method group by group.

        Args:
            model: The model.
            input_ids: Prompts, padded on the left, and completions, padded on the right, (B, P + C).
            attention_mask: Their mask, (B, P + C).
            logits_to_keep: C.
            batch_size: Maximum number of rows that go through the model together.
            kwargs: Other arguments that TRL passes on.

        Returns:
            Log-probabilities (B, C), entropies (B, C), and the auxiliary loss of a mixture of experts. Entropies and
            auxiliary loss are None where TRL's method gives None.
        """
        order = attention_mask.sum(dim=1).argsort(stable=True)
        results = []
        for rows in order.split(min(_GROUP, batch_size or _GROUP)):
            used = attention_mask[rows].any(dim=0).nonzero()
            prompt = input_ids.size(1) - logits_to_keep
            # The last token of the prompt and one of the completion stay, even if the completions are all masked.
            first, end = min(int(used[0]), prompt - 1), max(int(used[-1]) + 1, prompt + 1)
            columns = slice(first, end)
            with only_scored_positions():
                found = super()._get_per_token_logps_and_entropies(
                    model, input_ids[rows, columns], attention_mask[rows, columns], end - prompt, **kwargs
                )
            results.append(found)
        back = order.argsort()

        def joined(parts: list[torch.Tensor]) -> torch.Tensor:
            padded = [torch.nn.functional.pad(part, (0, logits_to_keep - part.size(1))) for part in parts]
            return torch.cat(padded)[back]

        log_p, entropies, losses = zip(*results, strict=True)
        return (
            joined(list(log_p)),
            None if entropies[0] is None else joined(list(entropies)),
            None if losses[0] is None else torch.stack(losses).mean(),
        )
