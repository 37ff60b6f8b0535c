"""Components that work, but for one fault in one of their calls."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import field_validator

from eagbench.api import (
    Case,
    Cases,
    MethodTraits,
    MetricTraits,
    PerturbationTraits,
    Prediction,
    ScoredCases,
    StageRun,
    StrictParams,
    TrainingData,
    hookimpl,
)
from eagbench_misbehaving.faults import FAULTS

if os.environ.get("MISBEHAVE") == "import":
    raise SystemExit("at import")


class Misbehaves:
    """What all of these components share: the fault and the call in which they commit it."""

    class Params(StrictParams):
        """Parameters."""

        fault: str = ""
        at: str = ""

        @field_validator("fault")
        @classmethod
        def _commits(cls, value: str) -> str:
            if value == "invalid":
                raise RuntimeError("in the parameters")
            return value

    def __init__(self, params: Params) -> None:
        self.params = params
        self.commit("__init__")

    def commit(self, call: str) -> None:
        """Do the wrong thing, if this is the call for it."""
        if self.params.at == call and self.params.fault in FAULTS:
            FAULTS[self.params.fault]()

    def result(self, call: str, right: Any) -> Any:
        """Return a wrong result, if this is the call for it."""
        if self.params.at != call:
            return right
        array = np.asarray(right, dtype=float) if not isinstance(right, list) else np.zeros(len(right))
        wrong = {
            "none": None,
            "text": "a text",
            "short": right[:-1],
            "nan": np.full(array.shape, np.nan),
            "infinite": np.full(array.shape, np.inf),
            "objects": np.full(array.shape, None, dtype=object),
        }
        return wrong.get(self.params.fault, right)


class BadExpert(Misbehaves):
    """Answers with the event rate."""

    name: ClassVar[str] = "bad_expert"

    def fit(self, data: TrainingData, run: StageRun) -> None:
        """Take the event rate."""
        self.commit("fit")
        if self.params.fault == "costs":
            run.add_cost("fit", float("nan"))
        self.rate = float(data.train.labels.mean())

    def predict(self, cases: Cases) -> Any:
        """Answer with the event rate."""
        self.commit("predict")
        return self.result("predict", np.full(len(cases), self.rate))

    def salience(self, cases: Cases) -> Any:
        """Weigh all alike."""
        self.commit("salience")
        return self.result("salience", np.full((len(cases), len(cases.features)), 1 / len(cases.features)))

    def save(self, folder: Path) -> None:
        """Write a number, and what is wrong."""
        self.commit("save")
        (folder / "rate.json").write_text(json.dumps(self.rate))
        match self.params.fault:
            case "pickle":
                (folder / "model.pkl").write_bytes(pickle.dumps(self.rate))
            case "npy":
                np.save(folder / "rate.npy", np.array(self.rate))
            case "link":
                (folder / "other").symlink_to(folder / "rate.json")
            case "manifest":
                (folder / "manifest.json").write_text("{}")
            case "pipe":
                os.mkfifo(folder / "pipe")
            case "removes_folder":
                shutil.rmtree(folder)

    @classmethod
    def load(cls, params: Any, folder: Path) -> BadExpert:
        """Read it back, and damage what is there."""
        expert = cls(params)
        expert.commit("load")
        expert.rate = json.loads((folder / "rate.json").read_text())
        match params.fault:
            case "deletes_inputs":
                shutil.rmtree(folder)
            case "rewrites_inputs":
                (folder / "rate.json").write_text("0.123456")
        return expert


class BadMetric(Misbehaves):
    """The share of cases that count."""

    name: ClassVar[str] = "bad_metric"
    traits: ClassVar[MetricTraits] = MetricTraits(better="higher")
    calls: int = 0

    def __call__(self, scored: ScoredCases, weights: Any) -> Any:
        """Return one number per row of weights."""
        self.calls += 1
        if self.params.fault == "some_resamples" and len(weights) > 1:
            raise ValueError("not on this resample")
        self.commit("__call__")
        return self.result("__call__", weights.mean(axis=1))


class BadPerturbation(Misbehaves):
    """Changes nothing."""

    name: ClassVar[str] = "bad_perturbation"
    traits: ClassVar[PerturbationTraits] = PerturbationTraits(levels=(0.1, 0.2, 0.3, 0.4, 0.5))

    def check_severity(self, severity: float) -> None:
        """Take any."""
        self.commit("check_severity")

    def fit(self, cases: Cases) -> None:
        """Learn nothing."""
        self.commit("fit")

    def apply(self, case: Case, severity: float, seed: int) -> Any:
        """Return the case."""
        self.commit("apply")
        return None if self.params.fault == "none" else case


class BadMethod(Misbehaves):
    """Answers 0.5."""

    name: ClassVar[str] = "bad_method"
    traits: ClassVar[MethodTraits] = MethodTraits(reads="columns")

    def stages(self, plan: Any) -> Mapping[str, Any]:
        """Declare nothing."""
        self.commit("stages")
        return {}

    def predict(self, cases: Cases, run: StageRun) -> Any:
        """Answer 0.5."""
        self.commit("predict")
        answers = [Prediction(case.case_id, 0.5, "model") for case in cases]
        return self.result("predict", answers)


class BadReward(Misbehaves):
    """Pays for a close answer."""

    name: ClassVar[str] = "bad_reward"

    def __call__(self, case: Case, label: int, trajectory: Any, salience: Any) -> Any:
        """Pay 1 minus the error, and -1 for what can't be read."""
        self.commit("__call__")
        if self.params.fault == "none":
            return None
        if self.params.fault == "nan":
            return {"total": float("nan")}
        return {"total": -1.0 if trajectory.probability is None else 1 - abs(trajectory.probability - label)}


