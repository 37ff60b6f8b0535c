"""Divide a policy's declared memory: its weights, the keys and values that are kept, those of the texts being written.

On a CPU a second copy of the weights, laid out for its products, is kept where it takes no more than a quarter of what
the weights leave. What is left then is halved. One half keeps what was read (`cache_gb`, unless it is declared), the
other bounds how many texts are written at once. A token's keys and values take 2 x layers x key-value heads x head
width numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eagbench.api import UserError

GB = 1e9
# A constant, so that a run does not depend on what else is on the machine.
MEMORY_GB = 8.0
_MOST_PACKED = 0.25


@dataclass(frozen=True, slots=True)
class WritingMemory:
    """How a declared memory is divided.

    Attributes:
        cache_gb: Most memory of keys and values that are kept from call to call.
        batch_gb: Most memory of keys and values of the texts of a batch.
        token_bytes: Bytes of a token's keys and values.
        packs: Whether the weights are kept a second time, laid out for the CPU (`packed_weights`).
    """

    cache_gb: float
    batch_gb: float
    token_bytes: float
    packs: bool = False

    def texts(self, tokens: int, most: int) -> int:
        """Return how many texts of so many tokens go into a batch: at least one, and no more than `most`."""
        return max(1, min(most, int(self.batch_gb * GB / (self.token_bytes * max(1, tokens)))))


def divided(model: Any, memory_gb: float, cache_gb: float | None, packed_bytes: int = 0) -> WritingMemory:
    """Divide a declared memory.

    Args:
        model: A transformers model.
        memory_gb: The declared memory.
        cache_gb: The declared part of it for keys and values that are kept; None for half of what the weights leave.
        packed_bytes: What a copy of the weights takes that is laid out for the CPU; 0 where it is of no use.

    Raises:
        UserError: The weights, or the weights and `cache_gb`, leave nothing.
    """
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / GB
    left = memory_gb - weights - (cache_gb or 0.0)
    if left <= 0:
        narrower = ", or `dtype: bfloat16`" if next(model.parameters()).element_size() > 2 else ""
        kept = f" and its `cache_gb` {cache_gb:g} GB" if cache_gb else ""
        raise UserError(
            f"the policy's weights take {weights:.1f} GB{kept}, and its `memory_gb` is {memory_gb:g}",
            where="policy, memory_gb",
            hint=f"declare `memory_gb: {weights + 2 * (cache_gb or 1.0):.0f}` or more if the machine has it{narrower}",
        )
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None) or 1
    width = getattr(config, "head_dim", None) or config.hidden_size // (
        getattr(config, "num_attention_heads", None) or 1
    )
    packed = packed_bytes / GB
    packs = 0 < packed <= _MOST_PACKED * left
    if packs:
        left -= packed
    size = next(model.parameters()).element_size()
    token_bytes = 2.0 * config.num_hidden_layers * heads * width * size
    return WritingMemory(left / 2 if cache_gb is None else cache_gb, left if cache_gb else left / 2, token_bytes, packs)
