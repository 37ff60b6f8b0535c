"""Apply TRL's fused head to the scored positions only. Imported late, because it imports torch and TRL.

TRL's trainers need the log-probabilities of labelled positions. With Triton, TRL's fused head projects only those.
Without Triton it projects every position, so that a compiler sees a single shape, and discards the prompt's results.
eagbench compiles nothing, and a record is several times as long as the text written about it, so that work is wasted.
TRL 1.16 decides with a function of its own; this module replaces that function during a call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eagbench.api import quiet_transformers

quiet_transformers()

from trl.trainer import utils as trl_utils  # noqa: E402 - after transformers was quietened


@contextmanager
def only_scored_positions() -> Iterator[None]:
    """Make a model with a fused head project labelled positions only, on every device, within the context."""
    before = trl_utils._use_triton
    trl_utils._use_triton = lambda _device: True
    try:
        yield
    finally:
        trl_utils._use_triton = before
