"""Open a policy for training, and save the trained one. Imported late, because it imports torch."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any, TypeGuard

import torch

from eagbench.api import OnSeveralDevices, SharesPrompts, StageRun, TrainableLanguageModel, UserError, open_policy
from eagbench_plugins.eagrl.lora import LoRA


def open_trainable(folder: Path, stage: str) -> TrainableLanguageModel | OnSeveralDevices:
    """Open a policy folder for training. One on several devices is opened again on each of them.

    Args:
        folder: Folder of the initial policy.
        stage: Kind of the stage, for the error message.

    Raises:
        UserError: The policy's weights are not on this machine, or its tokenizer has no end token.
    """
    opened = open_policy(folder)
    if not isinstance(opened, TrainableLanguageModel | OnSeveralDevices):
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


def shares_prompts(opened: object) -> TypeGuard[SharesPrompts]:
    """Tell whether a policy reads once what texts begin with, in writing and in training."""
    return isinstance(opened, SharesPrompts) and opened.shares_prompts


def computes_in_bfloat16(opened: TrainableLanguageModel) -> bool:
    """Tell whether passes in training run in bfloat16 under autocast: on a GPU, or if the policy was opened in it.

    Ask before `weights_to_train`, which makes the weights float32.
    """
    model = opened.model
    return bool(torch.device(model.device).type == "cuda" or model.dtype == torch.bfloat16)


def weights_to_train(opened: TrainableLanguageModel, lora: LoRA | None) -> Any:
    """Return the model with the weights in the precision used for training.

    Half precision is too coarse for the small updates of full fine-tuning: weights that are trained are float32, and
    where the policy computes in bfloat16 (`computes_in_bfloat16`) autocast rounds them for each pass. With adapters the
    policy's own weights stay in its precision, and the adapters are float32.
    """
    return opened.model if lora else opened.model.float()


def free_trainer() -> None:
    """Free weights, gradients and moments of a training that is over, once nothing refers to its trainer any more.

    Trainer, callbacks and accelerator refer to each other in circles. Python looks for such circles when it has made
    enough objects, and a tensor of any size is one: the next stages would hold all of it beside their own.
    """
    gc.collect()


def save_trained(trainer: Any, tokenizer: Any, lora: LoRA | None, run: StageRun) -> None:
    """Write a trainer's model, with merged adapters, and the tokenizer into `run.out`."""
    trained = trainer.accelerator.unwrap_model(trainer.model)
    if lora:
        trained = trained.merge_and_unload()
    trained.save_pretrained(run.out)
    tokenizer.save_pretrained(run.out)
