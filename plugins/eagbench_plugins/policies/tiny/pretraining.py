"""Builds the tiny policy and pre-trains it, on records if it is asked to, then on the answer formats.

One flat pass: texts, tokenizer, model, loops, save. The loop is the one of the format warm-up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from eagbench.api import STYLES, Cases, RecordText, StageRun, TrainingNames, UserError, quiet_transformers
from eagbench_plugins.policies.format_examples import FormatExample, FormatExamples
from eagbench_plugins.policies.format_training import FormatSchedule, train
from eagbench_plugins.policies.model_input import ModelInput
from eagbench_plugins.policies.record_examples import RecordExamples
from eagbench_plugins.policies.tiny.params import TinyParams
from eagbench_plugins.policies.tiny.tokenizer import train_tokenizer

_TOKENIZER_TEXTS_PER_CASE = 10
_MOST_TOKENIZER_TEXTS = 2000
_SHORT_RECORDS = 0.75
_SHORT_RECORD_FEATURES = 12
_CHECKPOINT_EVERY = 50


def pretrain(cases: Cases, record_text: RecordText, params: TinyParams, run: StageRun) -> None:
    """Write config.json, model.safetensors and the tokenizer's files into `run.out`.

    Args:
        cases: Training cases, unlabelled.
        record_text: The fitted record text.
        params: Shape and pre-training.
        run: Folder, seed, progress; pre-training resumes from `run.checkpoints` if it was killed.

    Raises:
        UserError: A record is longer than `max_length`.
    """
    names = TrainingNames(cases.features, params.other_names)
    known = FormatExamples(cases, record_text, names)
    rng = np.random.default_rng([run.seed, 0])
    styles = tuple(STYLES.values())
    n_texts = min(_MOST_TOKENIZER_TEXTS, _TOKENIZER_TEXTS_PER_CASE * len(cases))
    drawn = [known.draw(styles[i % len(styles)], rng) for i in range(n_texts)]
    tokenizer = train_tokenizer((e.prompt + e.answer for e in drawn), params.vocabulary_size)
    _refuse_long_records(tokenizer, drawn, params.max_length)
    model = _build(tokenizer, params, run.seed)
    schedule = FormatSchedule(
        steps=params.steps,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        short_records=_SHORT_RECORDS,
        short_record_features=_SHORT_RECORD_FEATURES,
        micro_batch=params.batch_size,
        checkpoint_every=_CHECKPOINT_EVERY,
    )
    read = ModelInput(tokenizer, model.config)
    names = TrainingNames(cases.features, params.other_names, params.invented_names)
    examples = FormatExamples(cases, record_text, names)
    if params.record_steps:
        records = RecordExamples(cases, record_text, names)
        whole = replace(schedule, steps=params.record_steps, checkpoint="records.pt")
        train(model, read, records, whole, run, "pre-train on records")
    train(model, read, examples, schedule, run, "pre-train")
    model.save_pretrained(run.out)
    tokenizer.save_pretrained(run.out)


def _refuse_long_records(tokenizer: Any, drawn: Sequence[FormatExample], max_length: int) -> None:
    longest = max(len(ids) for ids in tokenizer([e.prompt + e.answer for e in drawn])["input_ids"])
    if longest > max_length:
        raise UserError(
            f"a record with its answer takes {longest} tokens, more than max_length {max_length}",
            where="policy tiny",
            hint="Show less of the record (record_text: periods, values: quantile, instructions: short) or raise "
            "max_length.",
        )


def _build(tokenizer: Any, params: TinyParams, seed: int) -> Any:
    transformers = quiet_transformers()
    # Llama's shape and not Qwen2's: for Qwen2 transformers 5 puts its own pre-tokenizer in place of the saved one
    # (AutoTokenizer, MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS). The two differ in the biases of the attention.
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=params.hidden_dim,
        intermediate_size=params.intermediate_dim,
        num_hidden_layers=params.layers,
        num_attention_heads=params.heads,
        num_key_value_heads=params.heads,
        max_position_embeddings=params.max_length,
        attention_bias=True,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.LlamaForCausalLM(config)
