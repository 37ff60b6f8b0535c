"""The slower, correct way to write for models whose state can't be selected or repeated: read everything again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch


class Rereading:
    """Takes the place of a cache: keeps what was read, and reads all of it again for every further token.

    State-space and hybrid models (Mamba, RWKV, Qwen3-Next, LFM2) carry a state along instead of keys and values. It
    can't be selected or repeated by row, and padding on the left would enter it. So only rows of equal length are read
    together, without padding. Each token costs a pass over the whole text.

    Args:
        model: The transformers model.
        rows: The tokens of each row.
    """

    def __init__(self, model: Any, rows: Sequence[Sequence[int]]) -> None:
        self._model, self._rows = model, [list(row) for row in rows]

    def batch_select_indices(self, keep: torch.Tensor) -> None:
        """Go on with these rows only."""
        self._rows = [self._rows[i] for i in keep.tolist()]

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat each row, next to itself."""
        self._rows = [list(row) for row in self._rows for _ in range(repeats)]

    def read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append tokens (B, T) to the rows and return the logits at their positions, (B, T, V), in float32."""
        for row, new in zip(self._rows, tokens.tolist(), strict=True):
            row.extend(new)
        return self.last(tokens.shape[1])

    def last(self, count: int) -> torch.Tensor:
        """Return the logits at the last `count` positions of each row, (B, count, V), in float32."""
        found: dict[int, torch.Tensor] = {}
        for group in equal_lengths(self._rows):
            ids = torch.tensor([self._rows[i] for i in group], device=self._model.device)
            logits = self._model(input_ids=ids, use_cache=False).logits[:, -count:].float()
            found.update(zip(group, logits, strict=True))
        return torch.stack([found[i] for i in range(len(self._rows))])


def equal_lengths(rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group the positions of rows of equal length."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[len(row)].append(i)
    return list(groups.values())


@torch.inference_mode()  # type: ignore[untyped-decorator]
def caches_by_row(model: Any) -> bool:
    """Tell whether a model keeps keys and values that can be selected and repeated by row, and nothing else."""
    if getattr(model, "_is_stateful", False):
        return False
    was_training = model.training
    model.eval()  # while it trains with gradient checkpointing, no model gives a cache
    try:
        out = model(input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device), use_cache=True)
    finally:
        model.train(was_training)
    layers = getattr(getattr(out, "past_key_values", None), "layers", None)
    if not layers:
        return False
    # A layer with a convolution's or a recurrent state may inherit both methods, and would leave that state behind.
    states = ("conv_states", "recurrent_states")
    return all(
        hasattr(layer, "batch_select_indices") and not any(hasattr(layer, name) for name in states) for layer in layers
    )
