"""Compare what a language model writes and answers when it reads in trees with what it does reading every text anew.

    EAGBENCH_TJH_ROOT=... python speed/same_texts.py [--model FOLDER] [--dtype float32] [--cases 16] [--samples 4]

Both readers hold the same weights and read the same prompts of TJH in this process: `tree_reading`, which computes no
beginning twice, and `padded_reading`, side by side in one batch. Each draw is the same number for both. Where two texts
part, the script reads their common beginning once more, alone, and says how near the choice was to a tie: for a greedy
text the difference of both tokens' log-probabilities, for a drawn one that or the distance of the draw from the nearer
end of the token's part of [0, 1), whichever is less. Answers are the expectation over the levels. In half precision
rounding decides more often, so there the two are compared as distributions (two-sample Kolmogorov-Smirnov; texts that
were drawn from one stream are no independent samples, so that test finds less than it says).
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import ks_2samp

from eagbench.api import (
    ANSWER_LEVELS,
    STYLES,
    Cases,
    FeatureVocabulary,
    RecordText,
    RecordTextParams,
    Sampling,
    Trajectory,
    policies_root,
    prompt_text,
    read_answer,
)
from eagbench_plugins.policies.drawing import random_streams
from eagbench_plugins.policies.model_input import ModelInput
from eagbench_plugins.policies.padded_reading import PaddedReader
from eagbench_plugins.policies.transformers_model import TransformersModel
from eagbench_plugins.policies.tree_reading import TreeReader
from eagbench_plugins.policies.writing import Reader, write

sys.path.insert(0, str(Path(__file__).resolve().parent))
from record_tokens import load

TIE = 1e-4
STYLE = STYLES["question_decomposition"]


@dataclass(frozen=True, slots=True)
class Job:
    """What both readers do: B texts.

    Attributes:
        cases: The case of each.
        ids: The tokens of its prompt.
        sampling: How to write.
        draws: Uniform numbers in [0, 1), (B, steps); None for greedy.
        ends: The tokens that end a text.
    """

    cases: Cases
    ids: list[list[int]]
    sampling: Sampling
    draws: Any
    ends: frozenset[int]

    def written_by(self, reader: Reader) -> list[list[int]]:
        """Let a reader write after each prompt."""
        room = [self.sampling.max_new_tokens] * len(self.ids)
        return write(reader, self.ids, room, self.sampling, self.draws, lambda _, tokens: tokens[-1] in self.ends)


def main() -> None:
    """Compare texts and answers, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=policies_root() / "smollm2", help="a model folder")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--cases", type=int, default=16)
    parser.add_argument("--samples", type=int, default=4, help="drawn texts per case, beside the greedy one")
    parser.add_argument("--new-tokens", type=int, default=64)
    args = parser.parse_args()
    model = TransformersModel.load(args.model, dtype=args.dtype)
    trees = TreeReader(model.model, model.cache_gb, packs=True)
    anew = PaddedReader(model.model, model.tokenizer.eos_token_id)
    cases, prompts = tjh_prompts(args.cases)
    read = ModelInput(model.tokenizer, model.model.config).tokenized([model.as_input(p) for p in prompts])["input_ids"]
    ends = frozenset([model.tokenizer.eos_token_id])
    repeated = [i for i in range(len(prompts)) for _ in range(args.samples)]
    streams = random_streams([prompts[i] for i in repeated], 0)
    draws = np.stack([stream.random(args.new_tokens) for stream in streams])
    greedy = Job(cases, read, Sampling(args.new_tokens), None, ends)
    drawn = Job(cases.select(repeated), [read[i] for i in repeated], Sampling(args.new_tokens, 1.0), draws, ends)
    print(f"{args.cases} prompts of {np.median([len(ids) for ids in read]):.0f} tokens (median), {args.dtype}")
    compare_texts("greedy", greedy, trees, anew, model.tokenizer)
    compare_texts("drawn at temperature 1", drawn, trees, anew, model.tokenizer)
    compare_answers(read, model.tokenizer, trees, anew)


