"""Supervised fine-tuning with TRL's SFTTrainer (TRL 1.16, transformers 5). Imported late, because it imports torch.

The loss is a weighted version of TRL's mean negative log-likelihood over the completion's tokens. The tokens of the
probability have weight `answer_weight`, those of the list of features `citation_weight`, all others have weight 1, and
the sum is divided by the sum of the weights. With both weights 1 it is TRL's own loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.utils.rnn import pad_sequence

from eagbench.api import (
    OnSeveralDevices,
    StageRun,
    Style,
    TokenThoughts,
    TrainableLanguageModel,
    count_tokens,
    quiet_transformers,
    refuse_long_prompts,
)
from eagbench_plugins.eagrl.checkpoints import last_complete_checkpoint
from eagbench_plugins.eagrl.data_parallel import n_processes, train_on_devices
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.lora import peft_config
from eagbench_plugins.eagrl.packed_examples import PackedCollator
from eagbench_plugins.eagrl.scored_positions import only_scored_positions
from eagbench_plugins.eagrl.searches.steps import CITATIONS
from eagbench_plugins.eagrl.step_progress import StepProgress
from eagbench_plugins.eagrl.trained_policy import (
    computes_in_bfloat16,
    open_trainable,
    save_trained,
    shares_prompts,
    weights_to_train,
)
from eagbench_plugins.eagrl.training_memory import Rows, divide_step, ways_to_train
from eagbench_plugins.eagrl.training_passes import training_passes
from eagbench_plugins.eagrl.whole_checkpoints import WholeCheckpoints

quiet_transformers()

from transformers import PrinterCallback  # noqa: E402 - after transformers was quietened
from trl import SFTConfig, SFTTrainer  # noqa: E402

_IGNORED = -100  # the label that the loss leaves out
_LOG_EVERY = 10


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt and the completion to learn.

    Attributes:
        prompt: What the policy reads.
        completion: What it learns to write.
        format_weight: Weight in the loss of all tokens of the completion but those of the probability.
        version: Which of its case's versions it is; texts of one version may share their prompt.
    """

    prompt: str
    completion: str
    format_weight: float = 1.0
    version: int = 0


