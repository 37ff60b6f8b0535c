"""Read a batch of texts padded to one length: for models that can't read in trees, and to measure attention."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from eagbench_plugins.policies.rereading import Rereading, caches_by_row

# Once this share of a batch has finished, the rest goes on without it.
_COMPACT_BELOW = 0.5


class PaddedReader:
    """Reads texts side by side, padded on the left. Holds the texts of the last `begin`, which `read` continues.

    Args:
        model: A transformers causal language model.
        pad: The token that fills up.

    Attributes:
        computed: Positions that went through the model so far, padding included.
    """

    def __init__(self, model: Any, pad: int) -> None:
        self._model, self._pad = model, pad
        self._rows: list[int] = []  # the text of each row in the cache
        self._mask = torch.empty(0)
        self._cache: Any = None
        self.computed = 0

    @cached_property
    def caches_by_row(self) -> bool:
        """Whether the model keeps keys and values by row, and nothing else."""
        return bool(caches_by_row(self._model))

    def forget(self) -> None:
        """Free the cache. Nothing is remembered between batches."""
        self._rows, self._cache = [], None

    @staticmethod
    def rows_per_text(candidates: Sequence[Sequence[int]]) -> int:
        """Return how many rows of a batch `score` takes per text."""
        return 1 if all(len(candidate) == 1 for candidate in candidates) else len(candidates)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def begin(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Read the tokens of B texts and return the next token's logits, (B, V), float32."""
        logits, self._mask, self._cache = self.prefill(rows)
        self._rows = list(range(len(rows)))
        return logits

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def read(self, rows: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Append a token to each of R texts of the last `begin` and return their next token's logits, (R, V), float32.

        Args:
            rows: Positions of the texts in the last `begin`, each time a part of those before.
            tokens: The token of each.
        """
        token = dict(zip(rows, tokens, strict=True))
        if len(rows) <= _COMPACT_BELOW * len(self._rows):
            keep = torch.tensor([at for at, row in enumerate(self._rows) if row in token], device=self._mask.device)
            self._cache.batch_select_indices(keep)
            self._mask = self._mask[keep]
            self._rows = [row for row in self._rows if row in token]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._rows), 1)], dim=1)
        new = torch.tensor([[token.get(row, self._pad)] for row in self._rows], device=self._mask.device)  # (B', 1)
        logits = self._read_on(new, self._mask, self._cache)[:, -1]
        place = {row: at for at, row in enumerate(self._rows)}
        return logits[torch.tensor([place[row] for row in rows], device=logits.device)]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def score(self, rows: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> Tensor:
        """Compute the log-probability of each of C candidates after each of B texts, (B, C), float32."""
        logits, mask, cache = self.prefill(rows)
        first = torch.tensor([candidate[0] for candidate in candidates], device=logits.device)
        scores = logits.log_softmax(dim=-1)[:, first]  # (B, C)
        longest = max(len(candidate) for candidate in candidates)
        if longest == 1:
            return scores
        n, c = len(rows), len(candidates)
        cache.batch_repeat_interleave(c)
        # Candidates are padded on the right: a causal model's earlier tokens don't see the padding.
        padded = [list(candidate) + [self._pad] * (longest - len(candidate)) for candidate in candidates]
        real = [[1] * len(candidate) + [0] * (longest - len(candidate)) for candidate in candidates]
        tokens = torch.tensor(padded, device=logits.device).repeat(n, 1)  # (B * C, longest)
        counted = torch.tensor(real, device=logits.device).repeat(n, 1)  # (B * C, longest)
        seen = torch.cat([mask.repeat_interleave(c, dim=0), counted[:, :-1]], dim=1)
        rest = self._read_on(tokens[:, :-1], seen, cache).log_softmax(dim=-1).gather(2, tokens[:, 1:, None]).squeeze(2)
        return scores + (rest * counted[:, 1:]).sum(dim=1).view(n, c)

    def prefill(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Any]:
        """Read texts and return the next token's logits (B, V) in float32, the mask (B, L) and the cache."""
        tokens, mask = self.padded(rows)
        self.computed += tokens.numel()
        if not self.caches_by_row:
            reread = Rereading(self._model, rows)
            return reread.last(1)[:, -1], mask, reread
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        out = self._model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1
        )
        return out.logits[:, -1].float(), mask, out.past_key_values

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Return left-padded tokens and their mask, both (B, L)."""
        longest = max(len(row) for row in rows)
        tokens = [[self._pad] * (longest - len(row)) + list(row) for row in rows]
        mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
        device = self._model.device
        return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)

    def _read_on(self, tokens: Tensor, seen: Tensor, cache: Any) -> Tensor:
        """Read tokens (B, T) after those in the cache and return the logits at their positions (B, T, V) in float32."""
        self.computed += tokens.numel()
        if isinstance(cache, Rereading):
            return cache.read(tokens)
        out = self._model(
            input_ids=tokens,
            attention_mask=seen,
            position_ids=(seen.cumsum(dim=1) - 1)[:, -tokens.shape[1] :],
            past_key_values=cache,
            use_cache=True,
        )
        logits: Tensor = out.logits.float()
        return logits