def tjh_prompts(most: int) -> tuple[Cases, list[str]]:
    """Return cases of TJH, every n-th, and their prompts in the form of benchmarks/eagrl_smollm2.yaml."""
    cases = load("tjh", {"task": "in_hospital_mortality", "window_hours": 24}, most)
    text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
    chosen = cases.select(range(most))
    return chosen, [prompt_text(STYLE, case, chosen, text) for case in chosen]


def compare_texts(name: str, job: Job, trees: TreeReader, anew: PaddedReader, tokenizer: Any) -> None:
    """Write the same texts with both readers, and print how many are equal and how near the others parted."""
    sides, seconds = [], []
    for reader in (trees, anew):
        started = time.perf_counter()
        sides.append(job.written_by(reader))
        seconds.append(time.perf_counter() - started)
        reader.forget()
    parted = [i for i, (a, b) in enumerate(zip(*sides, strict=True)) if a != b]
    n = len(job.ids)
    print(f"{name}: {n - len(parted)} of {n} texts equal; {seconds[1]:.0f} s anew, {seconds[0]:.0f} s in trees")
    gaps = [gap(job, i, sides[0][i], sides[1][i], anew) for i in parted]
    if gaps:
        ties = sum(found < TIE for found in gaps)
        print(f"  {ties} of {len(gaps)} others parted within {TIE:g} of a tie, the farthest at {max(gaps):.1e}")
    found = [read_texts(job, side, tokenizer) for side in sides]
    lengths = ks_2samp(*([len(text) for text in side] for side in sides)).pvalue
    cited = ks_2samp(*([len(answer.cited_features or ()) for answer in side] for side in found)).pvalue
    unread = [np.mean([answer.probability is None for answer in side]) for side in found]
    print(
        f"  unreadable {unread[1]:.1%} anew, {unread[0]:.1%} in trees; lengths p {lengths:.2f}, numbers of citations "
        f"p {cited:.2f}"
    )


def read_texts(job: Job, texts: list[list[int]], tokenizer: Any) -> list[Trajectory]:
    """Parse the answers."""
    vocabulary = FeatureVocabulary(job.cases.features)
    return [
        read_answer(STYLE, case, tokenizer.decode(text, skip_special_tokens=True), len(text), vocabulary)
        for case, text in zip(job.cases, texts, strict=True)
    ]


def gap(job: Job, i: int, first: list[int], second: list[int], anew: PaddedReader) -> float:
    """Return how near text i was to a tie where two readers part: as the module's head says."""
    at = next(k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    logits = anew.begin([[*job.ids[i], *first[:at]]])[0].double()
    logs = logits.log_softmax(dim=-1)
    between = abs(float(logs[first[at]] - logs[second[at]]))
    if job.draws is None:
        return between
    ordered, token = logs.exp().sort(descending=True, stable=True)
    ends = np.append(0.0, ordered.cumsum(dim=-1).numpy())
    place = int((token == second[at]).nonzero())
    return min(between, *(abs(float(job.draws[i, at]) - end) for end in ends[place : place + 2]))


@torch.no_grad()
def compare_answers(read: list[list[int]], tokenizer: Any, trees: TreeReader, anew: PaddedReader) -> None:
    """Read the answer's levels behind each prompt with both readers, and print how far they are apart."""
    opened = tokenizer(STYLE.answer_open, add_special_tokens=False)["input_ids"]
    candidates = [tokenizer(level, add_special_tokens=False)["input_ids"] for level in ANSWER_LEVELS]
    scores = [reader.score([[*ids, *opened] for ids in read], candidates).double() for reader in (trees, anew)]
    levels = torch.tensor([float(level) for level in ANSWER_LEVELS], dtype=torch.float64)
    answers = [(score.softmax(dim=-1) @ levels).numpy() for score in scores]
    apart = float((scores[0] - scores[1]).abs().max())
    print(f"log-probabilities of {len(ANSWER_LEVELS)} levels: largest difference {apart:.1e}")
    print(
        f"answers by expectation: largest difference {np.abs(answers[0] - answers[1]).max():.1e}, means "
        f"{answers[0].mean():.4f} and {answers[1].mean():.4f}, p {ks_2samp(*answers).pvalue:.2f}"
    )


if __name__ == "__main__":
    main()
