"""Measure the time that a training step on the CPU saves where eagbench replaces a library's layer, in one run.

    OMP_NUM_THREADS=1 python speed/training_steps.py

ConCare: PyHealth's layer, which loops over the features, and the same parameters with all features at once.
Policies: TRL's fused head on every position, as in TRL without Triton, and only on the scored positions, as in Stages I
and II. The steps of each pair (forward and backward) take turns on random input. Prints the median
milliseconds per step of both, their ratio, and the largest difference between their gradients.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from eagbench_plugins.experts.concare import ConCare
from eagbench_plugins.policies.tiny.policy import TinyPolicy

IGNORED = -100

Step = Callable[[], Iterable[Tensor]]  # one forward and backward pass: the gradients


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--features", type=int, default=37, help="of ConCare's records")
    parser.add_argument("--prompt", type=int, default=300, help="tokens of a policy's prompt")
    parser.add_argument("--completion", type=int, default=45, help="tokens of a trajectory")
    parser.add_argument("--vocabulary", type=int, default=2288, help="of the policy")
    args = parser.parse_args()

    torch.manual_seed(0)
    compare("ConCare, feature by feature", "all features at once", *concare_steps(args.features), args.steps)
    head = head_steps(args.prompt, args.completion, args.vocabulary)
    compare("policy's head, every position", "scored positions", *head, args.steps)


def concare_steps(n_features: int, batch: int = 64) -> tuple[Step, Step]:
    """Build both steps of ConCare's default shape, on a batch of records with three static facts."""
    from pyhealth.models.concare import ConCareLayer

    from eagbench_plugins.experts.concare_layer import ChannelwiseConCareLayer

    shape = ConCare.Params()
    width = shape.hidden_dim
    layers = [
        kind(n_features, 3, hidden_dim=width, num_head=shape.heads, pe_hidden=2 * width, dropout=shape.dropout)
        for kind in (ConCareLayer, ChannelwiseConCareLayer)
    ]
    layers[1].load_state_dict(layers[0].state_dict())
    values, static = torch.randn(batch, shape.periods, n_features), torch.randn(batch, 3)

    def step(layer: nn.Module) -> Step:
        def run() -> Iterable[Tensor]:
            torch.manual_seed(1)  # the same dropout
            layer.zero_grad()
            embedding, decov = layer(values, static)
            (embedding.square().sum() + decov).backward()
            return gradients(layer)

        return run

    return step(layers[0]), step(layers[1])


def head_steps(n_prompt: int, n_completion: int, vocabulary: int, batch: int = 16) -> tuple[Step, Step]:
    """Build both steps of a policy with the default shape of `tiny`, on a batch of prompts with completions."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from eagbench_plugins.eagrl.scored_positions import only_scored_positions

    shape = TinyPolicy.Params()
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=shape.hidden_dim,
            intermediate_size=shape.intermediate_dim,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            tie_word_embeddings=True,
        )
    )
    add_fused_lm_head(model)
    ids = torch.randint(vocabulary, (batch, n_prompt + n_completion))  # (B, P + C)
    labels = ids.clone()
    labels[:, :n_prompt] = IGNORED

    def step(head: Callable[[], AbstractContextManager[None]]) -> Step:
        def run() -> Iterable[Tensor]:
            model.zero_grad()
            with head():
                outputs = model(input_ids=ids, labels=labels, use_cache=False, fused_lm_head=True)
            outputs.log_probs.sum().backward()
            return gradients(model)

        return run

    return step(nullcontext), step(only_scored_positions)


def gradients(module: nn.Module) -> list[Tensor]:
    """Return the gradients of all parameters that have one."""
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


def compare(before: str, after: str, first: Step, second: Step, steps: int) -> None:
    """Run the two steps in turns and print their cost."""
    difference = max(float((a - b).abs().max()) for a, b in zip(first(), second(), strict=True))
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(steps):
        for step, taken in zip((first, second), seconds, strict=True):
            start = time.perf_counter()
            step()
            taken.append(time.perf_counter() - start)
    medians = [float(np.median(taken)) * 1000 for taken in seconds]
    print(f"{before:<32}{medians[0]:9.1f} ms per step")
    print(f"{after:<32}{medians[1]:9.1f} ms per step")
    print(f"ratio {medians[0] / medians[1]:.2f}, largest difference of a gradient {difference:.1e}")


if __name__ == "__main__":
    main()
