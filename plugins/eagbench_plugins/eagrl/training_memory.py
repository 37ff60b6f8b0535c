"""Estimate the memory of a training step, and choose from it how many rows go through the model together.

The estimate uses declared numbers only (the policy's `memory_gb`, its configuration, the parameters, the longest row),
so that a step is divided in the same way on every machine. Bytes of a decoder with width h, feed-forward width f and L
layers, computing in numbers of b bytes (4, or 2 in bfloat16):

    weights            as opened; 4 per parameter if all are trained, and 2 more for autocast's copies in bfloat16
    what is trained    12 per parameter (gradient and AdamW's two moments); an adapter's parameters also their own 4
    reference          the weights once more, in Stage II with a KL penalty and without adapters
    a token, a layer   b (10 h + 4 f), 16 h more in bfloat16 (norms and the residual stream stay float32),
                       (b + 2)(6 h + f) more where adapters drop out, and 4 s for the mask of a row of s tokens
    sparing            b (2 f - h) less for a token and a layer, (b + 2)(2 h + f) less where adapters drop out; a packed
                       row keeps one layer's mask (`selective_recomputation`)
    checkpointing      max(b, 4) h for a token and a layer, and the above for the one layer that is computed again
    the head           24 bytes for each logit of a tile (`scored_positions`)
    on a CPU           half more for the activations, which is what glibc's allocator holds beside them, and 0.9 GB for
                       Python, torch, transformers and TRL (both measured with SmolLM2)

The form is that of Korthikanti et al. (arXiv 2205.05198, equation 1 and section 5): a token's activations are a
multiple of the layer's widths. Their 34 h bytes are for a GPT layer in half precision with dropout. The factors here
were counted for a Llama layer: the bytes that autograd saves in transformers 5.23 with torch's attention, which keeps
no scores.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

from eagbench.api import KnowsItsMemory, StageRun, TrainableLanguageModel, UserError
from eagbench_plugins.eagrl.data_parallel import n_processes, writes
from eagbench_plugins.eagrl.lora import LoRA
from eagbench_plugins.eagrl.scored_positions import TILE
from eagbench_plugins.eagrl.selective_recomputation import has_feed_forward
from eagbench_plugins.eagrl.trained_policy import computes_in_bfloat16

GB = 1e9
_LIBRARIES = 0.9 * GB
_ALLOCATOR = 1.5
_TRAINED = 12
_PER_LOGIT = 24


class Recomputed(StrEnum):
    """What of a pass is computed again in its backward pass."""

    NOTHING = "nothing"
    CHEAP = "cheap"
    LAYERS = "layers"


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """The memory that training a policy takes.

    Attributes:
        fixed: Bytes that do not depend on the batch.
        per_token: Bytes that each token of a batch adds, apart from its mask.
        masks: Masks that are kept until the backward pass.
    """

    fixed: float
    per_token: float
    masks: float

    def of(self, tokens: int, longest: int) -> float:
        """Compute the bytes of a step.

        Args:
            tokens: Tokens that go through the model together.
            longest: Tokens of the longest row.
        """
        return self.fixed + tokens * (self.per_token + 4 * longest * self.masks)


def ways_to_train(
    opened: TrainableLanguageModel, lora: LoRA | None, *, checkpointing: bool, packed: bool, reference: bool = False
) -> dict[Recomputed, TrainingMemory]:
    """Estimate what training a policy takes in each way that its parameters leave open; the fastest first.

    Args:
        opened: The policy, before its weights are made float32.
        lora: Adapters; None trains all weights.
        checkpointing: Whether whole layers are computed again in the backward pass.
        packed: Whether rows that share their prompt are packed.
        reference: Whether the KL divergence from the initial policy is measured.
    """
    if checkpointing:
        ways = [Recomputed.LAYERS]
    else:
        ways = [Recomputed.NOTHING, *([Recomputed.CHEAP] if has_feed_forward(opened.model) else [])]
    return {way: training_memory(opened, lora, way, packed=packed, reference=reference) for way in ways}


def training_memory(
    opened: TrainableLanguageModel,
    lora: LoRA | None,
    recomputed: Recomputed,
    *,
    packed: bool = False,
    reference: bool = False,
) -> TrainingMemory:
    """Estimate what training a policy takes.

    Args:
        opened: The policy, before its weights are made float32.
        lora: Adapters; None trains all weights.
        recomputed: What is computed again in the backward pass.
        packed: Whether rows that share their prompt are packed.
        reference: Whether the KL divergence from the initial policy is measured.
    """
    model, config = opened.model, opened.model.config.get_text_config()
    width, layers = config.hidden_size, config.num_hidden_layers
    feed_forward = getattr(config, "intermediate_size", None) or 4 * width
    half = computes_in_bfloat16(opened)
    size = 2 if half else 4
    cheap = recomputed is Recomputed.CHEAP
    token = size * (11 * width + 2 * feed_forward if cheap else 10 * width + 4 * feed_forward)
    token += 16 * width if half else 0
    if lora is not None and lora.dropout > 0:
        token += (size + 2) * (4 * width if cheap else 6 * width + feed_forward)
    parameters = sum(p.numel() for p in model.parameters())
    if lora is None:
        fixed = (4 + (2 if half else 0) + _TRAINED + (4 if reference else 0)) * parameters
        fixed += 8 * width * config.vocab_size  # the head's gradient while it is summed up
    else:
        fixed = sum(p.numel() * p.element_size() for p in model.parameters())
        fixed += (4 + _TRAINED) * _adapter_parameters(model, lora.rank)
    on_cpu = torch.device(model.device).type == "cpu"
    fixed += _PER_LOGIT * TILE * min(config.vocab_size, 32768) + (_LIBRARIES if on_cpu else 0)
    held = _ALLOCATOR if on_cpu else 1.0
    if recomputed is Recomputed.LAYERS:
        return TrainingMemory(fixed, held * (token + layers * 4 * width), held)
    return TrainingMemory(fixed, held * token * layers, held * (1 if cheap and packed else layers))


def _adapter_parameters(model: Any, rank: int) -> int:
    """Count the parameters of adapters on every linear layer but the output layer."""
    head = model.get_output_embeddings()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    return sum(rank * (m.in_features + m.out_features) for m in linear)


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one optimisation step.

    Attributes:
        count: Rows of a step.
        shared: Tokens that rows of one group share: the longest prompt where a group's prompt is read once, else 0.
        own: Tokens of the longest row beyond the shared ones.
        group: Rows of a group; 1 without groups.
    """

    count: int
    shared: int
    own: int
    group: int = 1

    def tokens(self, rows: int) -> tuple[int, int]:
        """Count the tokens of so many rows, and those of the longest one that the model sees."""
        if not self.shared:
            return rows * self.own, self.own
        groups = -(-rows // self.group) + (0 if rows % self.group == 0 or self.group % rows == 0 else 1)
        together = min(rows, self.group)
        return groups * self.shared + rows * (self.own + 1), self.shared + together * (self.own + 1)


@dataclass(frozen=True, slots=True)
class Division:
    """How a step goes through the model.

    Attributes:
        parts: Into how many equal parts it is divided.
        recomputed: What of each is computed again in its backward pass.
    """

    parts: int
    recomputed: Recomputed


def divide_step(
    opened: TrainableLanguageModel,
    memory: Mapping[Recomputed, TrainingMemory],
    rows: Rows,
    accumulate: int | None,
    run: StageRun,
) -> Division:
    """Divide a step into parts: as declared, else as few as the policy's `memory_gb` allows.

    Of several ways to train that need equally few parts it takes the first. On several devices each has its own memory
    and takes an equal share of every part. Writes what it decided into `memory.json` of the stage's folder.

    Args:
        opened: The policy.
        memory: What its training takes, for each way it may go; the fastest first.
        rows: The rows of a step.
        accumulate: The declared number of parts.
        run: The stage.

    Raises:
        UserError: Not even one row fits.
    """
    declared = opened.memory_gb if isinstance(opened, KnowsItsMemory) else None
    devices = n_processes()

    def rows_of_part(division: Division) -> int:
        return -(-rows.count // division.parts) // devices

    def estimated(division: Division) -> float:
        return memory[division.recomputed].of(*rows.tokens(rows_of_part(division)))

    if accumulate is None:
        parts = [parts for parts in range(1, rows.count + 1) if rows.count % (parts * devices) == 0]
    else:
        parts = [accumulate]
    divisions = (Division(n, way) for n in parts for way in memory)
    division = next((d for d in divisions if declared is None or estimated(d) <= declared * GB), None)
    if division is None:
        leanest = list(memory)[-1]
        if accumulate is None:
            assert declared is not None
            raise _too_little(memory[leanest], rows, declared)
        division = Division(accumulate, leanest)
    told = {
        "parts": division.parts,
        "recomputed": division.recomputed.value,
        "rows_per_part": rows_of_part(division),
        "longest_row": rows.tokens(1)[1],
        "estimated_gb": round(estimated(division) / GB, 2),
        "memory_gb": declared,
    }
    if writes():
        (run.out / "memory.json").write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return division


def _too_little(memory: TrainingMemory, rows: Rows, declared: float) -> UserError:
    tokens, longest = rows.tokens(1)
    needed = memory.of(tokens, longest) / GB
    return UserError(
        f"training on a single row of {longest:,} tokens takes about {needed:.1f} GB, {memory.fixed / GB:.1f} GB of "
        f"them without any row, and the policy's `memory_gb` is {declared:g}",
        where="policy, memory_gb",
        hint="train adapters (`lora`), recompute activations (`activation_checkpointing: true`), write shorter records "
        f"(`values: compact`), or declare `memory_gb: {-(-needed // 1):.0f}` if the machine has it",
    )
