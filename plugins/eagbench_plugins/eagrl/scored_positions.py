"""TRL's fused head, applied to no more positions than are scored; imported late, for it imports torch and TRL.

TRL's trainers ask the model for log-probabilities of labelled positions. Where there is Triton, its fused head projects
those alone; elsewhere it projects every position, so that a compiler meets one shape only, and the prompt's results are
thrown away. Nothing is compiled here, and a record is several times as long as what is written about it. TRL 1.16
decides by a function of its own, which is another one for the time of a call.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from eagbench.api import quiet_transformers

quiet_transformers()

from trl.trainer import utils as trl_utils  # noqa: E402 - after transformers was quietened


@contextmanager
def only_scored_positions() -> Iterator[None]:
    """Within it, a model with a fused head projects labelled positions only, on every device."""
    before = trl_utils._use_triton
    trl_utils._use_triton = lambda _device: True
    try:
        yield
    finally:
        trl_utils._use_triton = before
