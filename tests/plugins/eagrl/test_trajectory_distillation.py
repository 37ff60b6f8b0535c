"""The method in a benchmark: what is refused while planning, and a whole run from YAML, from record to prediction."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from eagbench.api import StageRun
from eagbench.stages.cohort_files import read_cases
from eagbench_plugins.eagrl.trajectory_distillation import TrajectoryDistillation

METHOD = {
    "name": "trajectory_distillation",
    "expert": "logistic_regression",
    "search": "best_of_n",
    "reward": "eag",
    "token_budget": 150,
    "max_new_tokens": 100,
    "max_training_cases": 24,
    "sft": {"steps": 8},
}


@pytest.fixture
def benchmark_file(tmp_path: Path, physionet_root: Path, store_folder: Path) -> Callable[..., Path]:
    """Writes a benchmark with the method above, changed as asked."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "benchmark.yaml"
        tree = {
            "name": "distilled",
            "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
            "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2, "seed": 0},
            "policy": {"name": "tiny", "steps": 100, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2},
            "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
            "answer": "expectation",
            "methods": [{**METHOD, **changes}],
            "metrics": ["auroc", "unparsed_rate"],
        }
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expert": None}, "the reward 'eag' compares with an expert, and the method has none"),
        ({"expert": None, "reward": "brier", "search": "expert_mcts"}, "the search 'expert_mcts' compares with"),
        ({"search": "mcts", "style": "vanilla"}, "the search 'mcts' goes step by step, and the style 'vanilla'"),
        ({"reward": {"name": "eag", "preset": "paper", "wieght": 0.5}}, "wieght"),
        ({"reward": {"name": "eag", "preset": "released_code", "weight": 0.5}}, "weight belongs to the preset"),
        (
            {"expert": None, "search": "best_of_n", "reward": "brier", "answer_target": "expert"},
            "the answers are to aim at the expert's probability, and the method has no expert",
        ),
        ({"style": "vanilla", "bare_answers": True}, "answers in the format 'vanilla' have none"),
        ({"search": "best_of_m"}, "did you mean 'best_of_n'"),
        ({"sft": {"stepz": 3}}, "stepz"),
    ],
)
def test_what_can_not_work_is_refused_while_planning(cli, benchmark_file, changes: dict, message: str) -> None:
    done = cli("plan", benchmark_file(**changes))
    assert done.code == 2, done.err
    assert message in done.err


def test_without_an_expert_there_is_no_salience_stage(cli, benchmark_file) -> None:
    assert "salience" in cli("plan", benchmark_file()).out
    done = cli("plan", benchmark_file(expert=None, reward="brier", style="vanilla"))
    assert done.code == 0, done.err
    assert "salience" not in done.out
    assert "trajectories" in done.out


@pytest.mark.slow  # test_eag_rl.py runs both stages in the first step
def test_a_whole_run_and_prediction_without_any_expert(cli, benchmark_file, store_folder: Path, tmp_path: Path) -> None:
    done = cli("run", benchmark_file(), "--out", tmp_path / "run")
    assert done.code == 0, done.err
    results = pd.read_csv(tmp_path / "run" / "results.csv")
    assert set(results[results.metric == "auroc"].status) == {"ok"}
    (predicted,) = store_folder.glob("predict/*/predictions.parquet")
    stored = {row["case_id"]: row["probability"] for row in pq.read_table(predicted).to_pylist()}

    for kind in ("salience", "expert", "trajectories", "predict", "score"):
        shutil.rmtree(store_folder / kind, ignore_errors=True)
    folders = {kind: next(p for p in (store_folder / kind).iterdir() if p.is_dir()) for kind in ("sft", "record_text")}
    cases = read_cases(next(p for p in (store_folder / "cohort").iterdir() if p.is_dir()))
    cases = cases.with_items([case for case in cases if case.case_id in stored])
    method: Any = TrajectoryDistillation(TrajectoryDistillation.Params.model_validate(_without_name(METHOD)))
    inputs = {"policy": folders["sft"], "record_text": folders["record_text"]}
    params = {"answer": {"mode": "expectation"}, "attention": False}
    again = method.predict(cases, StageRun(params, inputs, 0, tmp_path))
    assert {p.case_id: p.probability for p in again} == pytest.approx(stored, abs=1e-5)


def _without_name(method: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in method.items() if key != "name"}
