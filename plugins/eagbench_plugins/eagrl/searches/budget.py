"""Generate text within a token budget: count every token that a case costs and never request more than its budget."""

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
    """A text to generate for the case at position `task`: the prompt, and the beginning of the answer."""

    task: int
    prompt: str
    written: str = ""


class BudgetedWriter:
    """Generates texts for several cases at once.

    Args:
        model: The opened policy.
        n_tasks: Number of cases.
        token_budget: Maximum number of generated tokens per case.

    Attributes:
        spent: Tokens generated so far, per case.
    """

    def __init__(self, model: LanguageModel, n_tasks: int, token_budget: int) -> None:
        self._model = model
        self._budget = token_budget
        self.spent = [0] * n_tasks

    def room(self, task: int, max_new_tokens: int) -> int:
        """Count the texts of at most `max_new_tokens` that the case can certainly afford.

        It is 1 if the budget only allows a shortened text.
        """
        left = self._budget - self.spent[task]
        return left // max_new_tokens or int(self._bound(left, max_new_tokens) > 0)

    def write(self, requests: Sequence[Request], sampling: Sampling, seed: int) -> list[Generation | None]:
        """Generate one text per request; None where the budget is used up.

        Each request reserves its bound, in order, so that no case can exceed its budget, whatever the text lengths.
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
        """Count tokens that the model evaluates without generating text (a judgement); False if too few are left."""
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
    """Derive a 63-bit seed for one part of a search."""
    text = "\0".join(map(str, (seed, *parts)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
