"""Builds the tiny policy and pre-trains it on the answer formats.

One flat pass: texts, tokenizer, model, loop, save. The loss covers the answer only. No label is read: `Cases` has none.

At this size the number of tokens determines the cost. So each style of a batch gets its own forward pass (texts of
similar length need little padding), the first three quarters of the steps show records of a few features, and logits
are computed for the answers' tokens only.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eagbench.api import STYLES, Cases, RecordText, StageRun, UserError, quiet_transformers
from eagbench_plugins.policies.tiny.format_examples import FormatExample, FormatExamples
from eagbench_plugins.policies.tiny.params import TinyParams
from eagbench_plugins.policies.tiny.tokenizer import train_tokenizer

_TOKENIZER_TEXTS_PER_CASE = 10
_MOST_TOKENIZER_TEXTS = 2000
_WARM_UP = 0.1
_SHORT_RECORDS = 0.75
_SHORT_RECORD_FEATURES = 12
_CHECKPOINT_EVERY = 50
_IGNORED = -100  # the label that the loss leaves out


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
    examples = FormatExamples(cases, record_text)
    rng = np.random.default_rng([run.seed, 0])
    styles = tuple(STYLES.values())
    n_texts = min(_MOST_TOKENIZER_TEXTS, _TOKENIZER_TEXTS_PER_CASE * len(cases))
    drawn = [examples.draw(styles[i % len(styles)], rng) for i in range(n_texts)]
    tokenizer = train_tokenizer((e.prompt + e.answer for e in drawn), params.vocabulary_size)
    _refuse_long_records(tokenizer, drawn, params.max_length)
    model = _build(tokenizer, params, run.seed)
    _train(model, tokenizer, examples, params, run)
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


def _train(model: Any, tokenizer: Any, examples: FormatExamples, params: TinyParams, run: StageRun) -> None:
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=params.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    warm_up = max(1, round(_WARM_UP * params.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm_up, (params.steps - step) / max(1, params.steps - warm_up))
    )
    checkpoint = run.checkpoints / "pretraining.pt"
    first = _resume(checkpoint, model, optimiser, schedule)
    for step in run.progress(range(first, params.steps), "pre-train", params.steps - first):
        # Each step draws from its own stream, so that a resumed run sees what an unbroken one would have seen.
        rng = np.random.default_rng([run.seed, 1, step])
        most_features = _SHORT_RECORD_FEATURES if step < _SHORT_RECORDS * params.steps else None
        groups = [
            _batch(tokenizer, [examples.draw(style, rng, most_features) for _ in range(size)])
            for style, size in zip(STYLES.values(), _shares(params.batch_size, len(STYLES)), strict=True)
        ]
        n_written = sum(int((labels[:, 1:] != _IGNORED).sum()) for _, labels in groups)
        optimiser.zero_grad(set_to_none=True)
        for tokens, labels in groups:  # (B, L), (B, L)
            (_loss(model, tokens, labels, tokenizer.pad_token_id) / n_written).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % _CHECKPOINT_EVERY == 0 and step + 1 < params.steps:
            _save_checkpoint(checkpoint, step + 1, model, optimiser, schedule)
    model.eval()


def _shares(total: int, n: int) -> list[int]:
    """Split `total` into `n` parts that differ by at most one."""
    return [(total + i) // n for i in range(n)]


def _loss(model: Any, tokens: torch.Tensor, labels: torch.Tensor, pad: int) -> torch.Tensor:
    """Sum the cross-entropy over the answers' tokens. Logits are computed for these only."""
    hidden = model.model(input_ids=tokens, attention_mask=(tokens != pad).long()).last_hidden_state  # (B, L, D)
    written = labels[:, 1:] != _IGNORED  # (B, L - 1)
    logits = model.lm_head(hidden[:, :-1][written])  # (answer tokens, V)
    return torch.nn.functional.cross_entropy(logits, labels[:, 1:][written], reduction="sum")


def _batch(tokenizer: Any, examples: Sequence[FormatExample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Build tokens and labels, padded on the right, (B, L). Prompts carry no loss."""
    prompts = tokenizer([e.prompt for e in examples])["input_ids"]
    answers = tokenizer([e.answer for e in examples])["input_ids"]
    rows = [p + a + [tokenizer.eos_token_id] for p, a in zip(prompts, answers, strict=True)]
    longest = max(map(len, rows))
    tokens = torch.full((len(rows), longest), tokenizer.pad_token_id)
    labels = torch.full((len(rows), longest), _IGNORED)
    for i, (prompt, row) in enumerate(zip(prompts, rows, strict=True)):
        tokens[i, : len(row)] = torch.tensor(row)
        labels[i, len(prompt) : len(row)] = torch.tensor(row[len(prompt) :])
    return tokens, labels


def _save_checkpoint(path: Path, step: int, model: Any, optimiser: Any, schedule: Any) -> None:
    state = {
        "step": step,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resume(path: Path, model: Any, optimiser: Any, schedule: Any) -> int:
    """Load a checkpoint if there is one, and return the step to continue with."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    step: int = state["step"]
    return step
