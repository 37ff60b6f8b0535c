"""Write texts token by token and take up others on the way, so that nobody waits for the longest of a batch.

A pass of a model on few texts takes nearly as long as one on many: with SmolLM2 on two cores, 67 ms for one text and
100 ms for sixteen. Where texts end at different lengths, the last ones of a batch are written alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from eagbench.api import FloatArray, Sampling, TokenThoughts
from eagbench_plugins.policies.drawing import choose
from eagbench_plugins.policies.tree_reading import TreeReader


@dataclass(eq=False, slots=True)
class Text:
    """A text under way.

    Attributes:
        read: The tokens that it goes on from.
        room: The most tokens to write; nothing is written if it is 0 or less.
        sampling: Temperature and nucleus.
        thoughts: How a thought is told apart behind them.
        ended: Tells whether it is finished with the tokens written so far.
        draws: Uniform numbers in [0, 1), one per token; None for greedy.
        written: The tokens written so far.
    """

    read: Sequence[int]
    room: int
    sampling: Sampling
    thoughts: TokenThoughts
    ended: Callable[[Sequence[int]], bool]
    draws: FloatArray | None = None
    written: list[int] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether nothing more is to be written."""
        return len(self.written) >= self.room or self.ended(self.written)


class ContinuousWriter:
    """Writes texts, a token of each at a time. What it does depends only on the order in which texts are added.

    Args:
        reader: Reads with the model; others may read with it in between.
        fitting: Returns how many texts of so many tokens may be under way.
    """

    def __init__(self, reader: TreeReader, fitting: Callable[[int], int]) -> None:
        self._reader = reader
        self._fitting = fitting
        self._requests: dict[int, list[Text]] = {}
        self._unfinished: dict[Text, int] = {}  # and the request that each belongs to
        self._added = 0
        self._waiting: deque[Text] = deque()
        self._rows: dict[Text, int] = {}  # those under way, and which text of the reader's last `begin` each one is
        self._begun = -1

    def add(self, texts: Sequence[Text]) -> int:
        """Add texts behind those that wait, and return the number of this request."""
        self._added += 1
        self._requests[self._added] = list(texts)
        begun = {text: self._added for text in texts if text.room > 0}
        self._unfinished |= begun
        self._waiting += begun
        return self._added

    def step(self) -> dict[int, list[Text]]:
        """Write a token of each text under way, and return the requests that are finished, with their texts."""
        taken_up = self._take_up()
        texts = list(self._rows)
        if texts:
            for text, token in zip(texts, _chosen(texts, self._logits(texts, taken_up)), strict=True):
                text.written.append(token)
        for text in texts:
            if text.finished:
                del self._rows[text], self._unfinished[text]
        open_requests = set(self._unfinished.values())
        finished = [number for number in self._requests if number not in open_requests]
        return {number: self._requests.pop(number) for number in finished}

    def _logits(self, texts: Sequence[Text], taken_up: bool) -> Tensor:
        """Return the next token's logits of the texts under way, (B, V)."""
        if not taken_up and self._begun == self._reader.begun:
            return self._reader.read([self._rows[text] for text in texts], [text.written[-1] for text in texts])
        logits = self._reader.begin([[*text.read, *text.written] for text in texts])
        self._rows = {text: row for row, text in enumerate(texts)}
        self._begun = self._reader.begun
        return logits

    def _take_up(self) -> bool:
        """Take up as many of the waiting texts as there is room for; tell whether there were any."""
        longest = max((len(text.read) + text.room for text in self._rows), default=0)
        before = len(self._rows)
        while self._waiting:
            longest = max(longest, len(self._waiting[0].read) + self._waiting[0].room)
            if self._rows and len(self._rows) >= self._fitting(longest):
                break
            self._rows[self._waiting.popleft()] = -1
        return len(self._rows) > before


def _chosen(texts: Sequence[Text], logits: Tensor) -> list[int]:
    """Choose the next token of each text; logits (B, V)."""
    alike: dict[tuple[float, float], list[int]] = {}
    for row, text in enumerate(texts):
        alike.setdefault((text.sampling.temperature, text.sampling.top_p), []).append(row)
    tokens = [0] * len(texts)
    for rows in alike.values():
        draws = [text.draws[len(text.written)] for row in rows if (text := texts[row]).draws is not None]
        draw = torch.from_numpy(np.array(draws)).to(logits.device) if draws else None
        for row, token in zip(rows, choose(logits[rows], texts[rows[0]].sampling, draw).tolist(), strict=True):
            tokens[row] = token
    return tokens
