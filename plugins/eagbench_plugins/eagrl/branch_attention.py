"""Attend within packed rows branch by branch, not over the whole row. Imported late, because it imports torch.

A packed row holds a trunk and the branches that go on from it (`shared_prompts`). torch's attention takes the row's
mask, but computes all pairs of places. For a group of eight trajectories of 192 tokens behind a prompt of 500 these are
four times as many as there are to see. Here the trunk attends to itself (causally: what comes later is not computed)
and each branch to the trunk and itself.

`by_branch` makes models attend this way. It has to last over the backward pass, in which activation checkpointing
computes the attention again, and `sparing` the copies of the trunk's keys and values that stand before each branch's.
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
from eagbench_plugins.eagrl.selective_recomputation import sparing

quiet_transformers()

from transformers import AttentionInterface, AttentionMaskInterface  # noqa: E402 - after transformers was quietened
from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: E402
from transformers.masking_utils import sdpa_mask  # noqa: E402

NAME = "eagbench_branches"
SPARING = "eagbench_branches_sparing"
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
def by_branch(*models: Any, name: str = NAME) -> Iterator[None]:
    """Make models attend branch by branch where they are given a mask of packed rows, within the context.

    Args:
        models: The models.
        name: `NAME`, or `SPARING` to compute copies of keys and values again in the backward pass.
    """
    before = [model.config._attn_implementation for model in models]
    for model in models:
        model.set_attn_implementation(name)
    try:
        yield
    finally:
        for model, former in zip(models, before, strict=True):
            model.set_attn_implementation(former)


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
    row = sparing(_row) if module.config._attn_implementation == SPARING else _row
    rows = [row(q, k, v, lengths, dropout, scaling) for q, k, v, lengths in zip(query, key, value, layout, strict=True)]
    return torch.stack(rows).transpose(1, 2), None


def _row(
    query: Tensor, key: Tensor, value: Tensor, lengths: Sequence[int], dropout: float, scaling: float | None
) -> Tensor:
    """Attend within one row; query (H, L, d), key and value (K, L, d). Returns (H, L, d)."""
    heads = query.shape[0] // key.shape[0]
    key, value = (part.repeat_interleave(heads, dim=0) for part in (key, value))
    trunk, *branches = lengths
    padding = query.shape[1] - sum(lengths)
    # Split, not sliced: a slice's gradient is a whole row of zeros for each branch, a split's is put together once.
    parts = [part[None].split([*lengths, padding], dim=2) for part in (query, key, value)]
    (first_query, first_key, first_value), *others = zip(*parts, strict=True)
    pieces = []
    if trunk:
        pieces.append(
            scaled_dot_product_attention(
                first_query, first_key, first_value, dropout_p=dropout, is_causal=True, scale=scaling
            )
        )
    for length, (q, k, v) in zip(branches, others, strict=False):
        mask = torch.ones(length, trunk + length, dtype=torch.bool, device=query.device).tril(trunk)
        k, v = torch.cat([first_key, k], dim=2), torch.cat([first_value, v], dim=2)
        pieces.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, scale=scaling))
    if padding:
        pieces.append(query.new_zeros(1, query.shape[0], padding, query.shape[2]))
    return torch.cat(pieces, dim=2)[0]


for _name in (NAME, SPARING):
    AttentionInterface.register(_name, attend)
    AttentionMaskInterface.register(_name, sdpa_mask)  # of rows that are not packed
