"""Keys and values of token trees, one slot per tree, and the attention that reads them.

The model gets all new tokens of all trees as one row, without padding. Its attention is replaced for that moment: it
keeps the new keys and values in the slots of their trees, and lets every token attend to those before it in its own
text. All else (projections, rotary embedding, feed-forward layers) is the model's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AttentionInterface

from eagbench_plugins.policies.token_tree import TokenTree

NAME = "eagbench_token_trees"
# What some attention does beside scaled dot products, as transformers hands it over: not done here.
_NOT_DONE = ("softcap", "s_aux", "sliding_window", "head_mask", "position_bias")
# A group of neighbouring slots is read together as long as no more than this share of its query positions is empty.
_MOST_EMPTY = 0.5
_ROUNDING = 64  # slots grow to multiples of so many positions
# So many new tokens of a slot ask together. They read no further than the last of them, so that a long text, read at
# once, costs little more than half of what it would cost if every token looked at all of it.
_BLOCK = 128


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to read.

    Attributes:
        slot: The slot of its tree.
        position: Its position in the tree.
    """

    slot: int
    position: int


@dataclass(frozen=True, slots=True)
class _Group:
    """New tokens of neighbouring slots, laid out as a rectangle for one attention call.

    Attributes:
        first: The first slot.
        last: The slot after the last.
        length: How many positions of each slot are read.
        rows: For each slot and place the new token that asks, (C, R); 0 where there is none.
        mask: What each of them sees, (C, 1, R, length).
        asked: The places that hold a token, as positions in the flattened rectangle, (n,).
        tokens: The new tokens at those places, (n,).
    """

    first: int
    last: int
    length: int
    rows: Tensor
    mask: Tensor
    asked: Tensor
    tokens: Tensor


@dataclass(slots=True)
class AttentionProbe:
    """Adds up the attention that new tokens pay, averaged over heads, over some layers.

    Attributes:
        layers: The layers.
        total: For each of T new tokens the weights of its slot's positions, (T, capacity), float64.
    """

    layers: frozenset[int]
    total: Tensor


