"""What the search writes in the policy's place: questions about what the expert attends to, and citations of it.

A search can only choose among what the policy writes. A policy of seven billion parameters asks about lactate by
itself. SmolLM2 after its format warm-up asks about any feature: the trajectories that a search of 512 tokens found with
it on TJH shared 3 % of their features with the expert's. So the search may ask the question, and the policy answers it
from the record and goes on. What the policy did not write is no part of the token budget, and is learnt like the rest.

Its lists of important features were worse: up to 17 names, a third of them of nothing in the record, and a policy that
had learnt the best of them wrote lists without end for a third of the patients. So the search may write the list, too,
and the policy answers behind it. The features are in the record's order: sorted by salience, the same few names are the
likeliest in every place, and `tiny` wrote lists of five with two of them twice, nearly the same for everybody.
"""

from __future__ import annotations

import numpy as np

from eagbench.api import SearchTask
from eagbench_plugins.eagrl.rewards.parts import expert_features
from eagbench_plugins.eagrl.searches.budget import derived_seed
from eagbench_plugins.eagrl.searches.guidance import mentioned_features
from eagbench_plugins.eagrl.searches.steps import ANSWER, state_of


def no_proposals(_text: str, _seed: int) -> list[str]:
    """Leave every step to the policy."""
    return []


class Proposals:
    """Draws beginnings of steps for one case: features that the expert attends to, by their salience.

    Args:
        task: The case with the expert's salience.
        k: Number of expert features.
        n: Most beginnings for a node.
    """

    def __init__(self, task: SearchTask, k: int, n: int) -> None:
        self._case, self._n = task.case, n
        salience = task.salience or {}
        top = expert_features(task.case, salience, k)
        self._weight = {name: salience[name] for name in top if salience[name] > 0}

    def __call__(self, text: str, seed: int) -> list[str]:
        """Draw beginnings for the children of a node, of features that its text does not name yet.

        Args:
            text: The node's text.
            seed: The search's seed.
        """
        named = mentioned_features(text, self._case.features)
        left = [name for name in self._weight if name not in named]
        n = min(self._n, len(left))
        if n == 0 or state_of(text) != "step":
            return []
        rng = np.random.default_rng(derived_seed(seed, "propose", self._case.case_id, text))
        weight = np.array([self._weight[name] for name in left])
        drawn = rng.choice(len(left), size=n, replace=False, p=weight / weight.sum())
        return [f" What does the record say about {left[i]}?<Answer>" for i in drawn]


def proposed_citations(task: SearchTask, n: int) -> str:
    """Write the list of the expert's top features and the tag behind it, as it goes on after `<Important Features>`.

    Args:
        task: The case with the expert's salience.
        n: Most features; 0 writes nothing, and leaves the list to the policy.
    """
    if n == 0:
        return ""
    top = set(expert_features(task.case, task.salience or {}, n))
    listed = [name for name in task.case.features if name in top]
    return f" {', '.join(listed)}{ANSWER}" if listed else ANSWER
