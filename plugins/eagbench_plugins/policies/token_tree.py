"""The tokens that a model has read after one beginning, as a tree: texts that begin alike share their positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eagbench.api import BoolArray

ROOT = -1  # what lies before the first token


class TokenTree:
    """A tree of tokens. A position is where a token's keys and values are kept; it knows the position before it.

    Attributes:
        tokens: The token of each position.
        depths: How many tokens lie before each position in its text.
    """

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.depths: list[int] = []
        self._before: list[int] = []
        self._after: dict[tuple[int, int], int] = {}
        self._seen: dict[int, BoolArray] = {}

    def __len__(self) -> int:
        return len(self.tokens)

    def after(self, before: int, token: int) -> int | None:
        """Find the position of a token after another position; None if it was not read there."""
        return self._after.get((before, token))

    def add(self, before: int, token: int) -> int:
        """Give a token after a position a position of its own."""
        position = len(self.tokens)
        self.tokens.append(token)
        self.depths.append(0 if before == ROOT else self.depths[before] + 1)
        self._before.append(before)
        self._after[before, token] = position
        return position

    def path(self, ids: Sequence[int]) -> list[int]:
        """Return the positions of the longest beginning of a text that was read."""
        found: list[int] = []
        before = ROOT
        for token in ids:
            position = self._after.get((before, token))
            if position is None:
                break
            found.append(position)
            before = position
        return found

    def seen(self, position: int) -> BoolArray:
        """Tell which positions a position sees: those before it in its text, and itself. Shape (position + 1,)."""
        known = self._seen.get(position)
        if known is not None:
            return known
        mine = np.zeros(position + 1, dtype=np.bool_)
        at = position
        while at != ROOT:
            above = self._seen.get(at)
            if above is not None:
                mine[: at + 1] |= above
                break
            mine[at] = True
            at = self._before[at]
        self._seen[position] = mine
        return mine

    def forget_seen(self) -> None:
        """Free what `seen` remembers."""
        self._seen.clear()
