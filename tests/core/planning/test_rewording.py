"""A condition that rewords prompts is refused where it could leave a prompt as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from eagbench.config.loading import load_benchmark
from eagbench.contracts.records import Reads
from eagbench.contracts.stages import ComponentUse
from eagbench.errors import UserError
from eagbench.planning.method_plan import PlannedMethod
from eagbench.planning.rewording import refuse_unworded
from eagbench.planning.stage_graph import StageGraph
from eagbench.registry.plugins import load_registry

BENCHMARK = """name: b
data: tjh
methods: [lightgbm]
metrics: [auroc]
conditions:
  - clean
  - {name: missing_values, severity: [0.5]}
  - {name: prompt_wording, as: reworded, severity: [1.0]}
"""
MINE = {"name": "mine", "format": "vanilla", "instruction": "Only <answer>0.00</answer>"}


def refuse(folder: Path, benchmark: str, reads: Reads, **params: Any) -> None:
    (folder / "b.yaml").write_text(benchmark)
    graph = StageGraph(load_benchmark(folder / "b.yaml"), load_registry())
    use = ComponentUse("method", "a", params, code="")
    refuse_unworded(graph, [PlannedMethod("asks", use, reads, ("methods", 0))])


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"style": MINE}, "'reworded' has no other words for the prompt 'mine' of the method 'asks'"),
        ({}, "'asks' does not say in which prompt it asks"),
        ({"style": "flat"}, "'asks' does not say in which prompt it asks"),
    ],
)
def test_a_prompt_that_could_stay_as_it_is_is_refused(tmp_path: Path, params: Any, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as error:
        refuse(tmp_path, BENCHMARK, "text", **params)
    assert error.value.where == f"{tmp_path / 'b.yaml'}:8"


def test_one_with_other_words_is_not(tmp_path: Path) -> None:
    refuse(tmp_path, BENCHMARK, "text", style="think_answer")


def test_nothing_is_asked_of_readers_of_columns_or_under_other_conditions(tmp_path: Path) -> None:
    refuse(tmp_path, BENCHMARK, "columns")
    refuse(tmp_path, BENCHMARK.replace("prompt_wording", "feature_synonyms"), "text")
