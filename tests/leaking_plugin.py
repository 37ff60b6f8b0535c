"""A plugin whose errors repeat records, as those of pandas and of careless authors do, written as if installed."""

from __future__ import annotations

from pathlib import Path

_SOURCE = '''
"""Errors that repeat records."""

import os
import warnings
from typing import ClassVar, Literal

import numpy as np

from eagbench.api import MetricTraits, StrictParams, TrackerTraits, UserError, hookimpl


class Leaking:
    """An expert that fails with a record in its words."""

    name: ClassVar[str] = "leaking"

    class Params(StrictParams):
        """How it fails."""

        how: Literal["value", "key", "chain", "user", "warning", "sleep", "good"] = "good"
        api_key: str = ""

    def __init__(self, params):
        self.params = params

    def fit(self, data, run):
        case = data.train.cases[0]
        value = float(case.values[~np.isnan(case.values)][0])
        words = f"case {case.case_id} of {case.patient_id} has {value:.4f}"
        if self.params.how == "value":
            raise ValueError(f"{words}\\n  File of {case.case_id}\\n{case.patient_id}: key {self.params.api_key}")
        if self.params.how == "key":
            {}[case.case_id]
        if self.params.how == "chain":
            try:
                raise LookupError(words)
            except LookupError as error:
                raise RuntimeError(f"{case.patient_id}, {value:.4f}") from error
        if self.params.how == "user":
            raise UserError(f"{words} twice", where=f"events.csv:17, {case.case_id}", hint=f"drop '{case.patient_id}'")
        if self.params.how == "warning":
            warnings.warn(words)
        if self.params.how == "sleep":
            import time

            (run.out / "asleep").write_text(words)
            time.sleep(600)
        self.rate = float(data.train.labels.mean())

    def predict(self, cases):
        return np.full(len(cases), self.rate)

    def salience(self, cases):
        return np.full((len(cases), len(cases.features)), 1 / len(cases.features))

    def save(self, folder):
        (folder / "rate.txt").write_text(repr(self.rate))

    @classmethod
    def load(cls, params, folder):
        expert = cls(params)
        expert.rate = float((folder / "rate.txt").read_text())
        return expert


class LeakingMetric:
    """A metric that fails with answers in its words."""

    name: ClassVar[str] = "leaking_metric"
    traits: ClassVar[MetricTraits] = MetricTraits(better="lower", label="Leak", definition="nothing")

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params):
        self.params = params

    def __call__(self, scored, weights):
        raise ValueError(f"answer {scored.probability[0]:.9f}")


class LeakingTracker:
    """A tracker that ends the run with words that the test gives it."""

    name: ClassVar[str] = "leaking_tracker"
    traits: ClassVar[TrackerTraits] = TrackerTraits(leaves_machine=False)

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params):
        self.params = params

    def start(self, run_name, folder):
        (folder / "started").write_text("x")
        raise ValueError(os.environ["LEAKED_WORDS"])

    def log(self, stage, step, values):
        pass

    def finish(self):
        pass


@hookimpl
def register_trackers(register):
    register(LeakingTracker)


@hookimpl
def register_experts(register):
    register(Leaking)


@hookimpl
def register_metrics(register):
    register(LeakingMetric)
'''


def install(folder: Path) -> Path:
    """Write the package into a folder that is to be on the path, as pip would, and return the folder."""
    about = folder / "leaking_package-1.dist-info"
    about.mkdir(parents=True)
    (folder / "leaking_package.py").write_text(_SOURCE)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: leaking-package\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[eagbench]\nleaking = leaking_package\n")
    (about / "RECORD").write_text("leaking_package.py,,\n")
    return folder