class TreeMemory:
    """The keys and values of all trees, layer by layer: each (slots, heads, capacity, width).

    Attributes:
        slots: How many trees there is room for.
        capacity: How many positions there is room for in each.
    """

    def __init__(self) -> None:
        self.slots = self.capacity = 0
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}
        self._slot = self._position = torch.empty(0, dtype=torch.long)
        self._rows: dict[int, Tensor] = {}
        self._groups: list[_Group] = []
        self._biases: dict[tuple[int, int, torch.dtype], Tensor] = {}
        self._probe: AttentionProbe | None = None

    def clear(self) -> None:
        """Free all keys and values."""
        self._layers.clear()
        self.slots = self.capacity = 0

    def grow(self, slots: int, positions: int) -> None:
        """Make room for so many trees of so many positions; what is kept stays."""
        if positions > self.capacity:
            positions = max(positions, self.capacity + self.capacity // 4)
            positions = -(-positions // _ROUNDING) * _ROUNDING
        slots, positions = max(slots, self.slots), max(positions, self.capacity)
        if (slots, positions) == (self.slots, self.capacity):
            return
        for layer, kept in self._layers.items():
            self._layers[layer] = _grown(kept[0], slots, positions), _grown(kept[1], slots, positions)
        self.slots, self.capacity = slots, positions

    def copy(self, source: int, positions: Sequence[int], target: int) -> None:
        """Copy the keys and values of a tree's positions to the first positions of another slot."""
        for kept in self._layers.values():
            for tensor in kept:
                tensor[target, :, : len(positions)] = tensor[source, :, torch.tensor(positions, device=tensor.device)]

    @property
    def layers(self) -> int:
        """Number of layers whose attention has read here."""
        return len(self._layers)

    @contextmanager
    def reading(
        self,
        model: Any,
        new: Sequence[NewToken],
        trees: Sequence[TokenTree],
        probe: AttentionProbe | None = None,
    ) -> Iterator[None]:
        """Let the model read these new tokens, in this order as one row (1, T), within the context.

        Args:
            model: The transformers model.
            new: The T tokens; slots and positions have room.
            trees: The tree in each slot.
            probe: Measures the attention that the new tokens pay.
        """
        device = model.device
        self._slot = torch.tensor([token.slot for token in new], device=device)
        self._position = torch.tensor([token.position for token in new], device=device)
        self._groups = _grouped(new, trees, device)
        self._probe = probe
        before = model.config._attn_implementation
        model.set_attn_implementation(NAME)
        _reading.append(self)
        try:
            yield
        finally:
            _reading.pop()
            model.set_attn_implementation(before)
            self._groups = []
            self._biases.clear()
            self._rows.clear()
            self._probe = None

    def attend(
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **options: Any,
    ) -> tuple[Tensor, None]:
        """Attend within the trees; query (1, H, T, d), key and value (1, K, T, d). Returns (1, T, H, d).

        Raises:
            ValueError: The model's attention is more than scaled dot products.
        """
        if more := [name for name in _NOT_DONE if options.get(name) is not None]:
            raise ValueError(f"the attention of {type(module).__name__} also takes {', '.join(more)}")
        del attention_mask
        keys, values = self._kept(module.layer_idx, key, value)
        at = self._rows_of(key.shape[1])
        # Indexing with several tensors would start torch's threads for a few numbers: some of the time on a quiet
        # machine, most of it on a busy one.
        keys.view(-1, keys.shape[-1]).index_copy_(0, at, key[0].reshape(-1, key.shape[-1]))
        values.view(-1, values.shape[-1]).index_copy_(0, at, value[0].reshape(-1, value.shape[-1]))
        asking = query[0].transpose(0, 1)  # (T, H, d)
        heads, shared = asking.shape[1], key.shape[1]
        out = query.new_empty(asking.shape[0], heads, value.shape[-1])
        for i, group in enumerate(self._groups):
            c, r = group.rows.shape
            # Query heads that share keys become further rows: (C, R, K, H/K, d) -> (C, K, H/K * R, d).
            rows = asking.index_select(0, group.rows.flatten())
            rows = rows.view(c, r, shared, heads // shared, -1).permute(0, 2, 3, 1, 4)
            rows = rows.reshape(c, shared, heads // shared * r, -1)
            bias = self._bias(i, heads // shared, query.dtype)
            near = keys[group.first : group.last, :, : group.length]
            read = torch.nn.functional.scaled_dot_product_attention(
                rows, near, values[group.first : group.last, :, : group.length], attn_mask=bias, scale=scaling
            )
            if self._probe is not None and module.layer_idx in self._probe.layers:
                scale = rows.shape[-1] ** -0.5 if scaling is None else scaling
                scores = (rows @ near.transpose(2, 3) * scale).float() + bias
                weights = scores.softmax(dim=-1).view(c, heads, r, -1).double().mean(dim=1).flatten(0, 1)
                self._probe.total[group.tokens, : group.length] += weights[group.asked]
            read = read.view(c, heads, r, -1).transpose(1, 2).reshape(c * r, heads, -1)  # (C * R, H, d)
            # Under autocast attention is in half precision, and rotated queries are not.
            out.index_copy_(0, group.tokens, read.index_select(0, group.asked).to(out.dtype))
        return out[None], None

    def _rows_of(self, heads: int) -> Tensor:
        """Return where the new tokens' keys are kept in a layer seen as rows of one head's width, (heads * T,)."""
        if heads not in self._rows:
            head = torch.arange(heads, device=self._slot.device)[:, None]
            rows = (self._slot * heads + head) * self.capacity + self._position  # (heads, T)
            self._rows[heads] = rows.flatten()
        return self._rows[heads]

    def _bias(self, group: int, heads: int, dtype: torch.dtype) -> Tensor:
        """Return what is added to a group's scores, (C, 1, heads * R, length): 0 for what is seen, else -inf.

        It is made once for all layers; from a mask of booleans torch would make it anew in each.
        """
        key = group, heads, dtype
        if key not in self._biases:
            mask = self._groups[group].mask
            bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
            self._biases[key] = bias.repeat(1, 1, heads, 1)
        return self._biases[key]

    def _kept(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of a layer, with room made at its first use.

        What no token was written to must be finite: attention multiplies it by zero.
        """
        if layer not in self._layers:
            self._layers[layer] = (
                key.new_zeros(self.slots, key.shape[1], self.capacity, key.shape[3]),
                value.new_zeros(self.slots, value.shape[1], self.capacity, value.shape[3]),
            )
        return self._layers[layer]


# The memory that a model reads with at this moment. transformers keeps an attention function for good: it must not keep
# a memory of some GB alive with it.
_reading: list[TreeMemory] = []


def _attend(*args: Any, **options: Any) -> tuple[Tensor, None]:
    """Attend with the memory of the moment; see `TreeMemory.attend`."""
    return _reading[-1].attend(*args, **options)


AttentionInterface.register(NAME, _attend)


def _grown(kept: Tensor, slots: int, positions: int) -> Tensor:
    grown = kept.new_zeros(slots, kept.shape[1], positions, kept.shape[3])
    grown[: kept.shape[0], :, : kept.shape[2]] = kept
    return grown


def _grouped(new: Sequence[NewToken], trees: Sequence[TokenTree], device: Any) -> list[_Group]:
    """Lay new tokens out in rectangles: blocks of neighbouring slots."""
    by_slot: dict[int, list[int]] = {}
    for i, token in enumerate(new):
        by_slot.setdefault(token.slot, []).append(i)
    found = []
    for start in range(0, max(map(len, by_slot.values()), default=0), _BLOCK):
        block = {slot: tokens[start : start + _BLOCK] for slot, tokens in by_slot.items() if len(tokens) > start}
        found += [_rectangle(slots, block, new, trees, device) for slots in _neighbours(block)]
    return found


def _neighbours(by_slot: dict[int, list[int]]) -> list[list[int]]:
    """Group slots whose tokens fill enough of one rectangle."""
    groups: list[list[int]] = []
    filled = widest = 0
    for slot in sorted(by_slot):
        count = len(by_slot[slot])
        if groups:
            rectangle = (slot + 1 - groups[-1][0]) * max(widest, count)
            if filled + count >= _MOST_EMPTY * rectangle:
                groups[-1].append(slot)
                filled, widest = filled + count, max(widest, count)
                continue
        groups.append([slot])
        filled = widest = count
    return groups


def _rectangle(
    slots: Sequence[int],
    by_slot: dict[int, list[int]],
    new: Sequence[NewToken],
    trees: Sequence[TokenTree],
    device: Any,
) -> _Group:
    first, last = slots[0], slots[-1] + 1
    width = max(len(by_slot[slot]) for slot in slots)
    length = max(new[i].position + 1 for slot in slots for i in by_slot[slot])
    rows = np.zeros((last - first, width), dtype=np.int64)
    mask = np.zeros((last - first, 1, width, length), dtype=np.bool_)
    mask[:, :, :, 0] = True  # an empty place must see something; nobody reads what it finds
    asked, tokens = [], []
    for slot in slots:
        tree = trees[slot]
        for place, i in enumerate(by_slot[slot]):
            seen = tree.seen(new[i].position)
            rows[slot - first, place] = i
            mask[slot - first, 0, place, : len(seen)] = seen
            asked.append((slot - first) * width + place)
            tokens.append(i)
    return _Group(
        first=first,
        last=last,
        length=length,
        rows=torch.from_numpy(rows).to(device),
        mask=torch.from_numpy(mask).to(device),
        asked=torch.tensor(asked, device=device),
        tokens=torch.tensor(tokens, device=device),
    )
