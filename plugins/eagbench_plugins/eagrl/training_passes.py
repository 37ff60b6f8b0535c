"""Set up how models attend in training, and what they keep for the backward pass. Imported late: it imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from eagbench_plugins.eagrl.branch_attention import NAME, SPARING, by_branch
from eagbench_plugins.eagrl.selective_recomputation import sparing_feed_forward
from eagbench_plugins.eagrl.training_memory import Recomputed


@contextmanager
def training_passes(models: Sequence[Any], recomputed: Recomputed, *, packed: bool) -> Iterator[None]:
    """Set up the passes of models that are trained, and of references read beside them, within the context.

    Whole layers are computed again by transformers itself, which the trainers' settings ask for.

    Args:
        models: The models.
        recomputed: What is computed again in the backward pass.
        packed: Whether rows that share their prompt are packed.
    """
    cheap = recomputed is Recomputed.CHEAP
    with ExitStack() as stack:
        if packed:
            stack.enter_context(by_branch(*models, name=SPARING if cheap else NAME))
        if cheap:
            stack.enter_context(sparing_feed_forward(*models))
        yield
