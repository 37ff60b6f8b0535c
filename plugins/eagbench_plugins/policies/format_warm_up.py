"""Teaches a local model the answer formats before any method begins. Imported late, because it imports torch.

Small updates must not be rounded away: all weights are trained in float32, or float32 adapters on weights in the
policy's precision. If that is below float32, the passes run in bfloat16 under autocast, and the result is rounded once,
when it is written.
"""

from __future__ import annotations

import json
from typing import Any

import torch

from eagbench.api import Cases, RecordText, StageRun, UserError
from eagbench_plugins.policies.format_examples import FormatExamples
from eagbench_plugins.policies.format_params import FormatWarmUp, WarmUpLoRA
from eagbench_plugins.policies.format_training import FormatSchedule, encode, train
from eagbench_plugins.policies.model_input import ModelInput
from eagbench_plugins.policies.transformers_model import TransformersModel


def warm_up(
    opened: TransformersModel, cases: Cases, record_text: RecordText, params: FormatWarmUp, run: StageRun
) -> None:
    """Write model, tokenizer and `training.jsonl` into `run.out`.

    Args:
        opened: The model that can't write the format.
        cases: Training cases, unlabelled.
        record_text: The fitted record text.
        params: Training parameters.
        run: Folder, seed, progress; the warm-up resumes from `run.checkpoints` if it was killed.

    Raises:
        UserError: The tokenizer has no end token, or a text with its answer is longer than the model reads.
    """
    precision = opened.model.dtype
    read = ModelInput(opened.tokenizer, opened.model.config)
    examples = FormatExamples(cases, record_text)
    schedule = FormatSchedule(
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        short_records=params.short_records,
        short_record_features=params.short_record_features,
        micro_batch=params.micro_batch,
        checkpoint_every=params.checkpoint_every,
        compute=torch.float32 if precision == torch.float32 else torch.bfloat16,
    )
    _refuse_unfit(read, examples, schedule, run.seed)
    model = _trainable(opened.model, params.lora, run.seed)
    if params.activation_checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    log = train(model, read, examples, schedule, run, "learn the format")
    trained = model.merge_and_unload() if params.lora else model
    trained.to(precision).save_pretrained(run.out)
    opened.tokenizer.save_pretrained(run.out)
    lines = (json.dumps(entry, sort_keys=True) + "\n" for entry in log)
    (run.out / "training.jsonl").write_text("".join(lines), encoding="utf-8")


def _refuse_unfit(read: ModelInput, examples: FormatExamples, schedule: FormatSchedule, seed: int) -> None:
    """Refuse, before the first step, a model that can't end an answer and texts that are too long for it."""
    where = "policy, format_warm_up"
    if read.tokenizer.eos_token_id is None:
        raise UserError(
            "this model can't learn a format: its tokenizer has no end token, so that no answer would ever end",
            where=where,
            hint="name the end token (`eos_token`) in the model folder's tokenizer_config.json",
        )
    if read.positions is None:
        return
    groups = [group for step in range(schedule.steps) for group in schedule.draw(examples, seed, step)]
    longest = max(len(example) for group in groups for example in encode(read, group))
    if longest > read.positions:
        raise UserError(
            f"a record with its answer takes {longest} tokens, and this model reads {read.positions}",
            where=where,
            hint="show less of the record (record_text: periods, values: quantile, instructions: short)",
        )


def _trainable(model: Any, lora: WarmUpLoRA | None, seed: int) -> Any:
    """Return the model with float32 weights, or with float32 adapters on weights as they are."""
    if lora is None:
        return model.float()
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, config, autocast_adapter_dtype=True)