def train(examples: Sequence[Example], policy: Path, style: Style, params: FineTuning, run: StageRun) -> None:
    """Train the policy and write model, tokenizer and `training.jsonl` into `run.out`.

    Args:
        examples: Examples to learn, including repeats.
        policy: Folder of the initial policy.
        style: The format of the completions, needed to locate their answers.
        params: Training parameters.
        run: Output folder, seed and progress; training resumes from the last checkpoint in `run.checkpoints`.

    Raises:
        UserError: The policy's weights are not on this machine, or its `memory_gb` is too little for one example.
    """
    opened = open_trainable(policy, "sft")
    refuse_long_prompts(opened, [example.prompt for example in examples], 1, "stage sft")
    if isinstance(opened, OnSeveralDevices):
        train_on_devices(train, (examples, policy, style, params), run, policy, opened.devices)
        return
    rows = [encode(example, opened, style, params.answer_weight, params.citation_weight) for example in examples]
    longest = max(len(row["input_ids"]) for row in rows)
    shares = params.share_prompts and shares_prompts(opened)
    # Elsewhere the masks of packed rows travel to the device, where nobody knows their layout, and all are kept.
    by_branches = shares and torch.device(opened.model.device).type == "cpu"
    division = divide_step(
        opened,
        ways_to_train(opened, params.lora, checkpointing=params.activation_checkpointing, packed=by_branches),
        Rows(params.batch_size, 0, longest),
        params.accumulate,
        run,
    )
    parts, at_once = division.parts, -(-params.batch_size // division.parts)
    groups = _by_prompt(examples) if params.share_prompts else [[i] for i in range(len(examples))]
    order = example_order(groups, params.steps * parts * at_once, run.seed)
    pad = opened.tokenizer.pad_token_id or 0
    config = _config(opened, params, run, at_once, parts)  # before the weights become float32
    with torch.random.fork_rng():  # the trainer seeds torch for the whole process
        trainer = WeightedSFTTrainer(
            model=weights_to_train(opened, params.lora),
            args=config,
            train_dataset=Dataset.from_list(rows).select(order),
            data_collator=PackedCollator(pad) if shares else Collator(pad),
            processing_class=opened.tokenizer,
            peft_config=peft_config(params.lora),
            callbacks=[StepProgress(run, "fine-tune")],
        )
        trainer.remove_callback(PrinterCallback)
        with training_passes([opened.model], division.recomputed, packed=shares):
            trainer.train(resume_from_checkpoint=last_complete_checkpoint(run.checkpoints))
    if not trainer.is_world_process_zero():
        return
    save_trained(trainer, opened.tokenizer, params.lora, run)
    with (run.out / "training.jsonl").open("w", encoding="utf-8") as stream:
        for entry in trainer.state.log_history:
            if "loss" in entry:
                kept = {name: entry[name] for name in ("step", "loss", "learning_rate", "grad_norm")}
                stream.write(json.dumps(kept, sort_keys=True) + "\n")


def _config(opened: TrainableLanguageModel, params: FineTuning, run: StageRun, at_once: int, parts: int) -> Any:
    """Translate the parameters for TRL: `parts` of `at_once` examples each make a step."""
    return SFTConfig(
        output_dir=str(run.checkpoints),
        max_steps=params.steps,
        learning_rate=params.learning_rate,
        per_device_train_batch_size=at_once // n_processes(),
        gradient_accumulation_steps=parts,
        weight_decay=params.weight_decay,
        warmup_steps=round(0.1 * params.steps),
        lr_scheduler_type="linear",
        activation_checkpointing=params.activation_checkpointing,
        bf16=computes_in_bfloat16(opened),
        use_cpu=torch.device(opened.model.device).type == "cpu",
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        train_sampling_strategy="sequential",  # the order of the examples is drawn before
        seed=run.seed,
        save_steps=params.checkpoint_every,
        save_total_limit=1,
        logging_steps=_LOG_EVERY,
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
    )


def example_order(groups: Sequence[Sequence[int]], size: int, seed: int) -> list[int]:
    """Draw the order in which examples are learnt: one shuffled order of all groups after another.

    Args:
        groups: The examples, by their numbers; those of a group follow one another.
        size: How many are learnt, repeats included.
        seed: Seed of the orders.
    """
    rng = np.random.default_rng([seed, 3])
    n = sum(map(len, groups))
    orders = [rng.permutation(len(groups)) for _ in range(-(-size // n))]
    return [i for order in orders for group in order for i in groups[group]][:size]


def _by_prompt(examples: Sequence[Example]) -> list[list[int]]:
    groups: dict[tuple[str, int], list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault((example.prompt, example.version), []).append(number)
    return list(groups.values())


def encode(
    example: Example, model: TrainableLanguageModel, style: Style, answer_weight: float, citation_weight: float = 1.0
) -> dict[str, list[Any]]:
    """Compute tokens, labels and weights of one example.

    Prompt and completion are tokenised separately, as in generation, and the end token is appended. A token that
    overlaps the probability between the answer's tags has weight `answer_weight`, all others of the completion have the
    example's `format_weight`, times `citation_weight` in the list of features. A thought that the chat template opens
    is closed before a completion without one.
    """
    tokenizer = model.tokenizer
    written = TokenThoughts.of(model).begins.closed(example.completion)
    prompt = tokenizer(model.as_input(example.prompt), add_special_tokens=not tokenizer.chat_template)["input_ids"]
    encoded = tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)
    answer, citations = _answer_span(written, style), _citations_span(written, style)
    other = example.format_weight
    weights = [
        answer_weight if _overlap(token, answer) else other * (citation_weight if _overlap(token, citations) else 1.0)
        for token in encoded["offset_mapping"]
    ]
    completion = encoded["input_ids"] + [tokenizer.eos_token_id]
    return {
        "input_ids": prompt + completion,
        "labels": [_IGNORED] * len(prompt) + completion,
        "weights": [0.0] * len(prompt) + weights + [other],
    }


def _answer_span(completion: str, style: Style) -> tuple[int, int]:
    """Locate the probability: return the position of its first character and the position after its last one."""
    start = completion.rindex(style.answer_open) + len(style.answer_open)
    return start, completion.index(style.answer_close, start)


def _citations_span(completion: str, style: Style) -> tuple[int, int]:
    """Locate the last list of features, up to the answer; nothing if there is none."""
    opening = completion.rfind(CITATIONS) if style.cites_features else -1
    if opening < 0:
        return 0, 0
    start = opening + len(CITATIONS)
    return start, completion.index(style.answer_open, start)


def _overlap(token: tuple[int, int], span: tuple[int, int]) -> bool:
    return token[0] < span[1] and token[1] > span[0]


class Collator:
    """Pads a batch on the right.

    Args:
        pad_token_id: The token to pad with.
    """

    def __init__(self, pad_token_id: int) -> None:
        self._pad = pad_token_id

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Build the tensors `input_ids`, `attention_mask`, `labels` and `weights`, each (B, L)."""

        def padded(name: str, value: float, dtype: torch.dtype) -> torch.Tensor:
            rows = [torch.tensor(example[name], dtype=dtype) for example in examples]
            return pad_sequence(rows, batch_first=True, padding_value=value)

        count_tokens(sum(len(example["input_ids"]) for example in examples))
        lengths = [torch.ones(len(example["input_ids"]), dtype=torch.long) for example in examples]
        return {
            "input_ids": padded("input_ids", self._pad, torch.long),
            "attention_mask": pad_sequence(lengths, batch_first=True),
            "labels": padded("labels", _IGNORED, torch.long),
            "weights": padded("weights", 0.0, torch.float32),
        }


class WeightedSFTTrainer(WholeCheckpoints, SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with a weight per token."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Each part of an accumulated batch is a mean of its own, so the trainer has to average over the parts.
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Compute the weighted mean of the negative log-likelihood."""
        del num_items_in_batch
        weights = inputs.pop("weights")[:, 1:]  # (B, L - 1): the weight of the token that is predicted
        with only_scored_positions():
            outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        # log_probs (B, L - 1) is zero where the label is left out; so is the weight.
        # The mean over processes, as the gradients are averaged over them: together they divide by the whole sum.
        total = self.accelerator.reduce(weights.sum(), reduction="mean")
        loss = -(weights * outputs.log_probs).sum() / total
        return (loss, outputs) if return_outputs else loss
