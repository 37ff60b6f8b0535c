"""A language model whose every text is a known function of what it is asked: searches can be followed by hand."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from eagbench.api import Case, Generation, Sampling, SearchTask, Trajectory
from tests.builders import make_case

STOP = ("</Final answer>",)


class ScriptedModel:
    """Writes `script(prompt + written, draw)`, one token per word, cut at `max_new_tokens` and after a stop string.

    `draw` is uniform in [0, 1), from the seed, the prompt and how often the prompt stood in the call before: the
    contract of `LanguageModel`. At temperature 0 it is 0.

    Attributes:
        calls: For each call its prompts with what was written before, and its sampling.
    """

    def __init__(self, script: Callable[[str, float], str]) -> None:
        self.script = script
        self.calls: list[tuple[list[str], Sampling]] = []

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        texts = [a + b for a, b in zip(prompts, written or [""] * len(prompts), strict=True)]
        self.calls.append((texts, sampling))
        seen: Counter[str] = Counter()
        results = []
        for text in texts:
            key = hashlib.sha256(f"{seed}|{seen[text]}|{text}".encode()).digest()
            seen[text] += 1
            draw = int.from_bytes(key[:8], "big") / 2**64 if sampling.temperature else 0.0
            words = self.script(text, draw).split(" ")[: sampling.max_new_tokens]
            answer = " ".join(words)
            ends = [answer.index(stop) + len(stop) for stop in sampling.stop if stop in answer]
            answer = answer[: min(ends)] if ends else answer
            results.append(Generation(answer, len(answer.split(" "))))
        return results

    def continuation_probabilities(
        self, prompts: Sequence[str], written: Sequence[str], candidates: Sequence[str]
    ) -> np.ndarray:
        weights = np.arange(1.0, len(candidates) + 1)
        return np.tile(weights / weights.sum(), (len(prompts), 1))


def make_task(name: str, reward: Callable[[Trajectory], dict[str, float]], **changes) -> SearchTask:
    case = make_case({"alpha": [1.0], "beta": [2.0], "gamma": [3.0]}, case_id=name)
    settings = {"stop": STOP, "max_new_tokens": 40, **changes}
    return SearchTask(case=case, prompt=f"{name}: ", reward=reward, **settings)


def probability_reward(trajectory: Trajectory) -> dict[str, float]:
    """The answer itself; -1 if it can't be read."""
    value = -1.0 if trajectory.probability is None else trajectory.probability
    return {"classification": value, "total": value}


Read = Callable[[Case, str, int], Trajectory]
