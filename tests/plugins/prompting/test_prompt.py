"""The method `prompt`: opens what its stages made, answers, and counts its tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from eagbench.api import Case, Cases, Feature, RecordText, RecordTextParams, StageRun, Task
from eagbench.config.loading import load_benchmark
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry
from eagbench.runs.verify.verify import verify
from eagbench_plugins.policies.tiny.policy import TinyPolicy
from eagbench_plugins.prompting.prompt import Prompt

FEATURES = ("heart_rate", "lactate", "ph")


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The folders of the stages `policy` and `record_text`, and cases to predict."""
    rng = np.random.default_rng(0)
    items = tuple(
        Case(
            f"c{i}",
            f"c{i}",
            FEATURES,
            np.array([1.0]),
            rng.normal(size=(1, 3)).astype(np.float32),
            {"age": 50, "sex": 1},
        )
        for i in range(40)
    )
    task = Task("mortality", "die", "a physician", 24.0)
    cases = Cases(tuple(Feature(n, n, "1", (-9, 9)) for n in FEATURES), ("age", "sex"), task, items)
    record_text = RecordText(RecordTextParams(values="quantile", periods=1, instructions="short")).fit(cases)
    text_folder, policy_folder = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("policy")
    record_text.save(text_folder)
    params = TinyPolicy.Params(steps=150, hidden_dim=64, intermediate_dim=64, layers=2, batch_size=15)
    TinyPolicy(params).prepare(cases, record_text, StageRun({}, {}, 0, policy_folder))
    (policy_folder / "policy.json").write_text(json.dumps({"name": "tiny", "params": params.model_dump(mode="json")}))
    return {"policy": policy_folder, "record_text": text_folder, "cases": cases}


def _predict(stages, out: Path, answer: object, seed: int = 0, attention: bool = False):
    run = StageRun(
        {"answer": answer, "attention": attention}, {k: stages[k] for k in ("policy", "record_text")}, seed, out
    )
    return Prompt(Prompt.Params(max_new_tokens=100)).predict(stages["cases"], run), run


def test_it_answers_every_case_in_the_benchmarks_mode(stages, tmp_path: Path) -> None:
    predictions, run = _predict(stages, tmp_path, {"mode": "mean_of_n", "samples": 3})
    assert [p.case_id for p in predictions] == list(stages["cases"].case_ids)
    assert {p.answer_mode for p in predictions} == {"mean_of_n"}
    assert {len(p.trajectories) for p in predictions} == {3}
    written = sum(t.generated_tokens for p in predictions for t in p.trajectories)
    assert run.costs == {"generated_tokens": written}
    assert np.mean([p.probability is None for p in predictions]) < 0.2


@pytest.mark.parametrize("answer", [{"mode": "mean_of_n", "samples": 2}, {"mode": "expectation"}])
def test_attention_is_measured_on_the_first_text_if_asked(stages, tmp_path: Path, answer: dict) -> None:
    plain = _predict(stages, tmp_path, answer)[0]
    measured = _predict(stages, tmp_path, answer, attention=True)[0]
    first = [p.trajectories[0] for p in measured]
    attentions = [trajectory.attention for trajectory in first]
    assert [a is not None for a in attentions] == ["<Final answer>" in trajectory.text for trajectory in first]
    assert np.mean([a is None for a in attentions]) < 0.5
    assert all(set(a) == set(FEATURES) and sum(a.values()) == pytest.approx(1) for a in attentions if a is not None)
    assert all(t.attention is None for p in measured for t in p.trajectories[1:])
    assert all(t.attention is None for p in plain for t in p.trajectories)
    assert [p.probability for p in measured] == [p.probability for p in plain]


def test_a_run_with_alignment_beyond_chance_is_verified(
    cli, physionet_root: Path, store_folder: Path, tmp_path: Path
) -> None:
    metrics = [
        "auroc", "citation_jaccard", "cited_features", "alignment_over_constant", "alignment_over_other_patient",
        "attention_mass", "attention_mass_over_other_patient",
    ]  # fmt: skip
    tree = {
        "name": "attention",
        "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
        "split": {"tuning": 0.2, "folds": 2},
        "policy": {
            "name": "tiny",
            "steps": 150,
            "hidden_dim": 64,
            "intermediate_dim": 64,
            "layers": 2,
            "learning_rate": 6e-3,
        },
        "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
        "answer": "expectation",
        "reference_expert": "logistic_regression",
        "methods": ["logistic_regression", {"name": "prompt", "max_new_tokens": 120}],
        "metrics": metrics,
    }
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(tree))
    done = cli("run", tmp_path / "b.yaml", "--out", tmp_path / "run")
    assert done.code == 0, done.err
    results = pd.read_csv(tmp_path / "run" / "results.csv").query("seed == 'mean'").set_index(["method", "metric"])
    assert set(results.loc["prompt"].loc[metrics].status) == {"ok"}
    assert set(results.loc["logistic_regression"].loc[metrics[1:]].status) == {"undefined"}
    assert 0 < results.value["prompt", "attention_mass"] < 1
    # The untrained policy looks at no patient's features more than at another's.
    assert abs(results.value["prompt", "attention_mass_over_other_patient"]) < 0.02

    rows = pq.read_table(tmp_path / "run" / "predictions" / "prompt.parquet").to_pylist()
    constants = {row["fold"]: tuple(row["constant_features"]) for row in rows}
    assert set(constants) == {0, 1}
    for row in rows:
        assert tuple(row["constant_features"]) == constants[row["fold"]]
        salience = dict(row["teacher_salience"])
        assert set(row["teacher_features"]) <= set(salience)
        assert row["attention"] is None or set(dict(row["attention"])) == set(salience)
    cells = pq.read_table(tmp_path / "run" / "predictions" / "logistic_regression.parquet")
    assert cells["attention"].null_count == cells["teacher_salience"].null_count == len(cells)
    findings = verify(tmp_path / "run")
    assert findings.passed, findings.problems

    # Without the metrics that need it nothing is measured, and without a reference expert nobody could read it.
    for change in ("metrics=[auroc, citation_jaccard]", "reference_expert=null"):
        planned = make_plan(
            load_benchmark(tmp_path / "b.yaml", sets=[change]), load_registry(), Store.open(tmp_path / "other")
        )
        asked = {node.params["attention"] for node in planned.nodes if node.kind == "predict" and node.params}
        assert asked == {False}


def test_seed_decides_the_samples(stages, tmp_path: Path) -> None:
    answer = {"mode": "mean_of_n", "samples": 2}
    first = _predict(stages, tmp_path, answer)[0]
    assert _predict(stages, tmp_path, answer)[0] == first
    assert _predict(stages, tmp_path, answer, seed=1)[0] != first


def test_stages_are_the_policy_and_the_record_text() -> None:
    class Plan:
        def policy(self) -> str:
            return "policy node"

        def record_text(self) -> str:
            return "record text node"

    assert Prompt(Prompt.Params()).stages(Plan()) == {"policy": "policy node", "record_text": "record text node"}


def test_an_unknown_style_is_refused_while_planning() -> None:
    with pytest.raises(ValidationError, match="question_decomposition"):
        Prompt.Params(style="chain_of_thought")
