"""Read texts with a causal language model so that no beginning is read twice, within a call and over calls.

Every text is a path in a tree of tokens (`token_tree`), whose keys and values stay in memory (`tree_memory`): the
samples of one prompt, the steps of a search, the texts in which a search goes on, the levels of an answer. A new tree
copies what it shares with another one, such as the instruction that all prompts begin with. Only tokens that no text
had before go through the model, without padding.

Memory is bounded: where another tree does not fit, the one that was used longest ago goes. So what is read again
depends on the calls alone, and equal calls to a model that remembers nothing give equal bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eagbench.api import FloatArray, IntArray
from eagbench_plugins.policies.eager_attention import eager_attention
from eagbench_plugins.policies.packed_weights import PackedWeights
from eagbench_plugins.policies.rereading import caches_by_row
from eagbench_plugins.policies.token_tree import ROOT, TokenTree
from eagbench_plugins.policies.tree_memory import AttentionProbe, NewToken, TreeMemory

# New tokens that go through the model at once: bounds the memory of a pass.
_AT_ONCE = 8192
# A text joins a tree with which it shares at least this part of itself; else it gets a tree that copies what it shares.
_SHARED = 0.5
# No text joins a tree that is so many times as long: every token attends over its whole tree.
_LARGEST = 8
# How far the logits of both ways may lie apart, as root mean square relative to their spread. In half precision two
# orders of the same additions differ by more after thirty layers (SmolLM2: by 0.07, and by 0.16 for one text after its
# warm-up). So twice what another kind of attention changes is always allowed.
_AGREEMENT = {torch.float32: 1e-3, torch.float64: 1e-3}
_ROUGH_AGREEMENT = 0.15
_TIMES_ROUNDING = 2.0


@dataclass(slots=True)
class _Slot:
    """A tree and what is known at its positions.

    Attributes:
        tree: The tree.
        trunk: The tokens of its first text.
        used: When it was used last.
        states: The last hidden state, (D,), at the positions that were asked for.
    """

    tree: TokenTree
    trunk: IntArray
    used: int
    states: dict[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Copy:
    """Keys and values that a new tree takes over from another one."""

    source: int
    positions: list[int]
    target: int


class TreeReader:
    """Reads texts in trees. Holds the texts of the last `begin`, which `read` continues.

    Args:
        model: A transformers causal language model for which `reads_in_trees` is true.
        memory_gb: Most memory of keys and values, in GB; a single batch may need more.
        packs: Whether there is memory to lay the weights out for the CPU, too (`packed_weights`).

    Attributes:
        begun: Number of times that `begin` was called.
        computed: Positions that went through the model so far.
    """

    def __init__(self, model: Any, memory_gb: float, *, packs: bool = False) -> None:
        self._model = model
        self._memory = TreeMemory()
        self._bytes = memory_gb * 1e9
        self._slots: list[_Slot] = []
        self.begun = 0
        self._weights = _weights_of(model)
        self._packs = packs
        self._packed: PackedWeights | None = None
        self._at: list[NewToken] = []
        self.computed = 0

    def forget(self) -> None:
        """Forget all texts, and free the laid-out weights until they are needed again."""
        self._forget_texts()
        self._packed = None

    def _forget_texts(self) -> None:
        self._memory.clear()
        self._slots, self._at = [], []

    @property
    def layers_read(self) -> int:
        """Number of layers whose attention has read in trees."""
        return self._memory.layers

    @staticmethod
    def rows_per_text(candidates: Sequence[Sequence[int]]) -> int:
        """Return how many rows of a batch `score` counts for per text: its candidates share one tree."""
        del candidates
        return 1

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def begin(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Read the tokens of B texts, none of them empty, and return the next token's logits, (B, V), float32."""
        if (weights := _weights_of(self._model)) != self._weights:  # training changes them in place
            self.forget()
            self._weights = weights
        try:
            self.begun += 1
            self._make_room(rows)
            new: list[NewToken] = []
            copies: list[_Copy] = []
            found = {text: self._insert(text, new, copies) for text in dict.fromkeys(map(tuple, rows))}
            self._at = [found[tuple(row)] for row in rows]
            self._memory.grow(len(self._slots), max(len(slot.tree) for slot in self._slots))
            self._compute_new(new, copies, set(found.values()))
            return self._logits(self._at)
        except BaseException:
            self._forget_texts()  # what was not computed must not be taken for known
            raise

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def read(self, rows: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Append a token to each of R texts of the last `begin` and return their next token's logits, (R, V), float32.

        Args:
            rows: Positions of the texts in the last `begin`.
            tokens: The token of each.
        """
        try:
            for row, token in zip(rows, tokens, strict=True):
                slot, before = self._at[row].slot, self._at[row].position
                tree = self._slots[slot].tree
                after = tree.after(before, token)
                self._at[row] = NewToken(slot, tree.add(before, token) if after is None else after)
            return self._logits([self._at[row] for row in rows])
        except BaseException:
            self._forget_texts()
            raise

    def score(self, rows: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> Tensor:
        """Compute the log-probability of each of C candidates after each of B texts, (B, C), float32."""
        begun = list(dict.fromkeys(tuple(c[:length]) for c in candidates for length in range(len(c))))
        logits = self.begin([[*row, *text] for row in rows for text in begun])
        place = {text: i for i, text in enumerate(begun)}
        scored = logits.log_softmax(dim=-1).view(len(rows), len(begun), -1)
        return torch.stack(
            [
                torch.stack([scored[:, place[tuple(c[:i])], token] for i, token in enumerate(c)]).sum(dim=0)
                for c in candidates
            ],
            dim=1,
        )

    def attention(
        self, rows: Sequence[Sequence[int]], queries: Sequence[Sequence[int]], layers: float
    ) -> list[FloatArray]:
        """Measure the attention that tokens after each of B texts pay to the text.

        Args:
            rows: The tokens of B texts.
            queries: The tokens after each, at least one: those that pay attention.
            layers: Share of the layers to average over, counted from the last.

        Returns:
            For each text the mean weight of its tokens and of the queries, over queries, heads and layers.
        """
        texts = [[*row, *query] for row, query in zip(rows, queries, strict=True)]
        self.begin(texts)
        trees = [slot.tree for slot in self._slots]
        paths = [trees[at.slot].path(text) for at, text in zip(self._at, texts, strict=True)]
        asking = [
            [NewToken(at.slot, position) for position in path[len(row) :]]
            for at, path, row in zip(self._at, paths, rows, strict=True)
        ]
        new = sorted({token for tokens in asking for token in tokens}, key=lambda at: (at.slot, at.position))
        n_layers = self._model.config.get_text_config().num_hidden_layers
        first = n_layers - max(1, round(layers * n_layers))
        total = torch.zeros(len(new), self._memory.capacity, dtype=torch.float64, device=self._model.device)
        self._compute(new, set(), AttentionProbe(frozenset(range(first, n_layers)), total))
        weights = (total / (n_layers - first)).cpu().numpy()
        place = {token: i for i, token in enumerate(new)}
        return [
            weights[[place[token] for token in tokens]].mean(axis=0)[path]
            for tokens, path in zip(asking, paths, strict=True)
        ]

    def _make_room(self, rows: Sequence[Sequence[int]]) -> None:
        """Forget all trees if they do not fit any more now that a longer text comes."""
        capacity = max(self._memory.capacity, max(map(len, rows)))
        if len(self._slots) > self._most_slots(capacity):
            self._forget_texts()

    def _most_slots(self, capacity: int) -> int:
        return max(1, int(self._bytes / (_bytes_per_position(self._model) * max(capacity, 1))))

    def _insert(self, text: tuple[int, ...], new: list[NewToken], copies: list[_Copy]) -> NewToken:
        """Give a text its positions in a tree; note those that are new, and what a new tree takes over."""
        trunk = np.array(text)
        shared = [_length_shared(slot.trunk, trunk) for slot in self._slots]
        like = [i for i, length in enumerate(shared) if length]
        # Of equal ones that of this call, so that one of an earlier call need not stay.
        best = max(like, key=lambda i: (shared[i], self._slots[i].used, -i), default=None)
        if best is not None and self._joins(text, self._slots[best].tree, shared[best]):
            at = best
        else:
            known = [] if best is None else self._slots[best].tree.path(text[:-1])
            at = self._free_slot(len(text), keep=best)
            tree = TokenTree()
            position = ROOT
            for token in text[: len(known)]:
                position = tree.add(position, token)
            if best is not None and known:
                copies.append(_Copy(best, known, at))
            self._slots[at : at + 1] = [_Slot(tree, trunk, self.begun)]
        slot = self._slots[at]
        slot.used = self.begun
        path = slot.tree.path(text)
        position = path[-1] if path else ROOT
        for token in text[len(path) :]:
            position = slot.tree.add(position, token)
            new.append(NewToken(at, position))
        return NewToken(at, position)

    @staticmethod
    def _joins(text: tuple[int, ...], tree: TokenTree, shared: int) -> bool:
        return shared >= _SHARED * len(text) and len(tree) <= _LARGEST * len(text)

    def _free_slot(self, length: int, keep: int | None) -> int:
        """Return a slot for a new tree: another one if it fits, else that of the tree used longest ago."""
        capacity = max(self._memory.capacity, length)
        old = [i for i, slot in enumerate(self._slots) if slot.used < self.begun and i != keep]
        if len(self._slots) < self._most_slots(capacity) or not old:
            return len(self._slots)
        return min(old, key=lambda i: (self._slots[i].used, i))

    def _compute_new(self, new: Sequence[NewToken], copies: Sequence[_Copy], wanted: set[NewToken]) -> None:
        """Send new tokens through the model, and copy what new trees take over as soon as it is computed."""
        pending = dict.fromkeys(new)
        for copy in copies:
            first = [token for token in (NewToken(copy.source, i) for i in copy.positions) if token in pending]
            self._compute(first, wanted)
            for token in first:
                del pending[token]
            self._memory.copy(copy.source, copy.positions, copy.target)
        self._compute(list(pending), wanted)

    def _multiplying(self) -> AbstractContextManager[None]:
        """Return the context in which the model multiplies by its laid-out weights, if it may keep them."""
        if self._packed is None and self._packs:
            self._packed = PackedWeights(self._model)
        return nullcontext() if self._packed is None else self._packed.used()

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def _compute(self, new: Sequence[NewToken], wanted: set[NewToken], probe: AttentionProbe | None = None) -> None:
        """Send tokens through the model, each after those before it, and keep the last hidden states of the wanted.

        With a probe, all of them go at once.
        """
        at_once = _AT_ONCE if probe is None else max(1, len(new))
        for start in range(0, len(new), at_once):
            part = new[start : start + at_once]
            trees = [slot.tree for slot in self._slots]
            device = self._model.device
            tokens = torch.tensor([[trees[at.slot].tokens[at.position] for at in part]], device=device)  # (1, T)
            positions = torch.tensor([[trees[at.slot].depths[at.position] for at in part]], device=device)
            with self._memory.reading(self._model, part, trees, probe), self._multiplying():
                out = self._model.get_decoder()(input_ids=tokens, position_ids=positions, use_cache=False)
            for i, at in enumerate(part):
                if at in wanted:
                    self._slots[at.slot].states[at.position] = out.last_hidden_state[0, i].clone()
            self.computed += len(part)

    def _logits(self, texts: Sequence[NewToken]) -> Tensor:
        """Return the logits after texts, (B, V), float32. What was read but not asked for is read once more."""
        asked = dict.fromkeys(texts)
        new = [at for at in asked if at.position not in self._slots[at.slot].states]
        if new:
            self._memory.grow(len(self._slots), max(at.position + 1 for at in new))
            self._compute(new, set(new))
        states = torch.stack([self._slots[at.slot].states[at.position] for at in asked])  # (D', D)
        with self._multiplying():
            logits = self._model.get_output_embeddings()(states).float()
        place = {at: i for i, at in enumerate(asked)}
        return logits[torch.tensor([place[at] for at in texts], device=logits.device)]


def reads_in_trees(model: Any) -> bool:
    """Tell whether a model gives the same logits in trees as text by text: tried on a few tokens.

    It does not where its attention is its own (ALiBi, state spaces), looks at a window, or where its logits are scaled
    after the output layer.
    """
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if window and "sliding_attention" in (getattr(config, "layer_types", None) or ["sliding_attention"]):
        return False
    if not caches_by_row(model):
        return False
    first = [token % config.vocab_size for token in range(1, 9)]
    texts = [first, [*first[:5], *first[:3]], [*first[:5], first[6]]]
    reader = TreeReader(model, memory_gb=1.0)
    was_training = model.training
    model.eval()
    try:
        found = [*reader.begin(texts), *reader.read([0], [first[0]])]
        texts.append([*first, first[0]])
        with torch.no_grad():
            plain = [_last_logits(model, text) for text in texts]
            with eager_attention(model):
                eager = [_last_logits(model, text) for text in texts]
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return False  # the architecture does not take its attention from transformers' interface
    finally:
        model.train(was_training)
    spread = max(float(logits.std()) for logits in plain)
    rounding = max(_apart(a, b) for a, b in zip(eager, plain, strict=True))
    most = max(_AGREEMENT.get(model.dtype, _ROUGH_AGREEMENT) * max(spread, 1e-6), _TIMES_ROUNDING * rounding)
    # Rounding can hide an attention that does not come from transformers' interface, so that is asked apart.
    everywhere = reader.layers_read == config.num_hidden_layers
    return everywhere and all(_apart(a, b) <= most for a, b in zip(found, plain, strict=True))


def _last_logits(model: Any, text: Sequence[int]) -> Tensor:
    """Compute the next token's logits after a text, (V,), float32."""
    logits: Tensor = model(torch.tensor([text], device=model.device)).logits[0, -1].float()
    return logits


def _apart(first: Tensor, second: Tensor) -> float:
    """Compute the root mean square of the difference of two texts' logits."""
    return float((first - second).pow(2).mean().sqrt())


def _length_shared(first: IntArray, second: IntArray) -> int:
    """Count the tokens that two texts begin with alike."""
    length = min(len(first), len(second))
    differ = np.flatnonzero(first[:length] != second[:length])
    return int(differ[0]) if len(differ) else length


def _weights_of(model: Any) -> tuple[int, bool]:
    """Return what changes when a weight is written to, or multiplied in another precision."""
    return sum(parameter._version for parameter in model.parameters()), torch.is_autocast_enabled("cpu")


def _bytes_per_position(model: Any) -> float:
    """Return the bytes of the keys and values of a position, over all layers."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return float(2 * config.num_hidden_layers * heads * width * model.dtype.itemsize)
