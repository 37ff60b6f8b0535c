"""Labelled cases with known drivers, a tiny policy that reads them, and an expert fitted on them: made once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from eagbench.api import LabelledCases, RecordText, RecordTextParams, StageRun, TrainingData, create_component
from eagbench.stages.salience import cross_fitted
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from tests.builders import make_cases

TINY = TinyPolicy.Params(steps=150, hidden_dim=64, intermediate_dim=64, layers=2, learning_rate=6e-3)
DRIVERS = {"lactate": 1.5, "ph": -1.0}
EXPERT = "logistic_regression"


@dataclass(frozen=True)
class Stages:
    """Training data, held-out cases without labels, and the folders of the stages on the training data."""

    data: TrainingData
    held_out: LabelledCases
    policy: Path
    record_text: Path
    expert: Path
    salience: Path

    @property
    def text(self) -> RecordText:
        return RecordText.load(self.record_text)


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    labelled = make_cases(260, DRIVERS, seed=3)
    data = TrainingData(labelled.select(range(160)), labelled.select(range(160, 200)))
    folder = {name: tmp_path_factory.mktemp(name) for name in ("policy", "record_text", "expert", "salience")}
    record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short"))
    record_text.fit(data.train.cases).save(folder["record_text"])
    TinyPolicy(TINY).prepare(data.train.cases, record_text, StageRun({}, {}, 0, folder["policy"]))
    (folder["policy"] / "policy.json").write_text(json.dumps({"name": "tiny", "params": TINY.model_dump(mode="json")}))
    expert = create_component({"kind": "expert", "name": EXPERT, "params": {}})
    expert.fit(data, StageRun({}, {}, 0, folder["expert"]))
    expert.save(folder["expert"])
    run = StageRun({"folds": 4}, {"training": data}, 0, folder["salience"], expert, expert.params)
    cross_fitted(run)
    return Stages(data, labelled.select(range(200, 260)), **folder)
