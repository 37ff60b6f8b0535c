"""Turn finished texts into a search's result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from eagbench.api import Case, SearchResult, SearchTask, Thought, Trajectory


class Read(Protocol):
    """The style's strict reader, as a search is given it."""

    def __call__(self, case: Case, text: str, tokens: int, thought: Thought | None = None) -> Trajectory:
        """Parse an answer."""
        ...


def ranked_result(
    task: SearchTask, trajectories: Sequence[Trajectory], generated_tokens: int, tree: Any = None
) -> SearchResult:
    """Judge the trajectories and sort them by total reward, best first; ties stay in the order of generation."""
    rewards = [task.reward(trajectory) for trajectory in trajectories]
    order = sorted(range(len(rewards)), key=lambda i: -rewards[i]["total"])
    return SearchResult(
        case_id=task.case.case_id,
        trajectories=tuple(trajectories[i] for i in order),
        rewards=tuple(rewards[i] for i in order),
        generated_tokens=generated_tokens,
        tree=tree,
    )
