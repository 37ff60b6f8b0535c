"""Write texts token by token: the loop that prediction, searches and Stage II's rollouts share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from eagbench.api import Sampling
from eagbench_plugins.policies.drawing import choose


class Reader(Protocol):
    """Reads texts and goes on with them: `tree_reading.TreeReader` or `padded_reading.PaddedReader`."""

    def begin(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Read the tokens of B texts and return the next token's logits, (B, V), float32."""
        ...

    def read(self, rows: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Append a token to each of R of these texts and return their next token's logits, (R, V), float32."""
        ...


def write(
    reader: Reader,
    texts: Sequence[Sequence[int]],
    room: Sequence[int],
    sampling: Sampling,
    draws: np.ndarray[Any, Any] | None,
    ended: Callable[[int, Sequence[int]], bool],
) -> list[list[int]]:
    """Generate the tokens after each of B texts, the one that ended it included.

    Args:
        reader: Reads with the model.
        texts: The tokens of each text.
        room: The most tokens to write after each, at least 1.
        sampling: Temperature and nucleus.
        draws: Uniform numbers in [0, 1), (B, steps); None for greedy.
        ended: Tells whether a text, given by its position, is finished with the tokens written so far.
    """
    written: list[list[int]] = [[] for _ in texts]
    logits = reader.begin(texts)
    rows = list(range(len(texts)))  # which text each row of the logits belongs to
    while True:
        step = len(written[rows[0]])
        draw = None if draws is None else torch.from_numpy(draws[rows, step]).to(logits.device)
        going = []
        for i, token in zip(rows, choose(logits, sampling, draw).tolist(), strict=True):
            written[i].append(token)
            if len(written[i]) < room[i] and not ended(i, written[i]):
                going.append(i)
        if not going:
            return written
        rows = going
        logits = reader.read(rows, [written[i][-1] for i in rows])
