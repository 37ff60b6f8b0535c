"""A language model without weights. It writes well-formed answers instantly, to test a search in isolation."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from eagbench.contracts.language_models import Generation, Sampling
from eagbench.contracts.records import FloatArray
from eagbench.prompting.styles import STYLES
from eagbench.testing.cases import FEATURES

_CLOSE = STYLES["question_decomposition"].answer_close


class WrittenAnswers:
    """Writes answers in the style `question_decomposition`. A word is a token, and one answer in ten can't be parsed.

    A text depends only on the prompt and the text so far, on the seed, and on how often that input came earlier in the
    call; at temperature 0, only on the prompt and the text so far. It stops where `Sampling` says.

    Attributes:
        tokens: Number of all tokens written so far.
    """

    def __init__(self) -> None:
        self.tokens = 0

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Write one text per prompt."""
        seen: Counter[tuple[str, str]] = Counter()
        results = []
        for prompt, before in zip(prompts, written or [""] * len(prompts), strict=True):
            occurrence = f"{seed}|{seen[prompt, before]}" if sampling.temperature else ""
            seen[prompt, before] += 1
            words = _continuation(before, _generator(f"{occurrence}|{prompt}|{before}")).split(" ")
            text = " ".join(words[: sampling.max_new_tokens])
            ends = [text.index(stop) + len(stop) for stop in sampling.stop if stop in text]
            text = text[: min(ends)] if ends else text
            results.append(Generation(text, len(text.split())))
            self.tokens += results[-1].tokens
        return results

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> FloatArray:
        """Draw a distribution over the candidates for each prompt, shape (N, len(candidates))."""
        rows = [
            _generator(f"{prompt}|{before}").dirichlet(np.ones(len(candidates)))
            for prompt, before in zip(prompts, written, strict=True)
        ]
        return np.array(rows).reshape(len(prompts), len(candidates))


def _generator(key: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))


def _continuation(before: str, rng: np.random.Generator) -> str:
    """Write the rest of an answer, from the last tag on."""
    named = [FEATURES[i] for i in rng.integers(len(FEATURES), size=rng.integers(1, 4))]
    steps = [f"<Subquestion> how is {name} ? <Answer> it is {rng.choice(['low', 'high'])}" for name in named]
    probability = "unknown" if rng.random() < 0.1 else f"{rng.integers(1, 20) / 20:.2f}"
    end = (
        f"<Final subquestion> how likely ? <Important Features> {', '.join(dict.fromkeys(named))} "
        f"<Final answer>{probability}{_CLOSE} more"
    )
    if before.endswith("<Final subquestion>"):
        return end.removeprefix("<Final subquestion>")
    text = " ".join([*steps, end])
    return text.removeprefix("<Subquestion>") if before.endswith("<Subquestion>") else text
