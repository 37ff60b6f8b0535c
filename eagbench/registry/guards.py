"""Checks the contracts of components that other components call, while they work (`eagbench.contracts.rules`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eagbench.contracts import rules
from eagbench.contracts.answers import Trajectory
from eagbench.contracts.components import ComparesPatients, Reward, Search, SearchResult, SearchTask
from eagbench.contracts.language_models import Generation, LanguageModel, Sampling
from eagbench.contracts.read_only import read_only_mapping
from eagbench.contracts.records import Case, Cases
from eagbench.registry.blame import blamed


class GuardedReward:
    """A reward that checks each of its judgements against the contract.

    Args:
        reward: The reward.
        owner: The component and its plugin, for the error.
    """

    def __init__(self, reward: Reward, owner: str) -> None:
        self._reward, self._owner = reward, owner
        # Per case and label: the highest total of an unparsed answer, the lowest of a parsed one.
        self._bounds: dict[tuple[str, int], tuple[float, float]] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "_reward":  # while it is unpickled, for processes that divide the work, it has none yet
            raise AttributeError(name)
        return getattr(self._reward, name)

    def fit(self, cases: Cases, salience: Mapping[str, Mapping[str, float]], risk: Mapping[str, float]) -> None:
        """Show the reward the training cases if it compares patients."""
        if isinstance(self._reward, ComparesPatients):
            with blamed(self._owner):
                given = {case_id: read_only_mapping(weights) for case_id, weights in salience.items()}
                self._reward.fit(cases, read_only_mapping(given), read_only_mapping(risk))

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Judge a trajectory.

        Raises:
            ContractError: The reward did not return finite numbers with a total, gave an answer that could not be
                read as much as one for the same case that could, or tried to change what it was given.
        """
        given = None if salience is None else read_only_mapping(salience)
        with blamed(self._owner):
            parts = self._reward(case, label, trajectory, given)
            rules.check_reward(parts, trajectory)
            unparsed, parsed = self._bounds.get((case.case_id, label), (-math.inf, math.inf))
            if trajectory.probability is None:
                unparsed = max(unparsed, parts["total"])
            else:
                parsed = min(parsed, parts["total"])
            self._bounds[case.case_id, label] = unparsed, parsed
            rules.check_unparsed_reward(unparsed, parsed)
        return dict(parts)  # the caller's own, whatever the reward keeps


class GuardedSearch:
    """A search that checks its results and token budget against the contract.

    Args:
        search: The search.
        owner: The component and its plugin, for the error.
    """

    def __init__(self, search: Search, owner: str) -> None:
        self._search, self._owner = search, owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._search, name)

    def run(
        self,
        model: LanguageModel,
        tasks: Sequence[SearchTask],
        read: Callable[..., Trajectory],
        token_budget: int,
        seed: int,
    ) -> Sequence[SearchResult]:
        """Search for every task.

        Raises:
            ContractError: The search did not return one result per task, best first, within its budget, or tried to
                change what it was given.
        """
        counted, given = _CountedModel(model), tuple(tasks)
        with blamed(self._owner):
            results = self._search.run(counted, given, read, token_budget, seed)
            rules.check_results(given, results, token_budget)
            rules.check_spent(results, counted.tokens)
        return results


class _CountedModel:
    """A language model that counts the tokens it writes."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self.tokens = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def generate(
        self, prompts: Sequence[str], sampling: Sampling, seed: int, written: Sequence[str] | None = None
    ) -> list[Generation]:
        """Write with the wrapped model, and count the tokens."""
        generations = self._model.generate(prompts, sampling, seed, written)
        self.tokens += sum(generation.tokens for generation in generations)
        return generations


def guarded(component: Any, kind: str, owner: str) -> Any:
    """Wrap a component in contract checks, if other components call its kind."""
    if kind == "reward":
        return GuardedReward(component, owner)
    if kind == "search":
        return GuardedSearch(component, owner)
    return component
