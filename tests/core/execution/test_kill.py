"""A real SIGKILL in the middle of a run: the next run takes it up and ends where an uninterrupted one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished

BENCHMARK = """\
name: killed
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.7, tuning: 0.1, held_out: 0.2}}
methods:
  - logistic_regression
  - {{name: concare, epochs: 6, patience: 6, hidden_dim: 8, periods: 4}}
metrics: [auroc, brier]
"""


@pytest.mark.slow
def test_a_killed_run_ends_like_an_uninterrupted_one(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]
) -> None:
    benchmark = tmp_path / "killed.yaml"
    benchmark.write_text(BENCHMARK.format(root=physionet_root))
    whole = run_command("run", benchmark, "--out", tmp_path / "whole", env={"EAGBENCH_STORE": str(tmp_path / "a")})
    assert whole.code == 0, whole.err

    store = tmp_path / "b"
    command = [sys.executable, "-m", "eagbench", "run", str(benchmark), "--out", str(tmp_path / "killed")]
    victim = subprocess.Popen(
        command, env={**os.environ, "EAGBENCH_STORE": str(store)}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not list(store.glob("expert/*.partial/checkpoints/*")):
        assert victim.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not (tmp_path / "killed").exists()

    resumed = run_command("run", benchmark, "--out", tmp_path / "killed", env={"EAGBENCH_STORE": str(store)})
    assert resumed.code == 0, resumed.err
    assert (tmp_path / "killed" / "results.csv").read_bytes() == (tmp_path / "whole" / "results.csv").read_bytes()
    log = [json.loads(line) for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    reused = {entry["kind"] for entry in log if entry["status"] == "reused"}
    assert {"cohort", "split"} <= reused  # finished before the kill, not done again
    assert not list(store.glob("*/*.partial"))


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, physionet_root: Path) -> None:
    benchmark = tmp_path / "killed.yaml"
    benchmark.write_text(BENCHMARK.format(root=physionet_root))
    store = tmp_path / "store"
    run = subprocess.Popen(
        [sys.executable, "-m", "eagbench", "run", str(benchmark), "--out", str(tmp_path / "out")],
        env={**os.environ, "EAGBENCH_STORE": str(store)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not list(store.glob("expert/*.partial/checkpoints/*")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "the same command takes up the work where it stopped" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()
