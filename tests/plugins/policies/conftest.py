"""One tiny policy on seeded cases, built once for all tests of policies."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from eagbench.api import Case, Cases, Feature, RecordText, RecordTextParams, StageRun, Task
from eagbench_plugins.policies.tiny.policy import TinyPolicy

FEATURES = ("heart_rate", "lactate", "ph", "glucose", "sodium", "creatinine")
TINY = TinyPolicy.Params(steps=200, hidden_dim=64, intermediate_dim=128, layers=2, batch_size=15)


def make_cases(n_cases: int, seed: int) -> Cases:
    rng = np.random.default_rng(seed)
    items = []
    for i in range(n_cases):
        values = rng.normal(10, 2, size=(3, len(FEATURES))).astype(np.float32)
        values[rng.random(values.shape) < 0.4] = np.nan
        static = {"age": float(rng.uniform(20, 90)), "sex": float(rng.integers(2))}
        items.append(Case(f"{seed}-{i}", f"{seed}-{i}", FEATURES, np.array([1.0, 20.0, 40.0]), values, static))
    features = tuple(Feature(name, name.replace("_", " "), "1", (-100, 100)) for name in FEATURES)
    task = Task("in_hospital_mortality", "die before leaving the hospital", "an intensive care physician", 48.0)
    return Cases(features, ("age", "sex"), task, tuple(items))


@dataclass(frozen=True)
class Prepared:
    """A policy folder, with what it was made from."""

    folder: Path
    training: Cases
    record_text: RecordText
    held_out: Cases


@pytest.fixture(scope="session")
def record_text() -> RecordText:
    params = RecordTextParams(values="quantile", periods=2, instructions="short")
    return RecordText(params).fit(make_cases(200, seed=1))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, record_text: RecordText) -> Prepared:
    folder = tmp_path_factory.mktemp("tiny")
    training = make_cases(200, seed=1)
    TinyPolicy(TINY).prepare(training, record_text, StageRun({}, {}, 0, folder))
    (folder / "policy.json").write_text(json.dumps({"name": "tiny", "params": TINY.model_dump(mode="json")}))
    return Prepared(folder, training, record_text, make_cases(60, seed=2))
