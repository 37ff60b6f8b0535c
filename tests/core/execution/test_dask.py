"""The executor `dask` on a real cluster of worker processes on this machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from eagbench.contracts.stages import StageLost, StageNode, StageOutput
from eagbench.errors import UserError
from eagbench.execution.executors import dask_checks, dask_stages
from eagbench.execution.executors.dask import Dask
from eagbench.execution.executors.dask_run import ClusterRun, client_of
from eagbench.execution.executors.worker import stage_begins
from eagbench.testing import ExecutorConformance
from tests.conftest import Finished

RunCommand = Callable[..., Finished]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster with two workers."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0") as cluster:
        yield str(cluster.scheduler_address)


class TestOnACluster(ExecutorConformance):
    component = Dask

    @pytest.fixture(scope="class")
    @classmethod
    def given_params(cls, scheduler: str) -> dict[str, object]:
        return {"scheduler": scheduler}


@dataclass(frozen=True, slots=True)
class Computes:
    """Stages by what they do."""

    folder: Path

    def __call__(self, node: StageNode) -> object:
        stage_begins()
        match node.label.partition(" ")[0]:
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kills":  # its worker, every time
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(600)
            case "kills-once":
                if not (self.folder / "killed").exists():
                    (self.folder / "killed").touch()
                    os.kill(os.getppid(), signal.SIGKILL)
                    time.sleep(600)
            case "speaks":
                print(f"{node.label} to you", file=sys.stderr)
            case "raises":
                raise UserError("the disk is away", where="here")
            case "sleeps":
                (self.folder / f"{node.label} {os.getpid()}").touch()
                time.sleep(600)
        return os.getpid()


def nodes(*labels: str) -> list[StageNode]:
    made = [StageNode("stage", label, "nowhere:nothing", {"label": label}, {}, code="1") for label in labels]
    return [*made, StageNode("stage", "behind", "nowhere:nothing", {}, {"first": StageOutput(made[0])}, code="1")]


def outcomes(scheduler: str, folder: Path, *labels: str, **params: Any) -> dict[str, object]:
    told: dict[str, object] = {}

    def done(node: StageNode, outcome: object) -> bool:
        assert node.label not in told
        told[node.label] = outcome
        return isinstance(outcome, int)

    Dask(Dask.Params(scheduler=scheduler, **params)).execute(nodes(*labels), Computes(folder), done)
    return told


def test_a_stage_whose_process_dies_is_lost_alone_and_its_worker_lives(scheduler: str, tmp_path: Path) -> None:
    told = outcomes(scheduler, tmp_path, "dies", "fine 1", "fine 2")
    assert isinstance(told["dies"], StageLost)
    assert told["dies"].reason.startswith("the process that computed it died of signal 9")
    assert told["behind"] is None
    assert isinstance(told["fine 1"], int)
    assert isinstance(told["fine 2"], int)
    assert not list(tmp_path.glob(".seen-*"))


def test_the_stage_of_a_lost_worker_runs_again(scheduler: str, tmp_path: Path) -> None:
    told = outcomes(scheduler, tmp_path, "kills-once", "fine 1", "fine 2")
    assert all(isinstance(outcome, int) for outcome in told.values()), told
    assert set(told) == {"kills-once", "fine 1", "fine 2", "behind"}
    assert (tmp_path / "killed").exists()


@pytest.mark.slow
def test_a_stage_that_takes_every_worker_with_it_is_lost_alone(scheduler: str, tmp_path: Path) -> None:
    told = outcomes(scheduler, tmp_path, "kills", *(f"fine {i}" for i in range(6)))
    assert isinstance(told["kills"], StageLost)
    assert told["kills"].reason == "the 4 workers that were to compute it, one after the other, were lost"
    assert told["behind"] is None
    assert all(isinstance(told[f"fine {i}"], int) for i in range(6))


def test_what_stages_print_is_printed_here(scheduler: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    outcomes(scheduler, tmp_path, "speaks 1", "speaks 2")
    said = capfd.readouterr().err
    assert "speaks 1 to you\n" in said
    assert "speaks 2 to you\n" in said


def test_a_time_limit_ends_a_stage(scheduler: str, tmp_path: Path) -> None:
    told = outcomes(scheduler, tmp_path, "sleeps", "fine", stage_timeout=2)
    assert isinstance(told["sleeps"], StageLost)
    assert told["sleeps"].reason == "it took longer than --stage-timeout 2 s"
    assert isinstance(told["fine"], int)


def test_what_computing_raises_ends_the_run(scheduler: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="here: the disk is away"):
        outcomes(scheduler, tmp_path, "raises")


def test_stages_end_when_the_run_is_stopped(scheduler: str, tmp_path: Path) -> None:
    """As Ctrl-C does it: the exception comes up in the process that gave the command."""

    class Interrupted(BaseException):
        pass

    class Interrupting(ClusterRun):
        def _settle(self, ready: object) -> None:
            deadline = time.monotonic() + 120
            while not list(tmp_path.glob("sleeps *")):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            raise Interrupted

    with client_of(scheduler) as client, pytest.raises(Interrupted):
        Interrupting(client, Computes(tmp_path), None, ()).execute(nodes("sleeps"), lambda node, outcome: True)
    [file] = tmp_path.glob("sleeps *")
    pid = int(file.name.split()[-1])
    deadline = time.monotonic() + 20
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not psutil.pid_exists(pid)
    assert isinstance(outcomes(scheduler, tmp_path, "fine")["fine"], int)  # and the cluster goes on


def test_stages_for_a_gpu_that_nobody_has_are_refused(scheduler: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stages of the kind 'stage' ask for a GPU, and none of the \d workers"):
        outcomes(scheduler, tmp_path, "fine", gpu_stages=("stage",))


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eagbench.execution.executors.dask_run._CONNECT_SECONDS", 1)
    with pytest.raises(UserError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers"):
        outcomes("tcp://127.0.0.1:9", tmp_path, "fine")


def test_a_worker_with_another_version_is_refused(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, own = dask_checks._versions, importlib.metadata.version("eagbench")

    def newer_here(names: list[str]) -> Callable[[], dict[str, str | None]]:
        asked = real(names)
        pid = os.getpid()

        def versions() -> dict[str, str | None]:
            import os

            return {**asked(), **({"eagbench": "9.9"} if os.getpid() == pid else {})}

        return versions

    monkeypatch.setattr(dask_checks, "_versions", newer_here)
    with pytest.raises(UserError, match=f"a worker has eagbench {own}, this command eagbench 9.9"):
        outcomes(scheduler, tmp_path, "fine")


def test_a_store_that_workers_do_not_see_is_refused(scheduler: str, tmp_path: Path) -> None:
    with client_of(scheduler) as client, pytest.raises(UserError, match="a worker can't use the store: No such file"):
        dask_checks.check_store(client, tmp_path / "elsewhere", "run")
    dask_stages.token_file(tmp_path, "run").write_text("another")
    with client_of(scheduler) as client, pytest.raises(UserError, match="another folder in the place of the store"):
        dask_checks.check_store(client, tmp_path, "run")


BENCHMARK = """\
name: small
data: {{name: physionet2012, root: {root}, window_hours: 48}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
methods: [logistic_regression, {{name: lightgbm, n_estimators: 20}}]
conditions: [clean, {{name: missing_values, severity: [0.3]}}]
metrics: [auroc, brier]
intervals: {{resamples: 100}}
seeds: [0]
"""


def bytes_of(folder: Path, *names: str) -> dict[str, bytes]:
    files = [path for name in names for path in folder.rglob(name)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.slow
def test_a_run_on_a_cluster_leaves_the_bytes_of_a_local_one(
    tmp_path: Path, physionet_root: Path, run_command: RunCommand
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(BENCHMARK.format(root=physionet_root))
    for executor in ("local", "dask"):
        env = {"EAGBENCH_STORE": str(tmp_path / f"store_{executor}")}
        done = run_command("run", file, "--out", tmp_path / executor, "--executor", executor, "--limit", 300, env=env)
        assert done.code == 0, done.err
    tables = ("results.csv", "robustness.csv", "comparisons.csv", "*.parquet")
    assert bytes_of(tmp_path / "dask", *tables) == bytes_of(tmp_path / "local", *tables)
    stages = ("*.parquet", "*.arrow", "*.safetensors", "*.txt", "values.json")
    assert bytes_of(tmp_path / "store_dask", *stages) == bytes_of(tmp_path / "store_local", *stages)
    log = [json.loads(line) for line in (tmp_path / "dask" / "log.jsonl").read_text().splitlines()]
    assert {entry["status"] for entry in log} == {"computed"}


@pytest.mark.slow
def test_ctrl_c_ends_the_run_and_all_of_its_processes(tmp_path: Path, physionet_root: Path) -> None:
    file, store = tmp_path / "small.yaml", tmp_path / "store"
    slow = "{name: concare, epochs: 200, patience: 200, hidden_dim: 8, periods: 4}"
    text = BENCHMARK.format(root=physionet_root)
    file.write_text(text.replace("logistic_regression, {name: lightgbm, n_estimators: 20}", slow))
    command = [sys.executable, "-m", "eagbench", "run", str(file), "--out", str(tmp_path / "out"), "--executor", "dask"]
    run = subprocess.Popen(command, env={**os.environ, "EAGBENCH_STORE": str(store)}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not list(store.glob("expert/*.partial/checkpoints/*")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    started = psutil.Process(run.pid).children(recursive=True)
    assert len(started) >= 3
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "the same command takes up the work where it stopped" in said
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(started, timeout=20)
    assert not alive
    assert not shutil.rmtree(store)
