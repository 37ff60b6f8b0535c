"""Trains a causal language model on well-formed answers: what the pre-training of `tiny` and the warm-up share.

The loss covers the completion only, and no label is read: `Cases` has none. The number of tokens determines the cost.
So each style of a batch gets its own forward passes (texts of similar length need little padding), the first steps show
records of a few features, and logits are computed for the completions' tokens only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from eagbench.api import STYLES, StageRun, Style, TokenThoughts, count_tokens, report_loss
from eagbench_plugins.policies.format_examples import FormatExample
from eagbench_plugins.policies.model_input import ModelInput

_RISE = 0.1  # share of the steps over which the learning rate rises
_IGNORED = -100  # the label that the loss leaves out


class Examples(Protocol):
    """Draws what is to be learnt: `FormatExamples` or `RecordExamples`."""

    def draw(self, style: Style, rng: np.random.Generator, most_features: int | None = None) -> FormatExample:
        """Draw an example in a style."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatSchedule:
    """How long and on what to train.

    Attributes:
        steps: Optimisation steps.
        batch_size: Texts per step, split between the styles.
        learning_rate: Peak learning rate.
        short_records: Share of the steps, the first ones, with records of a few features.
        short_record_features: Most features of those records.
        micro_batch: Most texts in one forward pass.
        checkpoint_every: Steps between checkpoints.
        compute: Precision of the passes; below float32 they run under autocast.
        checkpoint: Name of the checkpoints' file; two trainings of one stage have one each.
    """

    steps: int
    batch_size: int
    learning_rate: float
    short_records: float
    short_record_features: int
    micro_batch: int
    checkpoint_every: int
    compute: torch.dtype = torch.float32
    checkpoint: str = "format.pt"

    def draw(self, examples: Examples, seed: int, step: int) -> list[list[FormatExample]]:
        """Draw a step's examples, by style, from a stream of the step's own, so that a resumed run sees the same."""
        rng = np.random.default_rng([seed, 1, step])
        most_features = self.short_record_features if step < self.short_records * self.steps else None
        sizes = [(self.batch_size + i) // len(STYLES) for i in range(len(STYLES))]
        return [
            [examples.draw(style, rng, most_features) for _ in range(size)]
            for style, size in zip(STYLES.values(), sizes, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """The tokens of a prompt as the model reads it, and of the completion with its end token."""

    prompt: list[int]
    completion: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.completion)


def encode(read: ModelInput, examples: Sequence[FormatExample]) -> list[EncodedExample]:
    """Tokenise prompts and completions separately, as in generation.

    A thought that the chat template opens is closed before the answer.
    """
    begins = TokenThoughts.of(read).begins
    prompts = read.tokenized([read.as_input(example.prompt) for example in examples])["input_ids"]
    answers = read.tokenizer([begins.closed(example.answer) for example in examples], add_special_tokens=False)
    end = read.tokenizer.eos_token_id
    return [EncodedExample(p, [*a, end]) for p, a in zip(prompts, answers["input_ids"], strict=True)]


def train(
    model: Any, read: ModelInput, examples: Examples, schedule: FormatSchedule, run: StageRun, label: str
) -> list[dict[str, float]]:
    """Train the model's trainable weights, in place.

    Args:
        model: A transformers causal language model, with or without adapters; what is trained should be float32.
        read: Its tokenizer and chat template.
        examples: Draws prompts and answers.
        schedule: How long and on what.
        run: Seed and progress; training resumes from `run.checkpoints` if it was killed.
        label: Shown next to the progress bar.

    Returns:
        For each step its number, the mean loss per token, the learning rate and the gradient's norm.
    """
    model.train()
    weights = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    optimiser = torch.optim.AdamW(weights.values(), lr=schedule.learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    rise = max(1, round(_RISE * schedule.steps))
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / rise, (schedule.steps - step) / max(1, schedule.steps - rise))
    )
    checkpoint = _Checkpoint(run.checkpoints / schedule.checkpoint, weights, optimiser, rates)
    log = checkpoint.resume()
    left = range(len(log), schedule.steps)
    with torch.random.fork_rng():
        for step in run.progress(left, label, len(left)):
            torch.manual_seed((run.seed << 20) + step)  # a model's own dropout
            encoded = [encode(read, group) for group in schedule.draw(examples, run.seed, step)]
            rate = optimiser.param_groups[0]["lr"]
            optimiser.zero_grad(set_to_none=True)
            loss = _backward(model, encoded, read.tokenizer, schedule)
            report_loss(loss)
            norm = torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
            optimiser.step()
            rates.step()
            log.append({"step": step + 1, "loss": loss, "learning_rate": rate, "grad_norm": float(norm)})
            if (step + 1) % schedule.checkpoint_every == 0 and step + 1 < schedule.steps:
                checkpoint.save(log)
    model.eval()
    return log


def _backward(
    model: Any, groups: Sequence[Sequence[EncodedExample]], tokenizer: Any, schedule: FormatSchedule
) -> float:
    """Add up the gradients of the mean cross-entropy per completion token, and return it."""
    n_written = sum(len(example.completion) for group in groups for example in group)
    pad = next(token for token in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if token is not None)
    total = 0.0
    for group in groups:
        for start in range(0, len(group), schedule.micro_batch):
            loss = _loss(model, group[start : start + schedule.micro_batch], pad, schedule.compute) / n_written
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            count_tokens(sum(map(len, group[start : start + schedule.micro_batch])))
    return total


def _loss(model: Any, group: Sequence[EncodedExample], pad: int, compute: torch.dtype) -> torch.Tensor:
    """Sum the cross-entropy over the completions' tokens. Logits are computed for these only."""
    tokens, mask, labels = (part.to(model.device) for part in _padded(group, pad))  # (B, L) each
    targets = labels[:, 1:]  # (B, L - 1)
    written = targets != _IGNORED
    with _head_reads(model, written), torch.autocast(model.device.type, compute, enabled=compute != torch.float32):
        logits = model(input_ids=tokens, attention_mask=mask, use_cache=False).logits  # (1, completion tokens, V)
    return torch.nn.functional.cross_entropy(logits[0].float(), targets[written], reduction="sum")


@contextmanager
def _head_reads(model: Any, written: torch.Tensor) -> Iterator[None]:
    """Hand the model's head only the states that predict a completion's token.

    Whatever the model does to its logits (some scale or cap them) it does to these as well.
    """

    def chosen(_: Any, states: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        return (states[0][:, :-1][written][None],)

    hook = model.get_output_embeddings().register_forward_pre_hook(chosen)
    try:
        yield
    finally:
        hook.remove()


def _padded(group: Sequence[EncodedExample], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Build tokens, attention mask and labels, padded on the right, (B, L). Prompts carry no loss."""
    shape = (len(group), max(map(len, group)))
    tokens, mask, labels = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long), torch.full(shape, _IGNORED)
    for i, example in enumerate(group):
        tokens[i, : len(example)] = torch.tensor([*example.prompt, *example.completion])
        mask[i, : len(example)] = 1
        labels[i, len(example.prompt) : len(example)] = torch.tensor(example.completion)
    return tokens, mask, labels


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    """What an interrupted training goes on from: the trained weights, the optimiser, the schedule and the log."""

    path: Path
    weights: dict[str, torch.nn.Parameter]
    optimiser: Any
    rates: Any

    def save(self, log: list[dict[str, float]]) -> None:
        state = {
            "log": log,
            "weights": {name: weight.detach() for name, weight in self.weights.items()},
            "optimiser": self.optimiser.state_dict(),
            "rates": self.rates.state_dict(),
        }
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(self.path)

    def resume(self) -> list[dict[str, float]]:
        """Load the checkpoint if there is one, and return its log."""
        if not self.path.exists():
            return []
        state = torch.load(self.path, weights_only=True, map_location="cpu")
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        self.rates.load_state_dict(state["rates"])
        log: list[dict[str, float]] = state["log"]
        return log
