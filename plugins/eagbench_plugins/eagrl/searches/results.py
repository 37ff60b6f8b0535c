"""Turn finished texts into a search's result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from eagbench.api import Case, SearchResult, SearchTask, Trajectory

Read = Callable[[Case, str, int], Trajectory]


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
