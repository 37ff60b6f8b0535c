"""`best_of_n`: independent samples until the token budget is used. Every other search should beat this baseline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from eagbench.api import LanguageModel, Sampling, SearchResult, SearchTask, SearchTraits, StrictParams, Trajectory
from eagbench_plugins.eagrl.searches.budget import BudgetedWriter, Request, derived_seed
from eagbench_plugins.eagrl.searches.results import Read, ranked_result


class BestOfN:
    """Samples whole trajectories."""

    name: ClassVar[str] = "best_of_n"
    traits = SearchTraits(case_by_case=True)

    class Params(StrictParams):
        """Sampling parameters.

        Attributes:
            temperature: Temperature of the samples.
            top_p: Nucleus sampling threshold.
            samples: Maximum number of trajectories per case; None samples until the token budget is used.
        """

        temperature: float = Field(default=1.0, gt=0)
        top_p: float = Field(default=1.0, gt=0, le=1)
        samples: int | None = Field(default=None, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(
        self, model: LanguageModel, tasks: Sequence[SearchTask], read: Read, token_budget: int, seed: int
    ) -> list[SearchResult]:
        """Sample in rounds.

        Each round requests, for all cases together, as many texts as the remaining budgets are certain to cover.
        """
        if not tasks:
            return []
        longest = max(task.max_new_tokens for task in tasks)
        sampling = Sampling(longest, self.params.temperature, self.params.top_p, tasks[0].stop)
        writer = BudgetedWriter(model, len(tasks), token_budget)
        found: list[list[Trajectory]] = [[] for _ in tasks]
        for round_number in range(token_budget):
            requests = []
            for i, task in enumerate(tasks):
                wanted = writer.room(i, longest)
                if self.params.samples is not None:
                    wanted = min(wanted, self.params.samples - len(found[i]))
                requests += [Request(i, task.prompt)] * wanted
            if not requests:
                break
            texts = writer.write(requests, sampling, derived_seed(seed, round_number))
            for request, text in zip(requests, texts, strict=True):
                if text is not None:
                    found[request.task].append(read(tasks[request.task].case, text.text, text.tokens, text.thought))
        return [ranked_result(task, found[i], writer.spent[i]) for i, task in enumerate(tasks)]
