"""Sample a generated batch's trajectories with `policies/writing`. Imported late, because it imports torch.

TRL 1.16 pads the prompts of a batch to one length and reads a prompt once per trajectory of its group, and its
continuous batching (`generate_batch` of transformers) shares whole pages only and has one seed for all requests. Here a
group reads its prompt once, and trajectories that begin alike share what they have in common.

The draws come from torch's generator on the CPU, whose state a checkpoint keeps: a resumed training samples what an
unbroken one samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from eagbench.api import Sampling
from eagbench_plugins.policies.transformers_model import CACHE_GB
from eagbench_plugins.policies.tree_reading import TreeReader
from eagbench_plugins.policies.writing import write

# Trajectories written side by side: whole groups, as long as a group has no more.
_AT_ONCE = 64


def sample(
    model: Any, prompts: Sequence[Sequence[int]], temperature: float, max_new_tokens: int, ends: frozenset[int]
) -> list[list[int]]:
    """Write one text after each of N prompts, the end token included.

    Args:
        model: The policy as it is now, wrapped for LoRA or not; it can read in trees.
        prompts: Tokens of the prompts, those of a group one after another.
        temperature: Temperature of the samples.
        max_new_tokens: Most tokens of a text.
        ends: The tokens that end a text.
    """
    was_training = model.training
    model.eval()  # no dropout, and no layer that drops what it read because its activations are recomputed
    try:
        draws = torch.rand(len(prompts), max_new_tokens, dtype=torch.float64).numpy()  # (N, steps)
        reader = TreeReader(model, CACHE_GB)
        written: list[list[int]] = []
        for start in range(0, len(prompts), _AT_ONCE):
            part = prompts[start : start + _AT_ONCE]
            written += write(
                reader,
                part,
                [max_new_tokens] * len(part),
                Sampling(max_new_tokens, temperature),
                draws[start : start + _AT_ONCE],
                lambda _, tokens: tokens[-1] in ends,
            )
        return written
    finally:
        model.train(was_training)
