"""Attend within packed rows branch by branch, not over the whole row. Imported late, because it imports torch.

A packed row holds a trunk and the branches that go on from it (`shared_prompts`). torch's attention takes the row's
mask, but computes all pairs of places. For a group of eight trajectories of 192 tokens behind a prompt of 500 these are
four times as many as there are to see. Here the trunk attends to itself (causally: what comes later is not computed)
and each branch to the trunk and itself.

`by_branch` makes models attend this way. It has to last over the backward pass, in which activation checkpointing
computes the attention again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.weak import WeakTensorKeyDictionary

from eagbench.api import quiet_transformers

quiet_transformers()

from transformers import AttentionInterface, AttentionMaskInterface  # noqa: E402 - after transformers was quietened
from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: E402
from transformers.masking_utils import sdpa_mask  # noqa: E402

NAME = "eagbench_branches"
# The layout of each mask in use: for each of its rows the lengths of the trunk and of the branches, in their order.
# A mask that has travelled to another device is not found, and used as it is.
_layouts: Any = WeakTensorKeyDictionary()


def remember_layout(mask: Tensor, branch: Tensor) -> None:
    """Note how the rows of a mask are laid out.

    Args:
        mask: What each place sees, (P, 1, L, L).
        branch: The branch of each place, (P, L): 0 (the trunk, if there is one), then 1, 2, ...; -1 in the padding.
    """
    _layouts[mask] = [_lengths(row) for row in branch.tolist()]


def _lengths(branch: Sequence[int]) -> list[int]:
    runs = [(number, sum(1 for _ in places)) for number, places in groupby(branch)]
    trunk = [] if runs[0][0] == 0 else [0]
    return trunk + [length for number, length in runs if number >= 0]


@contextmanager
def by_branch(*models: Any) -> Iterator[None]:
    """Make models attend branch by branch where they are given a mask of packed rows, within the context."""
    before = [model.config._attn_implementation for model in models]
    for model in models:
        model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        for model, name in zip(models, before, strict=True):
            model.set_attn_implementation(name)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend; query (P, H, L, d), key and value (P, K, L, d). Returns (P, L, H, d), 0 in the padding of packed rows."""
    layout = None if attention_mask is None else _layouts.get(attention_mask)
    if layout is None:
        out: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
        return out
    shared = query.shape[1] // key.shape[1]
    rows = [
        _row(q, k.repeat_interleave(shared, dim=0), v.repeat_interleave(shared, dim=0), lengths, dropout, scaling)
        for q, k, v, lengths in zip(query, key, value, layout, strict=True)
    ]
    return torch.stack(rows).transpose(1, 2), None


def _row(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], dropout: float, scaling: float | None
) -> Tensor:
    """Attend within one row; query, key and value (H, L, d). Returns (H, L, d)."""
    trunk, *branches = lengths
    pieces = []
    if trunk:
        q, k, v = (part[None, :, :trunk] for part in (query, key, value))
        pieces.append(scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True, scale=scaling)[0])
    start = trunk
    for length in branches:
        place = slice(start, start + length)
        q = query[None, :, place]
        k, v = (torch.cat([part[:, :trunk], part[:, place]], dim=1)[None] for part in (key, value))
        mask = torch.ones(length, trunk + length, dtype=torch.bool, device=query.device).tril(trunk)
        pieces.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling)[0])
        start += length
    if start < query.shape[1]:
        first = pieces[0]
        pieces.append(first.new_zeros(first.shape[0], query.shape[1] - start, first.shape[2]))
    return torch.cat(pieces, dim=1)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)  # of rows that are not packed
