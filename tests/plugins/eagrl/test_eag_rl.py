"""EAG-RL and its baselines in a benchmark: presets, ablations, what is shared, and prediction without any expert."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from eagbench.api import StageRun
from eagbench.config.loading import load_benchmark
from eagbench.contracts.stages import StageNode, StageOutput
from eagbench.execution.store import Store
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry
from eagbench.runs.verify.verify import verify
from eagbench.stages.cohort_files import read_cases
from eagbench_plugins.eagrl.eag_rl import EAGRL
from eagbench_plugins.eagrl.grpo import DAPO, GRPO

SMALL = {
    "expert": "logistic_regression",
    "search": "best_of_n",
    "token_budget": 200,
    "max_new_tokens": 100,
    "max_training_cases": 40,
    "sft": {"steps": 20},
}
STAGE_TWO = {"steps": 2, "cases": 4, "group_size": 4, "passes": 2, "mini_batches": 1}


@pytest.fixture
def benchmark_file(tmp_path: Path, physionet_root: Path, store_folder: Path) -> Callable[..., Path]:
    """Writes a benchmark of methods, each a change of a small `eag_rl`."""

    def write(*changes: dict[str, Any]) -> Path:
        path = tmp_path / "benchmark.yaml"
        base = {"name": "eag_rl", **SMALL, "policy_optimisation": STAGE_TWO}
        tree = {
            "name": "two_stages",
            "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
            "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2, "seed": 0},
            "policy": {"name": "tiny", "steps": 120, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2},
            "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
            "answer": "expectation",
            "methods": [{"as": f"method_{i}", **base, **change} for i, change in enumerate(changes)],
            "metrics": ["auroc", "unparsed_rate"],
        }
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.fixture
def planned(benchmark_file: Callable[..., Path], tmp_path: Path) -> Callable[..., Plan]:
    def plan(*changes: dict[str, Any]) -> Plan:
        store = Store.open(tmp_path / "store")
        return make_plan(load_benchmark(benchmark_file(*changes)), load_registry(), store)

    return plan


def answering(plan: Plan, method: int = 0) -> StageNode:
    """The stage whose policy answers."""
    (label,) = {cell.method for cell in plan.cells if cell.method == f"method_{method}"}
    cell = next(cell for cell in plan.cells if cell.method == label)
    return _stage(cell.folds[0].predict, "policy")


def _stage(node: StageNode, name: str) -> StageNode:
    value = node.inputs[name]
    assert isinstance(value, StageOutput)
    return value.stage


# Presets and defaults


def test_the_presets() -> None:
    paper, released, calibrated = (
        EAGRL.Params.model_validate({"preset": name}) for name in ("paper", "released_code", "calibrated")
    )
    assert paper == EAGRL.Params()
    assert paper.reward == "eag"
    assert paper.policy_optimisation is not None
    assert paper.policy_optimisation.standardise_advantages
    assert paper.policy_optimisation.adaptive_clipping
    assert paper.policy_optimisation.reward is None
    assert released.reward == {"name": "eag", "preset": "released_code"}
    assert calibrated.reward == "eag"
    assert calibrated.policy_optimisation is not None
    assert not calibrated.policy_optimisation.standardise_advantages
    assert calibrated.policy_optimisation.reward == "brier"


def test_what_is_given_counts_more_than_a_preset() -> None:
    given = {"preset": "calibrated", "policy_optimisation": {"reward": "classification", "steps": 7}}
    stage_two = EAGRL.Params.model_validate(given).policy_optimisation
    assert stage_two is not None
    assert (stage_two.reward, stage_two.steps, stage_two.standardise_advantages) == ("classification", 7, False)
    assert (
        EAGRL.Params.model_validate({"preset": "calibrated", "policy_optimisation": None}).policy_optimisation is None
    )


@pytest.mark.parametrize("given", [{"preset": "calibrated"}, {"preset": "released_code", "policy_optimisation": None}])
def test_validated_parameters_are_validated_again_to_the_same(given: dict[str, Any]) -> None:
    params = EAGRL.Params.model_validate(given)
    assert EAGRL.Params.model_validate(params.model_dump(mode="json")) == params


def test_grpo_and_dapo_differ_and_neither_clips_adaptively() -> None:
    grpo, dapo = GRPO.Params.model_validate({}).policy_optimisation, DAPO.Params.model_validate({}).policy_optimisation
    assert grpo is not None
    assert dapo is not None
    assert not grpo.adaptive_clipping
    assert not dapo.adaptive_clipping
    assert (grpo.loss, grpo.epsilon_high, grpo.drop_truncated) == ("grpo", 0.2, False)
    assert (dapo.loss, dapo.epsilon_high, dapo.drop_truncated, dapo.beta) == ("dapo", 0.28, True, 0.0)
    assert (grpo.resample_rounds, dapo.resample_rounds) == (0, 3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "papper"}, "calibrated"),
        ({"stage_one": False, "policy_optimisation": None}, "nothing is trained"),
        ({"policy_optimisation": {"stepz": 3}}, "stepz"),
        ({"policy_optimisation": {"passes": 1, "mini_batches": 1}}, "no clip can act"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EAGRL.Params.model_validate(given)


# The plan


def test_methods_share_stage_one(planned: Callable[..., Plan]) -> None:
    plan = planned(
        {},
        {"preset": "calibrated"},
        {"policy_optimisation": {**STAGE_TWO, "adaptive_clipping": False}},
        {"name": "grpo"},
        {"name": "dapo"},
        {"policy_optimisation": None},
    )
    assert len([node for node in plan.nodes if node.kind == "sft"]) == 1
    optimised = [answering(plan, i) for i in range(5)]
    assert {node.kind for node in optimised} == {"policy_optimisation"}
    # eag_rl without adaptive clipping is grpo, and nothing else is anything else.
    assert optimised[2] is optimised[3]
    assert len({node.fingerprint for node in optimised}) == 4
    assert answering(plan, 5).kind == "sft"


def test_the_ablations(planned: Callable[..., Plan]) -> None:
    plan = planned(
        {"stage_one": False},
        {"policy_optimisation": None},
        {"reward": "classification", "search": "mcts", "expert": None},
        {"policy_optimisation": {**STAGE_TWO, "adaptive_clipping": False}},
    )
    without_one, without_two, without_attention, fixed = (answering(plan, i) for i in range(4))
    assert _stage(without_one, "policy").kind == "policy"
    assert without_two.kind == "sft"
    assert "salience" not in without_attention.inputs
    assert without_attention.params["reward"]["name"] == "classification"
    assert not fixed.params["optimisation"]["adaptive_clipping"]
    assert _stage(fixed, "policy").kind == "sft"
    assert _stage(fixed, "salience").kind == "salience"


def test_a_reward_of_stage_two_that_needs_no_expert_gets_none(planned: Callable[..., Plan]) -> None:
    node = answering(planned({"preset": "calibrated"}))
    assert node.params["reward"]["name"] == "brier"
    assert "salience" not in node.inputs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expert": None, "stage_one": False}, "the reward 'eag' compares with an expert, and the method has none"),
        ({"policy_optimisation": {"reward": "briar"}}, "did you mean 'brier'"),
        ({"policy_optimisation": {"passes": 1, "mini_batches": 1}}, "no clip can act"),
    ],
)
def test_what_can_not_work_is_refused_while_planning(cli, benchmark_file, changes: dict, message: str) -> None:
    done = cli("plan", benchmark_file(changes))
    assert done.code == 2, done.err
    assert message in done.err


# A whole run


def test_a_whole_run_and_prediction_without_any_expert(cli, benchmark_file, store_folder: Path, tmp_path: Path) -> None:
    done = cli("run", benchmark_file({}), "--out", tmp_path / "run")
    assert done.code == 0, done.err
    results = pd.read_csv(tmp_path / "run" / "results.csv")
    assert set(results[results.metric == "auroc"].status) == {"ok"}
    costs = pd.read_csv(tmp_path / "run" / "costs.csv")
    assert "policy_optimisation" in costs.to_string()
    (predicted,) = store_folder.glob("predict/*/predictions.parquet")
    stored = {row["case_id"]: row["probability"] for row in pq.read_table(predicted).to_pylist()}
    (curves,) = store_folder.glob("policy_optimisation/*/curves.jsonl")
    assert [json.loads(line)["step"] for line in curves.read_text().splitlines()] == [1, 2]

    for kind in ("salience", "expert", "trajectories", "sft", "policy", "predict", "score"):
        shutil.rmtree(store_folder / kind, ignore_errors=True)
    wider = ("--set", "conditions=[clean, {name: missing_values, severity: [0.3]}]")
    planned = cli("plan", benchmark_file({}), *wider)
    assert planned.out.count("not needed: what was made from it is in the store") == 4
    done = cli("run", benchmark_file({}), *wider, "--out", tmp_path / "wider")
    assert done.code == 0, done.err
    log = [json.loads(line) for line in (tmp_path / "wider" / "log.jsonl").read_text().splitlines()]
    kinds: dict[str, set[str]] = {}
    for entry in log:
        kinds.setdefault(entry["status"], set()).add(entry["kind"])
    assert kinds["computed"] == {"predict", "score"}
    assert kinds["not_needed"] == {"salience", "trajectories", "sft", "policy"}
    assert not (store_folder / "salience").exists()
    wide = pd.read_csv(tmp_path / "wider" / "results.csv")
    assert set(wide[wide.metric == "auroc"].status) == {"ok"}
    assert wide[wide.condition == "missing_values"].value.notna().sum() == len(results)
    pd.testing.assert_frame_equal(wide[wide.condition == "clean"].reset_index(drop=True), results)
    assert verify(tmp_path / "wider").passed
    shutil.rmtree(store_folder / "predict")
    folders = {
        kind: next(p for p in (store_folder / kind).iterdir() if p.is_dir())
        for kind in ("policy_optimisation", "record_text", "cohort")
    }
    cases = read_cases(folders["cohort"])
    cases = cases.with_items([case for case in cases if case.case_id in stored])
    method = EAGRL(EAGRL.Params.model_validate({**SMALL, "policy_optimisation": STAGE_TWO}))
    inputs = {"policy": folders["policy_optimisation"], "record_text": folders["record_text"]}
    again = method.predict(
        cases, StageRun({"answer": {"mode": "expectation"}, "attention": False}, inputs, 0, tmp_path)
    )
    assert {p.case_id: p.probability for p in again} == pytest.approx(stored, abs=1e-5)
