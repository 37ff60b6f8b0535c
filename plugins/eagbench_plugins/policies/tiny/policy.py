"""The component: parameters, and where the work is done."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from eagbench.api import Cases, LanguageModel, RecordText, StageRun, StrictParams


class TinyPolicy:
    """A Llama-shaped causal language model of under 5 M parameters with a tokenizer of its own.

    It is pre-trained to write well-formed answers of all three styles about unlabelled training records. The
    probability in these is drawn at random, so it knows the formats and nothing of the outcome.
    """

    name: ClassVar[str] = "tiny"

    class Params(StrictParams):
        """Shape and pre-training.

        Attributes:
            hidden_dim: Width of the model.
            intermediate_dim: Width of its feed-forward layers.
            layers: Number of layers.
            heads: Number of attention heads; must divide `hidden_dim`.
            vocabulary_size: Upper bound on the tokenizer's vocabulary.
            steps: Optimisation steps of pre-training.
            batch_size: Texts per step, shared by the three styles.
            generation_batch_size: Texts that are written at once.
            learning_rate: Peak learning rate (AdamW, linear warm-up and decay).
            max_length: Longest text in tokens.
        """

        hidden_dim: int = Field(default=128, ge=16, le=256)
        intermediate_dim: int = Field(default=256, ge=16, le=1024)
        layers: int = Field(default=4, ge=1, le=8)
        heads: int = Field(default=4, ge=1)
        vocabulary_size: int = Field(default=4096, ge=512, le=8192)
        steps: int = Field(default=240, ge=1)
        batch_size: int = Field(default=15, ge=3)
        generation_batch_size: int = Field(default=128, ge=1)
        learning_rate: float = Field(default=3e-3, gt=0)
        max_length: int = Field(default=1024, ge=64)

        @model_validator(mode="after")
        def _heads_divide_width(self) -> TinyPolicy.Params:
            if self.hidden_dim % (2 * self.heads):
                raise ValueError(f"hidden_dim {self.hidden_dim} must be an even multiple of heads {self.heads}")
            return self

    def __init__(self, params: Params) -> None:
        self.params = params

    def content(self) -> None:
        """It reads no outside file."""

    def prepare(self, cases: Cases, record_text: RecordText, run: StageRun) -> None:
        """Trains the tokenizer, builds the model and pre-trains it for format, into `run.out`."""
        from eagbench_plugins.policies.tiny.pretraining import pretrain

        pretrain(cases, record_text, self.params, run)

    def open(self, folder: Path) -> LanguageModel:
        """Opens the model on the CPU or GPU, in float32: at this size nothing is gained by less."""
        from eagbench_plugins.policies.transformers_model import TransformersModel

        return TransformersModel.load(folder, dtype="float32", batch_size=self.params.generation_batch_size)
