"""Low-rank adaptation (Hu et al., arXiv 2106.09685), for both training stages."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from eagbench.api import StrictParams


class LoRA(StrictParams):
    """Low-rank adapters on every linear layer, merged into the weights after training.

    Attributes:
        rank: Rank of the adapters.
        alpha: Scale of the adapters; the update is multiplied by alpha / rank.
        dropout: Dropout before the adapters.
    """

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)
    dropout: float = Field(default=0.05, ge=0, lt=1)


def peft_config(lora: LoRA | None) -> Any:
    """Build the `peft_config` of a TRL trainer; None trains all weights."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