class BadSearch(Misbehaves):
    """Finds nothing."""

    name: ClassVar[str] = "bad_search"

    def run(self, model: Any, tasks: Sequence[Any], read: Any, token_budget: int, seed: int) -> Any:
        """Return what was asked for."""
        self.commit("run")
        return None if self.params.fault == "none" else []


class BadTracker(Misbehaves):
    """Hears and forgets."""

    name: ClassVar[str] = "bad_tracker"

    def start(self, run_name: str, folder: Path) -> None:
        """Begin."""
        self.commit("start")

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Hear."""
        self.commit("log")

    def finish(self) -> None:
        """End."""
        self.commit("finish")


class BadPolicy(Misbehaves):
    """Writes nothing."""

    name: ClassVar[str] = "bad_policy"

    def content(self) -> str | None:
        """Read no files."""
        self.commit("content")
        return None

    def prepare(self, cases: Cases, record_text: Any, run: StageRun) -> None:
        """Write no model."""
        self.commit("prepare")

    def open(self, folder: Path) -> Any:
        """Open it."""
        self.commit("open")
        return BadModel(self)


class BadModel:
    """The opened policy."""

    def __init__(self, policy: BadPolicy) -> None:
        self.policy = policy

    def generate(self, prompts: Any, sampling: Any, seed: int, written: Any = None) -> Any:
        """Write nothing."""
        self.policy.commit("generate")

    def continuation_probabilities(self, prompts: Any, written: Any, candidates: Any) -> Any:
        """Weigh nothing."""


class BadExecutor(Misbehaves):
    """Computes here."""

    name: ClassVar[str] = "bad_executor"

    def execute(self, nodes: Any, compute: Any, done: Any) -> None:
        """Compute one after the other."""
        self.commit("execute")
        for node in nodes:
            done(node, compute(node))


class BadDataset(Misbehaves):
    """Has no cases."""

    name: ClassVar[str] = "bad_dataset"

    def access(self) -> Any:
        """Open."""
        self.commit("access")
        return "open"

    def files(self) -> Sequence[Path]:
        """This file."""
        self.commit("files")
        return (Path(__file__),)

    def load(self, run: StageRun) -> Any:
        """Load nothing."""
        self.commit("load")


@hookimpl
def register_experts(register: Any) -> None:
    """Adds the expert."""
    if os.environ.get("MISBEHAVE") == "register":
        raise KeyboardInterrupt("at registration")
    register(BadExpert)


@hookimpl
def register_metrics(register: Any) -> None:
    """Adds the metric."""
    register(BadMetric)


@hookimpl
def register_perturbations(register: Any) -> None:
    """Adds the perturbation."""
    register(BadPerturbation)


@hookimpl
def register_methods(register: Any) -> None:
    """Adds the method."""
    register(BadMethod)


@hookimpl
def register_rewards(register: Any) -> None:
    """Adds the reward."""
    register(BadReward)


@hookimpl
def register_searches(register: Any) -> None:
    """Adds the search."""
    register(BadSearch)


@hookimpl
def register_trackers(register: Any) -> None:
    """Adds the tracker."""
    register(BadTracker)


@hookimpl
def register_policies(register: Any) -> None:
    """Adds the policy."""
    register(BadPolicy)


@hookimpl
def register_executors(register: Any) -> None:
    """Adds the executor."""
    register(BadExecutor)


@hookimpl
def register_datasets(register: Any) -> None:
    """Adds the data set."""
    register(BadDataset)
