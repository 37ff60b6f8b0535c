"""A stage computes with the threads that its benchmark declares, whatever the environment says."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from threadpoolctl import threadpool_info

from eagbench.config.loading import load_benchmark
from eagbench.execution.store import Store
from eagbench.execution.threads import limited_threads
from eagbench.planning.make_plan import make_plan
from eagbench.registry.plugins import load_registry
from tests.conftest import Finished
from tests.reliability.run_folders import differences

TREE = {
    "name": "threads",
    "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2},
    "policy": {"name": "tiny", "steps": 20, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2},
    "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
    "answer": "expectation",
    "methods": [
        "logistic_regression",
        {"name": "lightgbm", "n_estimators": 20},
        {"name": "sft", "max_training_cases": 40, "sft": {"steps": 5}},
    ],
    "metrics": ["auroc", "brier"],
    "intervals": {"resamples": 100},
}


def library_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info()}


def test_loaded_libraries_and_those_to_come_have_the_declared_number(monkeypatch: pytest.MonkeyPatch) -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    before = (torch.get_num_threads(), sorted((p["filepath"], p["num_threads"]) for p in threadpool_info()))
    for n_threads in (2, 1):
        with limited_threads(n_threads):
            assert torch.get_num_threads() == n_threads
            assert library_threads() == {n_threads}
            assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == (str(n_threads),) * 2
    after = (torch.get_num_threads(), sorted((p["filepath"], p["num_threads"]) for p in threadpool_info()))
    assert after == before
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_another_number_is_another_stage_but_no_other_cohort(
    tmp_path: Path, physionet_root: Path, store_folder: Path
) -> None:
    path = tmp_path / "threads.yaml"
    path.write_text(yaml.safe_dump({**TREE, "data": {"name": "physionet2012", "root": str(physionet_root)}}))
    store = Store.open()

    def stages(*sets: str) -> set[tuple[str, str]]:
        plan = make_plan(load_benchmark(path, sets=sets), load_registry(), store)
        return {(node.kind, node.fingerprint) for node in plan.nodes}

    assert stages() == stages("threads=1")
    assert {kind for kind, _ in stages() & stages("threads=2")} == {"cohort", "split"}


@pytest.mark.slow
def test_a_variable_changes_no_byte(tmp_path: Path, shared_data: Path, run_command: Callable[..., Finished]) -> None:
    path = tmp_path / "threads.yaml"
    path.write_text(yaml.safe_dump({**TREE, "data": {"name": "tjh", "root": str(shared_data / "tjh")}}))
    for given in ("1", "2", ""):  # OpenMP takes an empty one for none
        env = {"EAGBENCH_STORE": str(tmp_path / f"store{given}"), "OMP_NUM_THREADS": given}
        done = run_command("run", path, "--limit", 150, "--workers", 2, "--out", tmp_path / f"out{given}", env=env)
        assert done.code == 0, done.err
    for given in ("2", ""):
        assert differences(tmp_path / f"out{given}", tmp_path / "out1") == []
