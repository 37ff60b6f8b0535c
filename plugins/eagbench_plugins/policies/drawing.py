"""How a local model draws its next tokens: each text from a random stream of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch

from eagbench.api import Sampling

# So many of the likeliest tokens are looked at first, unless the vocabulary is small: to sort 49,152 of them costs as
# much as a small model's pass.
_HEAD, _SMALL = 256, 4096


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
    if logits.shape[-1] < _SMALL:
        return _from_all(probabilities, sampling.top_p, draw)
    token = _from_head(probabilities, sampling.top_p, draw)
    rest = (token < 0).nonzero().squeeze(1)
    if len(rest):
        token[rest] = _from_all(probabilities[rest], sampling.top_p, draw[rest])
    return token


def _from_all(probabilities: torch.Tensor, top_p: float, draw: torch.Tensor) -> torch.Tensor:
    """Choose by the whole order of the vocabulary."""
    ordered, token = probabilities.sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.cumsum(dim=-1)  # (B, V)
    # The nucleus is the shortest head of the order that holds at least top_p; its mass is what the draw is scaled to.
    size = ((cumulative - ordered) < top_p).sum(dim=-1, keepdim=True)  # (B, 1)
    mass = cumulative.gather(1, size - 1)
    position = torch.searchsorted(cumulative, draw[:, None] * mass, right=True).clamp(max=size - 1)
    return token.gather(1, position).squeeze(1)


def _from_head(probabilities: torch.Tensor, top_p: float, draw: torch.Tensor) -> torch.Tensor:
    """Choose by the likeliest tokens alone: the same choice, without sorting the vocabulary; -1 where they don't do.

    They do where the nucleus ends among them, or where it is the whole vocabulary and the draw falls among them.
    """
    values, token = probabilities.topk(_HEAD + 1, dim=-1)
    whole = (values > values[:, -1:]).sum(dim=-1)  # (B,): so many tokens are likelier than any that is not looked at
    token, by_token = token.sort(dim=-1)
    ordered, order = values.gather(1, by_token).sort(dim=-1, descending=True, stable=True)
    token = token.gather(1, order)
    cumulative = ordered.cumsum(dim=-1)  # (B, _HEAD + 1)
    if top_p >= 1:
        mass = probabilities.sum(dim=-1, keepdim=True)
        size = torch.full_like(token[:, :1], _HEAD + 1)
    else:
        size = ((cumulative - ordered) < top_p).sum(dim=-1, keepdim=True)  # (B, 1)
        mass = cumulative.gather(1, size - 1)
    position = torch.searchsorted(cumulative, draw[:, None] * mass, right=True).clamp(max=size - 1)
    decided = (position if top_p >= 1 else size - 1).squeeze(1) < whole
    return torch.where(decided, token.gather(1, position).squeeze(1), -1)


def random_streams(prompts: Sequence[str], seed: int) -> list[np.random.Generator]:
    """Create a random stream per prompt from the seed, the prompt and how often it occurred before."""
    occurred: Counter[str] = Counter()
    streams = []
    for prompt in prompts:
        key = hashlib.sha256(f"{seed}\0{occurred[prompt]}\0{prompt}".encode()).digest()
        streams.append(np.random.default_rng(int.from_bytes(key[:16], "little")))
        occurred[prompt] += 1
    return streams
