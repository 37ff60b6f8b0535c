"""Measure what a second thread saves in a step of training and in writing, with a policy of the shape of `tiny`.

    GOMP_SPINCOUNT=0 python speed/threads.py

One and two threads take turns on the same input; prints the shortest and the median milliseconds of both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from eagbench.execution.threads import limited_threads
from eagbench_plugins.policies.tiny.policy import TinyPolicy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=300, help="tokens of a policy's prompt")
    parser.add_argument("--completion", type=int, default=32, help="tokens that it writes")
    args = parser.parse_args()

    torch.manual_seed(0)
    model = tiny(vocabulary=2288)
    ids = torch.randint(2288, (args.cases, args.prompt))  # (B, P)
    compare("a step of training", lambda: train(model, ids), args.turns)
    compare("writing", lambda: write(model, ids, args.completion), args.turns)


def tiny(vocabulary: int) -> LlamaForCausalLM:
    """Build a policy of the default shape of `tiny` with random weights."""
    shape = TinyPolicy.Params()
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=shape.hidden_dim,
            intermediate_size=shape.intermediate_dim,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            tie_word_embeddings=True,
        )
    )


def train(model: LlamaForCausalLM, ids: Tensor) -> None:
    """Do one forward and backward pass."""
    model.zero_grad()
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()


def write(model: LlamaForCausalLM, ids: Tensor, n_tokens: int) -> None:
    """Continue every prompt by so many tokens."""
    with torch.no_grad():
        model.generate(input_ids=ids, max_new_tokens=n_tokens, min_new_tokens=n_tokens, do_sample=False, pad_token_id=0)


def compare(what: str, call: Callable[[], None], turns: int) -> None:
    """Call it with one and two threads in turns, and print what each took."""
    seconds: dict[int, list[float]] = {1: [], 2: []}
    call()
    for _ in range(turns):
        for n_threads, taken in seconds.items():
            with limited_threads(n_threads):
                start = time.perf_counter()
                call()
                taken.append(time.perf_counter() - start)
    for n_threads, taken in seconds.items():
        print(f"{what}, {n_threads} threads: {min(taken) * 1000:.0f} ms, median {np.median(taken) * 1000:.0f} ms")
    print(f"ratio of the shortest {min(seconds[1]) / min(seconds[2]):.2f}")


if __name__ == "__main__":
    main()
