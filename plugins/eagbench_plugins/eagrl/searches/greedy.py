"""`greedy`: the text with the policy's most likely token at each position. Every search should beat this baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from eagbench.api import LanguageModel, Sampling, SearchResult, SearchTask, SearchTraits, StrictParams
from eagbench_plugins.eagrl.searches.budget import BudgetedWriter, Request
from eagbench_plugins.eagrl.searches.results import Read, ranked_result


class Greedy:
    """One greedy trajectory per case."""

    name: ClassVar[str] = "greedy"
    traits = SearchTraits(case_by_case=True)

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(
        self, model: LanguageModel, tasks: Sequence[SearchTask], read: Read, token_budget: int, seed: int
    ) -> list[SearchResult]:
        """Generate one trajectory per task, all in one call."""
        if not tasks:
            return []
        writer = BudgetedWriter(model, len(tasks), token_budget)
        sampling = Sampling(max(task.max_new_tokens for task in tasks), stop=tasks[0].stop)
        texts = writer.write([Request(i, task.prompt) for i, task in enumerate(tasks)], sampling, seed)
        results = []
        for i, (task, text) in enumerate(zip(tasks, texts, strict=True)):
            found = [] if text is None else [read(task.case, text.text, text.tokens, text.thought)]
            results.append(ranked_result(task, found, writer.spent[i]))
        return results
