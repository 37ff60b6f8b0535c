"""`beam`: beam search over steps. The value of a partial answer is the reward of one completion of it.

The search extends each of the `width` best partial answers by `children` sampled steps. It completes each new partial
answer once, in one go, and keeps the best, until all are finished. While tokens are left, it starts another pass with
other random draws. Completions count as trajectories. Beam search explores as little as a tree search with w = 0, so it
is a middle ground between `best_of_n` and `mcts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from eagbench.api import LanguageModel, Sampling, SearchResult, SearchTask, SearchTraits, StrictParams, Trajectory
from eagbench_plugins.eagrl.searches.budget import BudgetedWriter, Request, derived_seed
from eagbench_plugins.eagrl.searches.results import Read, ranked_result
from eagbench_plugins.eagrl.searches.steps import BEGINNING, STOP_AT_STEP, extended, state_of


@dataclass(frozen=True, slots=True)
class _Partial:
    """A partial answer, its number of edges, and the tokens it cost."""

    text: str = BEGINNING
    edges: int = 0
    tokens: int = 0


@dataclass(slots=True)
class _CaseBeam:
    """One case's beam and the trajectories finished so far."""

    beam: list[_Partial] = field(default_factory=lambda: [_Partial()])
    found: list[Trajectory] = field(default_factory=list)
    done: bool = False


class Beam:
    """Beam search with one completion per partial answer."""

    name: ClassVar[str] = "beam"
    traits = SearchTraits(needs_steps=True, case_by_case=True)

    class Params(StrictParams):
        """Beam search parameters.

        Attributes:
            width: Partial answers kept.
            children: Steps sampled for each.
            depth: Maximum number of edges of an answer, including the final answer.
            temperature: Temperature of steps and completions.
            top_p: Nucleus sampling threshold of steps and completions.
            step_tokens: Maximum number of tokens of one step.
        """

        width: int = Field(default=2, ge=1)
        children: int = Field(default=3, ge=1)
        depth: int = Field(default=5, ge=2)
        temperature: float = Field(default=1.2, gt=0)
        top_p: float = Field(default=0.8, gt=0, le=1)
        step_tokens: int = Field(default=64, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(
        self, model: LanguageModel, tasks: Sequence[SearchTask], read: Read, token_budget: int, seed: int
    ) -> list[SearchResult]:
        """Search all tasks together, in passes, while any task has tokens left."""
        cases = [_CaseBeam() for _ in tasks]
        writer = BudgetedWriter(model, len(tasks), token_budget)
        round_number = 0
        while any(not case.done for case in cases):
            self._advance(cases, tasks, read, writer, derived_seed(seed, round_number))
            round_number += 1
        return [
            ranked_result(task, case.found, writer.spent[i])
            for i, (task, case) in enumerate(zip(tasks, cases, strict=True))
        ]

    def _advance(
        self, cases: Sequence[_CaseBeam], tasks: Sequence[SearchTask], read: Read, writer: BudgetedWriter, seed: int
    ) -> None:
        """Advance the beam by one edge in every unfinished case."""
        longest = max(task.max_new_tokens for task in tasks)
        params = self.params
        step = Sampling(min(params.step_tokens, longest), params.temperature, params.top_p, STOP_AT_STEP)
        rest = Sampling(longest, params.temperature, params.top_p, tasks[0].stop)
        before = list(writer.spent)
        asked = [
            (i, p) for i, case in enumerate(cases) if not case.done for p in case.beam for _ in range(params.children)
        ]
        steps = writer.write([Request(i, tasks[i].prompt, p.text) for i, p in asked], step, derived_seed(seed, "step"))
        longer: dict[tuple[int, str], _Partial] = {}
        for (i, partial), text in zip(asked, steps, strict=True):
            if text is not None:
                whole = extended(partial.text, text.text, partial.edges, params.depth)
                longer.setdefault((i, whole), _Partial(whole, partial.edges + 1, partial.tokens + text.tokens))
        unfinished: list[tuple[int, _Partial]] = []
        for (i, whole), partial in longer.items():
            if state_of(whole) in ("step", "final"):
                unfinished.append((i, partial))
            else:
                cases[i].found.append(read(tasks[i].case, whole, partial.tokens))
        ends = writer.write(
            [Request(i, tasks[i].prompt, partial.text) for i, partial in unfinished], rest, derived_seed(seed, "rest")
        )
        valued: list[list[tuple[float, _Partial]]] = [[] for _ in cases]
        for (i, partial), text in zip(unfinished, ends, strict=True):
            if text is not None:
                trajectory = read(tasks[i].case, partial.text + text.text, partial.tokens + text.tokens)
                cases[i].found.append(trajectory)
                valued[i].append((tasks[i].reward(trajectory)["total"], partial))
        for i, case in enumerate(cases):
            case.done = case.done or writer.spent[i] == before[i]
            best = sorted(valued[i], key=lambda item: -item[0])[: params.width]
            case.beam = [partial for _, partial in best] or [_Partial()]
