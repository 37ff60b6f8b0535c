"""Writing within a budget: every token that a case costs is counted, and none beyond its budget is asked for."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from eagbench.api import Generation, LanguageModel, Sampling

# A text is not begun with less than one of these parts of its bound left; what is left beyond is given in parts, so
# that texts with different bounds still share calls of the model.
_PARTS = 4


@dataclass(frozen=True, slots=True)
class Request:
    """A text to be written for the case at position `task`: the prompt, and the beginning of its answer."""

    task: int
    prompt: str
    written: str = ""


class BudgetedWriter:
    """Writes texts for several cases at once.

    Args:
        model: The policy, opened.
        n_tasks: Number of cases.
        token_budget: Tokens that may be written per case.

    Attributes:
        spent: Tokens written so far, per case.
    """

    def __init__(self, model: LanguageModel, n_tasks: int, token_budget: int) -> None:
        self._model = model
        self._budget = token_budget
        self.spent = [0] * n_tasks

    def room(self, task: int, max_new_tokens: int) -> int:
        """How many texts of at most `max_new_tokens` the case can surely afford; 1 if a cut one is all."""
        left = self._budget - self.spent[task]
        return left // max_new_tokens or int(self._bound(left, max_new_tokens) > 0)

    def write(self, requests: Sequence[Request], sampling: Sampling, seed: int) -> list[Generation | None]:
        """A text per request; None where the budget is used up.

        Each request reserves its bound, in order, so that no case can exceed its budget whatever the lengths.
        """
        reserved = list(self.spent)
        calls: dict[int, list[int]] = defaultdict(list)  # bound on tokens -> positions of requests
        for position, request in enumerate(requests):
            bound = self._bound(self._budget - reserved[request.task], sampling.max_new_tokens)
            if bound:
                reserved[request.task] += bound
                calls[bound].append(position)
        results: list[Generation | None] = [None] * len(requests)
        for bound, positions in calls.items():
            texts = self._model.generate(
                [requests[i].prompt for i in positions],
                Sampling(bound, sampling.temperature, sampling.top_p, sampling.stop),
                seed,
                [requests[i].written for i in positions],
            )
            for i, text in zip(positions, texts, strict=True):
                results[i] = text
                self.spent[requests[i].task] += text.tokens
        return results

    def take(self, task: int, tokens: int) -> bool:
        """Counts tokens that the model reads out without writing a text (a judgement); False if they are not left."""
        if self._budget - self.spent[task] < tokens:
            return False
        self.spent[task] += tokens
        return True

    @staticmethod
    def _bound(left: int, max_new_tokens: int) -> int:
        if left >= max_new_tokens:
            return max_new_tokens
        part = max(1, max_new_tokens // _PARTS)
        return left // part * part


def derived_seed(seed: int, *parts: int | str) -> int:
    """A seed of 63 bits for one part of a search."""
    text = "\0".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
