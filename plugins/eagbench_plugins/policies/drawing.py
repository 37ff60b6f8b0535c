"""How a local model draws its next tokens: each text from a random stream of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from eagbench.api import Sampling


def choose(logits: torch.Tensor, sampling: Sampling, draw: torch.Tensor | None) -> torch.Tensor:
    """Choose the next token of each row: the likeliest, or the one at the row's draw in the cumulative distribution.

    Args:
        logits: (B, V).
        sampling: Temperature and nucleus.
        draw: Uniform numbers in [0, 1), (B,); None for greedy.

    Returns:
        (B,), int64.
    """
    if draw is None:
        return logits.argmax(dim=-1)
    probabilities = (logits / sampling.temperature).softmax(dim=-1).double()
    ordered, token = probabilities.sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.cumsum(dim=-1)  # (B, V)
    # The nucleus is the shortest head of the order that holds at least top_p; its mass is what the draw is scaled to.
    size = ((cumulative - ordered) < sampling.top_p).sum(dim=-1, keepdim=True)  # (B, 1)
    mass = cumulative.gather(1, size - 1)
    position = torch.searchsorted(cumulative, draw[:, None] * mass, right=True).clamp(max=size - 1)
    return token.gather(1, position).squeeze(1)


def random_streams(prompts: Sequence[str], seed: int) -> list[np.random.Generator]:
    """Create a random stream per prompt from the seed, the prompt and how often it occurred before."""
    occurred: Counter[str] = Counter()
    streams = []
    for prompt in prompts:
        key = hashlib.sha256(f"{seed}\0{occurred[prompt]}\0{prompt}".encode()).digest()
        streams.append(np.random.default_rng(int.from_bytes(key[:16], "little")))
        occurred[prompt] += 1
    return streams
