"""Open a policy for training, and save the trained one. Imported late, because it imports transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eagbench.api import StageRun, TrainableLanguageModel, UserError, open_policy
from eagbench_plugins.eagrl.lora import LoRA


def open_trainable(folder: Path, stage: str) -> TrainableLanguageModel:
    """Open a policy folder for training.

    Args:
        folder: Folder of the initial policy.
        stage: Kind of the stage, for the error message.

    Raises:
        UserError: The policy's weights are not on this machine, or its tokenizer has no end token.
    """
    opened = open_policy(folder)
    if not isinstance(opened, TrainableLanguageModel):
        raise UserError(
            "this policy can't be trained: its weights are not on this machine",
            where=f"stage {stage}",
            hint="use the policy `tiny` or `hf`",
        )
    if opened.tokenizer.eos_token_id is None:
        raise UserError(
            "this policy can't be trained: its tokenizer has no end token, so that no answer would ever end",
            where=f"stage {stage}",
            hint="name the end token (`eos_token`) in the model folder's tokenizer_config.json",
        )
    return opened


def weights_to_train(opened: TrainableLanguageModel, lora: LoRA | None) -> Any:
    """Return the model in the precision used for training.

    Half precision is too coarse for the small updates of full fine-tuning. The weights are therefore kept in float32,
    and forward and backward passes run in bfloat16 under autocast. Adapters are always float32.
    """
    return opened.model if lora else opened.model.float()


def save_trained(trainer: Any, tokenizer: Any, lora: LoRA | None, run: StageRun) -> None:
    """Write a trainer's model, with merged adapters, and the tokenizer into `run.out`."""
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        trained = trained.merge_and_unload()
    trained.save_pretrained(run.out)
    tokenizer.save_pretrained(run.out)
