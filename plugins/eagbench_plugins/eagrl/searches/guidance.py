"""What guides a tree search; and the expert's local reward.

The local reward of a step is how much it adds to the overlap of the features named so far with the expert's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from eagbench.api import SearchTask, Trajectory
from eagbench_plugins.eagrl.rewards.parts import expert_features, jaccard


@dataclass(frozen=True, slots=True)
class Guidance:
    """What guides the search on one case.

    Attributes:
        local: Of a partial answer, what its steps are worth.
        objective: Of a finished answer, the return that the search seeks.
        proposals: Of a node's text and the search's seed, with what some of its children begin.
        citations: How a simulation's list of important features is written, up to the tag that opens the answer; empty
            where the policy writes it.
    """

    local: Callable[[Trajectory], float]
    objective: Callable[[Trajectory], float]
    proposals: Callable[[str, int], Sequence[str]]
    citations: str = ""


def mentioned_features(text: str, names: Collection[str]) -> set[str]:
    """Find the features whose names occur in a text as whole words; an underscore may be written as a space."""
    spelt = {name.replace("_", " ").casefold(): name for name in names}
    if not spelt:
        return set()
    # The longest first, so that `heart_rate_variability` is not also `heart_rate`.
    longest_first = sorted(spelt, key=len, reverse=True)
    pattern = rf"(?<![a-z0-9])(?:{'|'.join(map(re.escape, longest_first))})(?![a-z0-9])"
    return {spelt[found] for found in re.findall(pattern, text.casefold().replace("_", " "))}


def overlap_with_expert(task: SearchTask, k: int) -> Callable[[Trajectory], float]:
    """Build the function that computes a (partial) answer's Jaccard overlap with the expert, for one case.

    The overlap compares all features that the answer names in its steps or cites at its end with the expert's top `k`
    observed features.

    Raises:
        ValueError: The task has no salience.
    """
    if task.salience is None:
        raise ValueError(f"case {task.case.case_id} has no salience, which a search guided by an expert needs")
    expert = expert_features(task.case, task.salience, k)
    names = task.case.features

    def overlap(trajectory: Trajectory) -> float:
        text = "\n".join(part for step in trajectory.steps for part in step)
        return jaccard(mentioned_features(text, names) | set(trajectory.cited_features or ()), expert)

    return overlap
