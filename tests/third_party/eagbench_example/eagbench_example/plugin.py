"""A small plugin as another package would ship it. It imports eagbench.api and nothing else of eagbench."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from eagbench.api import (
    Case,
    Cases,
    FloatArray,
    LanguageModel,
    MetricTraits,
    Register,
    Sampling,
    ScoredCases,
    SearchResult,
    SearchTask,
    StageNode,
    StageRun,
    StrictParams,
    TrainingData,
    Trajectory,
    hookimpl,
)


class OldestDies:
    """An expert that knows the mean age of those who had the outcome, and nothing else."""

    name: ClassVar[str] = "oldest_dies"

    class Params(StrictParams):
        """Parameters."""

        slope_per_year: float = 0.05

    def __init__(self, params: Params) -> None:
        self.params = params

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Takes the mean age of the positive training cases."""
        ages = np.array([case.static["age"] for case in data.train.cases])
        self.centre = float(np.nanmean(ages[data.train.labels == 1]))

    def predict(self, cases: Cases) -> np.ndarray:
        """The logistic function of age. Shape (N,)."""
        ages = np.nan_to_num(np.array([case.static["age"] for case in cases], dtype=float), nan=self.centre)
        return 1 / (1 + np.exp(-self.params.slope_per_year * (ages - self.centre)))

    def salience(self, cases: Cases) -> np.ndarray:
        """The same weight for every feature. Shape (N, F)."""
        return np.full((len(cases), len(cases.features)), 1 / len(cases.features))

    def save(self, folder: Path) -> None:
        """Writes one number."""
        (folder / "centre.json").write_text(json.dumps(self.centre))

    @classmethod
    def load(cls, params: Params, folder: Path) -> OldestDies:
        """Reads it back."""
        expert = cls(params)
        expert.centre = json.loads((folder / "centre.json").read_text())
        return expert


class TwoSamples:
    """A search that writes two answers per case, whatever the budget allows beyond that."""

    name: ClassVar[str] = "two_samples"

    class Params(StrictParams):
        """Parameters."""

        temperature: float = 1.0

    def __init__(self, params: Params) -> None:
        self.params = params

    def run(
        self,
        model: LanguageModel,
        tasks: Sequence[SearchTask],
        read: Callable[[Case, str, int], Trajectory],
        token_budget: int,
        seed: int,
    ) -> list[SearchResult]:
        """Two samples per task, the better one first."""
        sampling = Sampling(max_new_tokens=token_budget // 2, temperature=self.params.temperature)
        prompts = [task.prompt for task in tasks]
        written = [model.generate(prompts, sampling, seed), model.generate(prompts, sampling, seed + 1)]
        results = []
        for i, task in enumerate(tasks):
            pair = [read(task.case, texts[i].text, texts[i].tokens, texts[i].thought) for texts in written]
            judged = sorted(((task.reward(t), t) for t in pair), key=lambda item: -item[0]["total"])
            results.append(
                SearchResult(
                    task.case.case_id,
                    tuple(t for _, t in judged),
                    tuple(r for r, _ in judged),
                    sum(t.generated_tokens for t in pair),
                )
            )
        return results


class Brevity:
    """A reward for short answers that come close to the label."""

    name: ClassVar[str] = "brevity"

    class Params(StrictParams):
        """Parameters."""

        cost_per_token: float = 0.001

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, Any]:
        """1 minus the squared error, minus a price per token; -1 for an answer that can't be read."""
        price = self.params.cost_per_token * trajectory.generated_tokens
        close = -1.0 if trajectory.probability is None else 1 - (trajectory.probability - label) ** 2
        return {"close": close, "price": price, "total": close - price}


class TokensPerCase:
    """A metric: how many tokens a method writes for a case, on average over cases."""

    name: ClassVar[str] = "tokens_per_case"
    traits: ClassVar[MetricTraits] = MetricTraits(
        better="lower",
        label="Tokens",
        definition="mean number of tokens written for a case",
        columns=("generated_tokens",),
        decimals=1,
        undefined="the method writes no text",
    )

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(self, scored: ScoredCases, weights: FloatArray) -> FloatArray:
        """Weighted mean per row of weights (B, N), shape (B,); NaN where nothing was written."""
        tokens = scored.columns["generated_tokens"]
        total = weights.sum(axis=1)
        if np.isnan(tokens).any():
            return np.full(len(weights), np.nan)
        return np.divide(weights @ tokens, total, out=np.full(len(weights), np.nan), where=total > 0)


class FreshProcesses:
    """An executor: each stage in a process that did nothing before and does nothing after."""

    name: ClassVar[str] = "fresh_processes"

    class Params(StrictParams):
        """Parameters."""

        processes: int = 2

    def __init__(self, params: Params) -> None:
        self.params = params

    def execute(
        self,
        nodes: Sequence[StageNode],
        compute: Callable[[StageNode], object],
        done: Callable[[StageNode, object], bool],
    ) -> None:
        """Starts a stage as soon as those that it needs are done and a process is free."""
        waiting = {node.fingerprint: node for node in nodes}
        may_go_on: dict[str, bool] = {}
        running: dict[Future[object], StageNode] = {}
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.params.processes, mp_context=context, max_tasks_per_child=1) as pool:
            while waiting or running:
                for fingerprint, node in list(waiting.items()):
                    needed = [may_go_on.get(up.fingerprint) for up in node.upstream()]
                    if False in needed:
                        may_go_on[fingerprint] = done(waiting.pop(fingerprint), None)
                    elif None not in needed:
                        running[pool.submit(compute, waiting.pop(fingerprint))] = node
                if running:
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        node = running.pop(future)
                        may_go_on[node.fingerprint] = done(node, future.result())


@hookimpl
def register_experts(register: Register) -> None:
    """Adds the expert."""
    register(OldestDies)


@hookimpl
def register_searches(register: Register) -> None:
    """Adds the search."""
    register(TwoSamples)


@hookimpl
def register_rewards(register: Register) -> None:
    """Adds the reward."""
    register(Brevity)


@hookimpl
def register_metrics(register: Register) -> None:
    """Adds the metric."""
    register(TokensPerCase)


@hookimpl
def register_executors(register: Register) -> None:
    """Adds the executor."""
    register(FreshProcesses)
