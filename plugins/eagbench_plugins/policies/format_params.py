"""Parameters of the format warm-up in a benchmark file."""

from __future__ import annotations

from pydantic import Field

from eagbench.api import StrictParams


class WarmUpLoRA(StrictParams):
    """Low-rank adapters on every linear layer, merged into the weights after the warm-up.

    Attributes:
        rank: Rank of the adapters.
        alpha: Scale of the adapters; the update is multiplied by alpha / rank.
    """

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32, gt=0)


class FormatWarmUp(StrictParams):
    """Training on well-formed answers with random probabilities, for a model that can't write the format.

    Attributes:
        steps: Optimisation steps.
        batch_size: Texts per step, split between the three styles.
        learning_rate: Peak learning rate (AdamW, linear rise over a tenth of the steps, linear decay).
        lora: Train adapters only; None trains all weights.
        short_records: Share of the steps, the first ones, whose records show a few features only, which costs less.
        short_record_features: Most features that those records show.
        micro_batch: Most texts in one pass through the model. It bounds memory and changes rounding only.
        activation_checkpointing: Recompute activations in the backward pass, to save memory.
        checkpoint_every: Steps between checkpoints, from which an interrupted warm-up resumes.
    """

    steps: int = Field(default=40, ge=1)
    batch_size: int = Field(default=6, ge=3)
    learning_rate: float = Field(default=1e-4, gt=0)
    lora: WarmUpLoRA | None = None
    short_records: float = Field(default=0.9, ge=0, le=1)
    short_record_features: int = Field(default=6, ge=5)
    micro_batch: int = Field(default=4, ge=1)
    activation_checkpointing: bool = False
    checkpoint_every: int = Field(default=20, ge=1)
