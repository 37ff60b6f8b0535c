"""Compute the memory that large policies need from their shapes. Nothing is downloaded and no weight is allocated.

    python speed/policy_memory.py [--rank 16] [--texts 64] [--tokens 3072] [shape ...]

Prints one row per shape of speed/policy_shapes.py, in GiB (2^30 bytes). The architecture is built by transformers on
torch's meta device, the adapters by peft as eagbench makes them (all linear layers but the output layer), and their
parameters are counted. What the columns mean:

    weights, bf16       2 bytes per parameter
    LoRA                adapters in float32 with gradients and AdamW's two moments: 16 bytes per parameter of an adapter
    cache per 1,000     keys and values in bf16 of 1,000 tokens of one text:
                        2 (keys, values) x layers x key-value heads x head width x 2 bytes
    kept per 1,000      what activation checkpointing keeps of 1,000 tokens of one text in training, an estimate: the
                        input of every layer in bf16, layers x width x 2 bytes
    LoRA step           weights + LoRA + kept activations of one text of --tokens
    writing             weights + the cache of --texts texts of --tokens, all written at once
    full, Stage I       all parameters in float32 with gradients and AdamW's moments: 16 bytes per parameter
    full, Stage II      the same and the float32 reference policy for the KL term, 4 bytes per parameter; with LoRA the
                        reference is the policy without its adapters and costs nothing

Left out: the working set of the one layer that is computed again in the backward pass, the logits (TRL computes them in
chunks), the CUDA context, and what the allocator loses.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from typing import Any

from policy_shapes import SHAPES, model_config

from eagbench.api import quiet_transformers
from eagbench_plugins.eagrl.lora import LoRA, peft_config

GIB = 2**30
STATE = 16  # bytes per trained parameter: float32 value, gradient and two moments of AdamW
REFERENCE = 4
HALF = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory needs of one shape, in bytes unless stated otherwise.

    Attributes:
        parameters: Number of parameters.
        adapter_parameters: Number of parameters of the adapters.
        cache_per_token: Keys and values of one token of one text.
        kept_per_token: What activation checkpointing keeps of one token of one text.
    """

    parameters: int
    adapter_parameters: int
    cache_per_token: int
    kept_per_token: int


def memory(shape: str, rank: int) -> Memory:
    """Compute the memory needs of a shape.

    Args:
        shape: Name in `SHAPES`.
        rank: Rank of the adapters.
    """
    import torch
    from peft import get_peft_model

    config: Any = model_config(shape)
    with torch.device("meta"):
        model = quiet_transformers().AutoModelForCausalLM.from_config(config)
        model.tie_weights()
        parameters = sum(p.numel() for p in model.parameters())
        adapted = get_peft_model(model, peft_config(LoRA(rank=rank)))
        adapters = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    head_width = config.hidden_size // config.num_attention_heads
    return Memory(
        parameters=parameters,
        adapter_parameters=adapters,
        cache_per_token=2 * config.num_hidden_layers * config.num_key_value_heads * head_width * HALF,
        kept_per_token=config.num_hidden_layers * config.hidden_size * HALF,
    )


def row(shape: str, rank: int, texts: int, tokens: int) -> list[str]:
    """Format one row of the table."""
    needs = memory(shape, rank)
    weights, lora = HALF * needs.parameters, STATE * needs.adapter_parameters
    gib = [
        weights,
        lora,
        1000 * needs.cache_per_token,
        1000 * needs.kept_per_token,
        weights + lora + tokens * needs.kept_per_token,
        weights + texts * tokens * needs.cache_per_token,
        STATE * needs.parameters,
        (STATE + REFERENCE) * needs.parameters,
    ]
    counts = [f"{needs.parameters:,}", f"{needs.adapter_parameters:,}"]
    return [shape, *counts, *(f"{amount / GIB:.3f}" if amount < GIB else f"{amount / GIB:.1f}" for amount in gib)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", metavar="shape", help=", ".join(SHAPES))
    parser.add_argument("--rank", type=int, default=16, help="rank of the adapters")
    parser.add_argument("--texts", type=int, default=64, help="texts written at once: cases x group_size in Stage II")
    parser.add_argument("--tokens", type=int, default=3072, help="tokens of one text, prompt and answer")
    args = parser.parse_args()
    if unknown := [name for name in args.shapes if name not in SHAPES]:
        parser.error(f"no such shape: {', '.join(unknown)}; there are {', '.join(SHAPES)}")
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated")  # by peft
    names = ["shape", "parameters", f"adapters (rank {args.rank})", "weights, bf16", "LoRA", "cache per 1,000"]
    names += ["kept per 1,000", f"LoRA step, 1 x {args.tokens}", f"writing, {args.texts} x {args.tokens}"]
    names += ["full, Stage I", "full, Stage II"]
    print("| " + " | ".join(names) + " |")
    print("| --- |" + " ---: |" * (len(names) - 1))
    for shape in args.shapes or [name for name in SHAPES if name != "small"]:
        print("| " + " | ".join(row(shape, args.rank, args.texts, args.tokens)) + " |")


if __name__ == "__main__":
    main()
