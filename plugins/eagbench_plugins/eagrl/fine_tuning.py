"""Parameters of supervised fine-tuning in a benchmark file."""

from __future__ import annotations

from pydantic import Field, model_validator

from eagbench.api import (
    StrictParams,
)
from eagbench_plugins.eagrl.lora import LoRA


class FineTuning(StrictParams):
    """Parameters of supervised fine-tuning. The defaults suit the policy `tiny`.

    Attributes:
        steps: Optimisation steps.
        learning_rate: Peak learning rate (AdamW, linear warm-up over a tenth of the steps, linear decay).
        batch_size: Examples per step.
        accumulate: Number of parts that a batch is split into to save memory (gradient accumulation); None takes as few
            as the policy's `memory_gb` allows.
        share_prompts: Learn a case's texts in the same steps, so that their prompt is read once. The examples come in
            another order; apart from that, only rounding differs.
        answer_weight: Weight of each token of the probability in the loss; all other tokens have weight 1. The answer
            is one token in forty; with 1, as in the paper, the label hardly reaches the gradient of a small policy.
        citation_weight: Weight of each token of the list of features. The list is what the text says of this patient
            alone; with 1 its few tokens drown among the steps' and the answer's.
        weight_decay: AdamW's weight decay.
        other_names: Largest share of the features with a name to train with that a record shows under one. Each record
            is then learnt as it is and in seven such versions, in as many steps. 0 changes nothing.
        invented_names: Share of these names that name nothing, being a name's letters in another order: a policy learns
            to pass over what it can't read, in records as long as those under names that it doesn't know.
        other_orders: Show each record with its features in seven other orders, too, in as many steps. With
            `other_names` every second version has another order, and its own names.
        activation_checkpointing: Recompute activations in the backward pass, to save memory.
        checkpoint_every: Steps between checkpoints, from which an interrupted training resumes.
        lora: Train adapters only; None trains all weights.
    """

    steps: int = Field(default=400, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=16, ge=1)
    accumulate: int | None = Field(default=None, ge=1)
    share_prompts: bool = False
    answer_weight: float = Field(default=30.0, gt=0)
    citation_weight: float = Field(default=1.0, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    other_names: float = Field(default=0.0, ge=0, le=1)
    invented_names: float = Field(default=0.0, ge=0, le=1)
    other_orders: bool = False
    activation_checkpointing: bool = False
    checkpoint_every: int = Field(default=100, ge=1)
    lora: LoRA | None = None

    @model_validator(mode="after")
    def _invented_are_others(self) -> FineTuning:
        if self.invented_names and not self.other_names:
            raise ValueError("invented_names is a share of the other names: set other_names, too")
        return self

    @property
    def part_size(self) -> int:
        """Examples that go through the model at once, on all devices together, if memory does not divide a batch."""
        return -(-self.batch_size // (self.accumulate or 1))
