"""A small tiny policy that knows the formats, made once for all tests of EAG-RL, and cases with a known driver."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from eagbench.api import LabelledCases, RecordText, RecordTextParams, StageRun, TrainingData
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from eagbench_plugins.policies.transformers_model import TransformersModel
from tests.builders import make_cases

TINY = TinyPolicy.Params(steps=110, hidden_dim=48, intermediate_dim=96, layers=2, batch_size=16, learning_rate=5e-3)


@dataclass(frozen=True)
class Prepared:
    """What the stages before EAG-RL's own left behind."""

    training: TrainingData
    fresh: LabelledCases
    inputs: dict[str, Any]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    labelled = make_cases(320, {"lactate": 3.0}, n_noise=3, n_times=3, missing=0.1, seed=3)
    training = TrainingData(labelled.select(range(100)), labelled.select(range(100, 120)))
    folders = {name: tmp_path_factory.mktemp(name) for name in ("policy", "record_text", "salience")}
    record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short"))
    record_text.fit(training.train.cases).save(folders["record_text"])
    TinyPolicy(TINY).prepare(training.train.cases, record_text, StageRun({}, {}, 0, folders["policy"]))
    (folders["policy"] / "policy.json").write_text(json.dumps({"name": "tiny", "params": TINY.model_dump(mode="json")}))
    weights = {"lactate": 0.7, "noise_0": 0.2, "noise_1": 0.06, "noise_2": 0.04}
    ids = list(training.train.cases.case_ids)
    table = {"case_id": ids, "probability": [0.5] * len(ids)}
    table |= {f"salience:{name}": [weight] * len(ids) for name, weight in weights.items()}
    pq.write_table(pa.table(table), folders["salience"] / "salience.parquet")
    return Prepared(training, labelled.select(range(120, 320)), {"training": training, **folders})


@pytest.fixture
def opened_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[weakref.ref[Any]]]:
    """The models opened to be trained, held by nobody here, while Python looks for no circles by itself."""
    opened: list[weakref.ref[Any]] = []
    real = TransformersModel.load

    def load(*args: Any, **options: Any) -> TransformersModel:
        model = real(*args, **options)
        opened.append(weakref.ref(model.model))
        return model

    monkeypatch.setattr(TransformersModel, "load", load)
    gc.collect()
    gc.disable()
    yield opened
    gc.enable()


@pytest.fixture
def trained_in() -> Iterator[set[torch.dtype]]:
    """The precisions in which linear layers computed while gradients were wanted."""
    found: set[torch.dtype] = set()

    def note(module: Any, given: Any, result: Any) -> None:
        if isinstance(module, torch.nn.Linear) and torch.is_grad_enabled():
            found.add(result.dtype)

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    yield found
    hook.remove()


def stage_run(out: Path, inputs: dict[str, Any], params: dict[str, Any], **changes: Any) -> StageRun:
    out.mkdir(parents=True, exist_ok=True)
    return StageRun(params=params, inputs=inputs, seed=changes.pop("seed", 0), out=out, **changes)
