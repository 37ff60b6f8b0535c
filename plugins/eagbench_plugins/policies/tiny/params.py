"""Parameters of the policy `tiny`."""

from __future__ import annotations

from pydantic import Field, model_validator

from eagbench.api import StrictParams


class TinyParams(StrictParams):
    """The model's shape and its pre-training.

    Attributes:
        hidden_dim: Width of the model.
        intermediate_dim: Width of its feed-forward layers.
        layers: Number of layers.
        heads: Number of attention heads; must divide `hidden_dim`.
        vocabulary_size: Upper bound on the tokenizer's vocabulary.
        record_steps: Optimisation steps of a pre-training before that one, on whole unlabelled records: each value from
            those before it, features in random order. 0 leaves it out.
        steps: Optimisation steps of pre-training on the answer formats.
        other_names: Largest share of the features with a name to train with that a text of the pre-training shows under
            one; the tokenizer learns these names, too. 0 changes no name. The names to test with stay unseen.
        invented_names: Share of these names that name nothing; see the parameter of `sft`. The tokenizer learns none.
        batch_size: Texts per step, split between the three styles.
        generation_batch_size: Texts generated at once.
        learning_rate: Peak learning rate (AdamW, linear warm-up and decay).
        max_length: Longest text in tokens.
    """

    hidden_dim: int = Field(default=128, ge=16, le=256)
    intermediate_dim: int = Field(default=256, ge=16, le=1024)
    layers: int = Field(default=4, ge=1, le=8)
    heads: int = Field(default=4, ge=1)
    vocabulary_size: int = Field(default=4096, ge=512, le=8192)
    record_steps: int = Field(default=0, ge=0)
    steps: int = Field(default=240, ge=1)
    other_names: float = Field(default=0.0, ge=0, le=1)
    invented_names: float = Field(default=0.0, ge=0, le=1)
    batch_size: int = Field(default=15, ge=3)
    generation_batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    max_length: int = Field(default=1024, ge=64)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> TinyParams:
        if self.hidden_dim % (2 * self.heads):
            raise ValueError(f"hidden_dim {self.hidden_dim} must be an even multiple of heads {self.heads}")
        return self

    @model_validator(mode="after")
    def _invented_are_others(self) -> TinyParams:
        if self.invented_names and not self.other_names:
            raise ValueError("invented_names is a share of the other names: set other_names, too")
        return self
