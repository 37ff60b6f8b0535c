"""Every built-in policy keeps the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from eagbench.api import RecordText, RecordTextParams, StageRun
from eagbench.testing import PolicyConformance, labelled_cases
from eagbench_plugins.policies.hf import HuggingFacePolicy
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from tests.built_in import built_in

# Barely pre-trained: what it writes is nonsense, and keeps the contract all the same.
TINY = {"steps": 6, "hidden_dim": 32, "intermediate_dim": 32, "layers": 1, "heads": 2}
# These need a server and are tested with one.
ELSEWHERE = {"openai": "tests/plugins/policies"}


def test_every_policy_is_tested() -> None:
    tested = {TestTiny.component.name, TestHuggingFace.component.name}
    assert {component.name for component in built_in("policy")} - set(ELSEWHERE) == tested


class TestTiny(PolicyConformance):
    component = TinyPolicy
    params: ClassVar[Mapping[str, Any]] = TINY


class TestHuggingFace(PolicyConformance):
    component = HuggingFacePolicy

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
        folder: Path = tmp_path_factory.mktemp("model")
        cases = labelled_cases(40, seed=1).cases
        record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
        TinyPolicy(TinyPolicy.Params(**TINY)).prepare(cases, record_text, StageRun({}, {}, 0, folder))
        return {"path": str(folder), "dtype": "float32"}
