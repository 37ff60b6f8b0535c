"""The policy component `tiny`."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from eagbench.api import Cases, LanguageModel, PromptCounter, RecordText, StageRun
from eagbench_plugins.policies.tiny.params import TinyParams


class TinyPolicy:
    """A Llama-shaped causal language model of under 5 M parameters with its own tokenizer.

    It is pre-trained to write well-formed answers in all three styles about unlabelled training records. The
    probability in these is drawn at random, so it knows the formats but nothing about the outcome.
    """

    name: ClassVar[str] = "tiny"

    Params = TinyParams

    def __init__(self, params: TinyParams) -> None:
        self.params = params

    def content(self) -> None:
        """Return None, because no outside file is read."""

    def prepare(self, cases: Cases, record_text: RecordText, run: StageRun) -> None:
        """Train the tokenizer, build the model and pre-train it on the answer formats, into `run.out`."""
        from eagbench_plugins.policies.tiny.pretraining import pretrain

        pretrain(cases, record_text, self.params, run)

    def counter(self, folder: Path) -> PromptCounter | None:
        """Open the tokenizer that pre-training made; None before that."""
        from eagbench_plugins.policies.model_input import ModelInput

        return ModelInput.load(folder) if (folder / "config.json").is_file() else None

    def open(self, folder: Path) -> LanguageModel:
        """Open the model on the CPU or GPU, in float32: at this size lower precision gains nothing."""
        from eagbench_plugins.policies.transformers_model import TransformersModel

        return TransformersModel.load(folder, dtype="float32", batch_size=self.params.generation_batch_size)
