"""Apply TRL's fused head to the scored positions only. Imported late, because it imports torch and TRL.

TRL's trainers need the log-probabilities of labelled positions. With Triton, TRL's fused head projects only those.
Without Triton it projects every position, so that a compiler sees a single shape, and discards the prompt's results.
eagbench compiles nothing, and a record is several times as long as the text written about it, so that work is wasted.
TRL 1.16 decides with a function of its own; this module replaces that function during a call.

The fused head keeps no logits: it computes them in tiles, and again in the backward pass. On a CPU a tile needs some
six arrays of its size in float32, and TRL's tiles of 4,096 positions x 32,768 words would take 3.2 GB. This module
makes them `TILE` positions high on a CPU, for the whole process, since the backward pass comes after the context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from eagbench.api import quiet_transformers

quiet_transformers()

from trl.kernels import chunked_logprob  # noqa: E402 - after transformers was quietened
from trl.trainer import utils as trl_utils  # noqa: E402

TILE = 256
if not torch.cuda.is_available():  # Triton works within one tile
    chunked_logprob.TOKEN_CHUNK_SIZE = TILE


@contextmanager
def only_scored_positions() -> Iterator[None]:
    """Make a model with a fused head project labelled positions only, on every device, within the context."""
    before = trl_utils._use_triton
    trl_utils._use_triton = lambda _device: True
    try:
        yield
    finally:
        trl_utils._use_triton = before
