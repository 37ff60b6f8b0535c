"""A secret is no part of what is computed: the same benchmark with another key is the same stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from eagbench.config.loading import LoadedBenchmark, load_benchmark
from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.planning.stage_graph import StageGraph
from eagbench.registry.plugins import load_registry

BENCHMARK = """
name: small
data: physionet2012
methods: [logistic_regression]
metrics: [auroc]
"""
OPENAI = {"base_url": "http://127.0.0.1:8000/v1", "model": "m"}


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedBenchmark:
    path = tmp_path / "b.yaml"
    path.write_text(BENCHMARK)
    return load_benchmark(path)


def test_a_stage_gets_its_secret_and_its_fingerprint_does_not(loaded: LoadedBenchmark) -> None:
    def stage(key: str, model: str = "m") -> StageNode:
        graph = StageGraph(loaded, load_registry())
        params = {"model": model, "login": {"api_key": key}}
        return graph.add(StageNode("split", "split", "eagbench.stages.split:assign", params, {}))

    one, other = stage("first-key"), stage("second-key")
    assert one.fingerprint == other.fingerprint != stage("first-key", model="n").fingerprint
    assert "first-key" not in str(one.params)
    assert {**one.params, **one.locations} == {"model": "m", "login": {"api_key": "first-key"}}


def test_a_component_gets_its_secret_and_its_identity_does_not(loaded: LoadedBenchmark) -> None:
    given = {"root": "x", "task": "death", "outcome": "die", "citation": "postgresql://ann:battery@host/db"}
    use = StageGraph(loaded, load_registry()).use("dataset", "long_csv", given, ("data",))
    assert "battery" not in str(use.identity())
    assert {**use.params, **use.locations}["citation"] == given["citation"]


def test_a_policy_with_a_secret_is_refused_because_its_folder_would_hold_it(loaded: LoadedBenchmark) -> None:
    graph = StageGraph(loaded, load_registry())
    graph.use("policy", "openai", {**OPENAI, "api_key_env": "MY_KEY"}, ("policy",))
    with pytest.raises(UserError, match="'extra' holds a secret") as raised:
        graph.use("policy", "openai", {**OPENAI, "extra": {"api_key": "battery"}}, ("policy",))
    assert "battery" not in raised.value.message
