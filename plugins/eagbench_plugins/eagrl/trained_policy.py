"""The policy that a training stage begins with, and the one that it leaves. Imported late: it needs transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eagbench.api import StageRun, TrainableLanguageModel, UserError, open_policy
from eagbench_plugins.eagrl.lora import LoRA


def open_trainable(folder: Path, stage: str) -> TrainableLanguageModel:
    """Opens a policy folder for training.

    Args:
        folder: The policy to begin with.
        stage: Kind of the stage, for the error message.

    Raises:
        UserError: The policy's weights are not here.
    """
    opened = open_policy(folder)
    if not isinstance(opened, TrainableLanguageModel):
        raise UserError(
            "this policy can't be trained: its weights are not on this machine",
            where=f"stage {stage}",
            hint="use the policy `tiny` or `hf`",
        )
    return opened


def weights_to_train(opened: TrainableLanguageModel, lora: LoRA | None) -> Any:
    """The model in the precision that it is trained in.

    Half precision is too coarse for the small steps of full fine-tuning: those weights are kept in float32, and the
    passes run in bfloat16 under autocast. Adapters are float32 in any case.
    """
    return opened.model if lora else opened.model.float()


def save_trained(trainer: Any, tokenizer: Any, lora: LoRA | None, run: StageRun) -> None:
    """Writes a trainer's model, adapters merged, and the tokenizer into `run.out`."""
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        trained = trained.merge_and_unload()
    trained.save_pretrained(run.out)
    tokenizer.save_pretrained(run.out)
