"""Real SIGKILLs in search, fine-tuning and Stage II: the run ends as an unbroken one does, and repeats nothing."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

BATCH = 8  # cases that are searched together; there are three times as many
SFT_EVERY, STAGE_TWO_EVERY = 10, 2  # optimisation steps between checkpoints
METHOD = {
    "name": "eag_rl",
    "expert": "logistic_regression",
    "search": {"name": "expert_mcts", "parallel": 2},
    "token_budget": 400,
    "max_new_tokens": 100,
    "max_training_cases": 3 * BATCH,
    "batch_cases": BATCH,
    "sft": {"steps": 4 * SFT_EVERY, "checkpoint_every": SFT_EVERY},
    "policy_optimisation": {
        "steps": 4,
        "cases": 4,
        "group_size": 4,
        "passes": STAGE_TWO_EVERY,
        "mini_batches": 1,
        "checkpoint_every": 1,
    },
}


class KillableRun:
    """`eagbench run`, in one process after another, with one store and one run folder.

    Attributes:
        store: The store.
        out: The run folder.
        checkpoints: (stage, step, time) of the trainers' checkpoints that the last process was seen to write.
    """

    def __init__(self, benchmark: Path, folder: Path) -> None:
        folder.mkdir()
        self.store, self.out = folder / "store", folder / "run"
        self.checkpoints: set[tuple[str, int, int]] = set()
        self._command = [sys.executable, "-m", "eagbench", "run", str(benchmark), "--out", str(self.out)]
        self._printed = folder / "printed.txt"

    def kill_when(self, reached: Callable[[], bool]) -> None:
        """Starts a process and kills it as soon as it is so far."""
        process = self._watch(reached)
        assert process.poll() is None, f"it ended before it could be killed\n{self._printed.read_text()}"
        process.send_signal(signal.SIGKILL)
        process.wait()

    def finish(self) -> None:
        """Starts a process and lets it end."""
        assert self._watch(lambda: False).returncode == 0, self._printed.read_text()

    def _watch(self, reached: Callable[[], bool]) -> subprocess.Popen[bytes]:
        old = self._complete_checkpoints()
        self.checkpoints = set()
        with self._printed.open("a") as printed:
            environment = {**os.environ, "EAGBENCH_STORE": str(self.store)}
            process = subprocess.Popen(self._command, env=environment, stdout=printed, stderr=printed)
        deadline = time.monotonic() + 600
        while process.poll() is None and not reached():
            assert time.monotonic() < deadline
            self.checkpoints |= self._complete_checkpoints() - old
            time.sleep(0.005)
        return process

    def _complete_checkpoints(self) -> set[tuple[str, int, int]]:
        found = set()
        for path in self.store.glob("*/*.partial/checkpoints/checkpoint-*/trainer_state.json"):
            with contextlib.suppress(FileNotFoundError):  # the trainer keeps no more than the last one
                found.add((path.parts[-5], int(path.parts[-2].partition("-")[2]), path.stat().st_mtime_ns))
        return found

    def begun(self, stage: str, step: int) -> bool:
        """Whether the trainer has begun to write a checkpoint."""
        return any(self.store.glob(f"{stage}/*.partial/checkpoints/checkpoint-{step}"))

    def written(self, stage: str) -> set[int]:
        """The steps of the stage's checkpoints that the last process was seen to write."""
        return {step for kind, step, _ in self.checkpoints if kind == stage}

    def finished_batches(self) -> dict[str, int]:
        """The batches of cases that were searched to the end, and when they were written."""
        files = self.store.glob("trajectories/*.partial/checkpoints/cases_*.jsonl")
        return {path.name: path.stat().st_mtime_ns for path in files}

    def searching_since(self, batches: int) -> float:
        """For how many seconds so many batches have been finished; 0 before."""
        finished = self.finished_batches().values()
        return (time.time_ns() - max(finished)) / 1e9 if len(finished) >= batches else 0.0

    def stages(self) -> dict[str, dict[str, str]]:
        """Every finished stage with the hashes of its files."""
        manifests = {path.parent: json.loads(path.read_text()) for path in self.store.glob("*/*/manifest.json")}
        return {f"{folder.parent.name}/{folder.name}": manifest["files"] for folder, manifest in manifests.items()}


@pytest.mark.slow
def test_a_run_killed_in_search_fine_tuning_and_stage_two_ends_as_an_unbroken_one(
    tmp_path: Path, physionet_root: Path
) -> None:
    benchmark = tmp_path / "killed.yaml"
    tree = {
        "name": "killed",
        "data": {"name": "physionet2012", "root": str(physionet_root)},
        "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2},
        "policy": {"name": "tiny", "steps": 120, "hidden_dim": 48, "intermediate_dim": 96, "layers": 2},
        "record_text": {"values": "quantile", "periods": 1, "instructions": "short"},
        "answer": "expectation",
        "methods": [METHOD],
        "metrics": ["auroc", "brier", "unparsed_rate"],
    }
    benchmark.write_text(yaml.safe_dump(tree))
    run = KillableRun(benchmark, tmp_path / "killed")

    # In search, once inside the second batch of cases and once inside the third.
    run.kill_when(lambda: run.searching_since(1) > 0.2)
    first_batches = run.finished_batches()
    assert len(first_batches) in (1, 2)
    run.kill_when(lambda: run.searching_since(2) > 0.2)
    batches = run.finished_batches()
    assert len(batches) == 2
    assert first_batches.items() <= batches.items()  # what was finished was not searched again

    # In fine-tuning.
    run.kill_when(lambda: 2 * SFT_EVERY in run.written("sft"))
    (searched,) = run.store.glob("trajectories/*/manifest.json")
    searched_at = searched.stat().st_mtime_ns

    # In Stage II, perhaps while it writes a checkpoint.
    run.kill_when(lambda: run.begun("policy_optimisation", 2 * STAGE_TWO_EVERY))
    assert run.written("sft") == {3 * SFT_EVERY, 4 * SFT_EVERY}
    assert searched.stat().st_mtime_ns == searched_at

    run.finish()
    assert run.written("policy_optimisation") >= {3 * STAGE_TWO_EVERY, 4 * STAGE_TWO_EVERY}
    assert STAGE_TWO_EVERY not in run.written("policy_optimisation")
    log = [json.loads(line) for line in (run.out / "log.jsonl").read_text().splitlines()]
    status = {entry["kind"]: entry["status"] for entry in log}
    finished_before = {"cohort", "split", "record_text", "policy", "salience", "trajectories", "sft"}
    assert {kind for kind, how in status.items() if how == "reused"} >= finished_before
    assert status["policy_optimisation"] == "computed"
    assert not list(run.store.glob("*/*.partial"))

    unbroken = KillableRun(benchmark, tmp_path / "unbroken")
    unbroken.finish()
    assert run.stages() == unbroken.stages()
    assert {name.partition("/")[0] for name in run.stages()} >= {*finished_before, "policy_optimisation", "predict"}
    for name in ("results.csv", "trajectories/eag_rl.jsonl", "predictions/eag_rl.parquet"):
        assert (run.out / name).read_bytes() == (unbroken.out / name).read_bytes(), name
    tokens = [_generated_tokens(finished.out) for finished in (run, unbroken)]
    assert tokens[0] == tokens[1]


def _generated_tokens(run: Path) -> dict[str, str]:
    with (run / "costs.csv").open(newline="") as stream:
        return {row["stage"]: row["generated_tokens"] for row in csv.DictReader(stream)}
