"""Whole runs: every baseline from YAML to results, and what stands behind its predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from eagbench.config.loading import load_benchmark
from eagbench.contracts.stages import CasesInput, LabelsInput, StageNode, StageOutput, TrainingInput, closure
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry
from eagbench.runs.verify.verify import verify

EXPERT = "logistic_regression"
METHODS = [
    EXPERT,
    {"name": "few_shot", "as": "few_shot_random", "shots": 2},
    {
        "name": "few_shot", "as": "few_shot_nearest", "selection": "nearest", "with_expert": "probability",
        "expert": EXPERT, "shots": 2,
    },
    {"name": "hybrid_prompt", "expert": {"name": EXPERT, "inverse_penalty": 0.01}},
    {"name": "hybrid_embedding", "expert": EXPERT},
    {"name": "hybrid_prior", "periods": 6},
    "text_tfidf",
    "text_embedding",
]  # fmt: skip
LABELS = [method if isinstance(method, str) else method.get("as", method["name"]) for method in METHODS]


@pytest.fixture(scope="module")
def benchmark_file(tmp_path_factory: pytest.TempPathFactory, physionet_root: Path) -> Path:
    tree = {
        "name": "frozen",
        "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
        "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2, "seed": 0},
        "policy": {"name": "tiny", "steps": 60, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2},
        "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
        "answer": "expectation",
        "methods": METHODS,
        "conditions": ["clean", {"name": "feature_order", "severity": [1.0]}],
        "metrics": ["auroc", "brier", "unparsed_rate"],
        "intervals": {"resamples": 100},
    }
    path = tmp_path_factory.mktemp("benchmark") / "benchmark.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def plan(benchmark_file: Path) -> Plan:
    return make_plan(load_benchmark(benchmark_file), load_registry(), Store.open(benchmark_file.parent / "store"))


def test_every_baseline_runs_and_is_verified(cli, benchmark_file: Path, store_folder: Path, tmp_path: Path) -> None:
    done = cli("run", benchmark_file, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    results = pd.read_csv(tmp_path / "run" / "results.csv").query("seed == 'mean'")
    results = results.set_index(["method", "condition", "metric"])
    for label in LABELS:
        for condition in ("clean", "feature_order"):
            assert results.status[label, condition, "auroc"] == "ok"
    for label in ("hybrid_embedding", "hybrid_prior", "text_tfidf", "text_embedding", EXPERT):
        assert results.value[label, "clean", "unparsed_rate"] == 0
        assert results.value[label, "clean", "auroc"] > 0.6
    findings = verify(tmp_path / "run")
    assert findings.passed, findings.problems
    # Columns are found by name: the order in which a record lists them is nothing to an expert.
    rows = pq.read_table(tmp_path / "run" / "predictions" / "hybrid_prior.parquet").to_pandas()
    clean, shuffled = (
        rows[rows.condition == condition].set_index("case_id").probability.sort_index()
        for condition in ("clean", "feature_order")
    )
    np.testing.assert_array_equal(clean, shuffled)


def predict_of(plan: Plan, label: str) -> StageNode:
    return next(node for node in plan.nodes if node.kind == "predict" and node.label.startswith(f"{label}, "))


def upstream(node: StageNode) -> dict[str, StageNode]:
    return {name: value.stage for name, value in node.inputs.items() if isinstance(value, StageOutput)}


@pytest.mark.parametrize(("label", "stage"), [("few_shot_nearest", "examples"), ("hybrid_embedding", "head")])
def test_what_feeds_another_model_is_cross_fitted(plan: Plan, label: str, stage: str) -> None:
    node = upstream(predict_of(plan, label))[stage]
    assert isinstance(node.inputs["training"], TrainingInput)
    kinds = {name: up.kind for name, up in upstream(node).items()}
    assert kinds["salience"] == "salience"
    # The expert that was fitted on these very cases has no way into the stage.
    assert "expert" not in kinds.values()
    salience = upstream(node)["salience"]
    assert salience.component is not None
    assert (salience.component.name, salience.params) == (EXPERT, {"folds": 5})


def test_only_prediction_sees_held_out_cases_and_nothing_their_labels(plan: Plan) -> None:
    for node in plan.nodes:
        held_out = [v for v in node.inputs.values() if isinstance(v, CasesInput) and v.part == "held_out"]
        labels = [v for v in node.inputs.values() if isinstance(v, LabelsInput)]
        assert (not held_out) or node.kind == "predict"
        assert (not labels) or node.kind in {"score", "references"}


def test_what_is_there_at_prediction(plan: Plan) -> None:
    inputs = {label: set(predict_of(plan, label).inputs) - {"cases"} for label in LABELS[1:]}
    assert inputs == {
        "few_shot_random": {"policy", "record_text", "examples"},
        "few_shot_nearest": {"policy", "record_text", "examples", "expert"},
        "hybrid_prompt": {"policy", "record_text", "expert"},
        "hybrid_embedding": {"policy", "record_text", "expert", "head"},
        "hybrid_prior": {"expert"},
        "text_tfidf": {"record_text", "words"},
        "text_embedding": {"policy", "record_text", "head"},
    }
    # One policy and one expert for all; the same expert by another spelling is the same stage.
    assert len([node for node in plan.nodes if node.kind == "policy"]) == 1
    assert len([node for node in plan.nodes if node.kind == "expert"]) == 1
    # Two methods read the policy's embedding of the training cases.
    assert len([node for node in plan.nodes if node.kind == "embedding"]) == 1


def test_what_reads_text_alone_has_no_expert_behind_it(plan: Plan) -> None:
    for label in ("text_tfidf", "text_embedding"):
        kinds = {node.kind for node in closure([predict_of(plan, label)])}
        assert not kinds & {"expert", "salience"}
        assert ("policy" in kinds) is (label == "text_embedding")


def test_an_unknown_expert_is_refused_while_planning(cli, benchmark_file: Path, tmp_path: Path) -> None:
    tree = yaml.safe_load(benchmark_file.read_text())
    tree["methods"] = [{"name": "hybrid_embedding", "expert": "logistic_regresion"}]
    (tmp_path / "misspelt.yaml").write_text(yaml.safe_dump(tree))
    done = cli("plan", tmp_path / "misspelt.yaml")
    assert done.code == 2
    assert "did you mean 'logistic_regression'" in done.err
