"""Real signals to real processes: a command stops at once, with its workers, and workers outlive no parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Finished

# A training that takes minutes, with a checkpoint per epoch, for each of two workers.
BENCHMARK = """\
name: stopped
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.7, tuning: 0.1, held_out: 0.2}}
seeds: [0, 1]
methods:
  - {{name: concare, epochs: {epochs}, patience: {epochs}, hidden_dim: 8, periods: 4}}
metrics: [auroc, brier]
"""
SWEEP = """\
name: stopped
benchmark: stopped.yaml
seeds: [0]
space: {methods.concare.learning_rate: {float: [0.001, 0.01]}}
objectives: [{metric: auroc}]
trials: 4
"""
# Two workers in stages that never end, each with a process of its own, as a stage's data loader may have.
FOREVER = """\
import pathlib, subprocess, sys, time
from eagbench.contracts.stages import StageNode
from eagbench.execution.executors.local import Local
from eagbench.execution.processes import Stopped, StopSignals

def compute(node):
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path(sys.argv[1], node.label).touch()
    time.sleep(600)

compute.folder = pathlib.Path(sys.argv[1])

if __name__ == "__main__":
    nodes = [StageNode("stage", label, "nowhere:nothing", {"label": label}, {}, code="1") for label in "ab"]
    try:
        with StopSignals():
            Local(Local.Params(workers=2)).execute(nodes, compute, lambda node, outcome: True)
    except Stopped as stop:
        sys.exit(stop.exit_code)
"""
# No exception can reach the main thread in a long call in C, nor end it while another thread waits for a server.
DEAF = """\
import hashlib, pathlib, sys, threading, time
from eagbench.execution.processes import Stopped, StopSignals

try:
    with StopSignals():
        if sys.argv[2] == "in C":
            pathlib.Path(sys.argv[1], "a").touch()
            hashlib.pbkdf2_hmac("sha256", b"", b"", 2_000_000_000)
        threading.Thread(target=time.sleep, args=(600,)).start()
        pathlib.Path(sys.argv[1], "a").touch()
        time.sleep(600)
except Stopped as stop:
    sys.exit(stop.exit_code)
"""


class Started:
    """A command that runs, and all processes that it started."""

    def __init__(self, command: list[str], store: Path) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "EAGBENCH_STORE": str(store)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.below: list[psutil.Process] = []

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Wait until the work has come so far, and remember who takes part in it."""
        deadline = time.monotonic() + 240
        while not ready():
            assert self.process.poll() is None, f"ended before it could be stopped: {self.process.communicate()[1]}"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.below = psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, signum: signal.Signals) -> tuple[int, str, float]:
        """Send a signal to the main process alone, and return its exit code, its stderr and the seconds it took."""
        began = time.monotonic()
        self.process.send_signal(signum)
        code = self.process.wait(60)
        seconds = time.monotonic() - began
        alive = psutil.wait_procs(self.below, timeout=10)[1]  # before the pipe is read, which workers hold open
        assert not alive, f"still alive 10 s later: {alive}"
        assert self.process.stderr is not None
        return code, self.process.stderr.read(), seconds


@pytest.fixture
def started() -> Iterator[Callable[[list[str], Path], Started]]:
    """Starts a command; whatever the test leaves of it is ended."""
    all_started: list[Started] = []

    def start(command: list[str], store: Path) -> Started:
        all_started.append(Started(command, store))
        return all_started[-1]

    yield start
    for one in all_started:
        for process in [one.process, *one.below]:
            if process.poll() is None if isinstance(process, subprocess.Popen) else process.is_running():
                process.kill()


Start = Callable[[list[str], Path], Started]


@pytest.mark.parametrize(
    ("signum", "code", "said"),
    [
        (signal.SIGKILL, -9, ""),
        (signal.SIGTERM, 143, "stopped by SIGTERM\n"),
        (signal.SIGINT, 130, "interrupted\n"),
    ],
)
def test_workers_and_their_processes_end_with_the_main_one(
    tmp_path: Path, started: Start, signum: signal.Signals, code: int, said: str
) -> None:
    script = tmp_path / "forever.py"
    script.write_text(FOREVER)
    run = started([sys.executable, str(script), str(tmp_path)], tmp_path)
    run.wait_for(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
    assert len(run.below) >= 4  # two workers, and a process of each
    ended, err, seconds = run.stop(signum)
    assert ended == code
    assert seconds < 5
    if said:  # after SIGKILL Python's resource tracker may speak of what it cleans up
        assert err == said


@pytest.mark.parametrize("where", ["in C", "for a thread"])
def test_a_main_thread_that_waits_is_ended_too(tmp_path: Path, started: Start, where: str) -> None:
    script = tmp_path / "deaf.py"
    script.write_text(DEAF)
    run = started([sys.executable, str(script), str(tmp_path), where], tmp_path)
    run.wait_for(lambda: (tmp_path / "a").exists())
    code, err, seconds = run.stop(signal.SIGTERM)
    assert (code, err) == (143, "stopped by SIGTERM\n")
    assert seconds < 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "code", "cause"),
    [(signal.SIGKILL, -9, ""), (signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted")],
)
@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_stops_at_once_and_is_taken_up(
    tmp_path: Path,
    physionet_root: Path,
    run_command: Callable[..., Finished],
    started: Start,
    signum: signal.Signals,
    code: int,
    cause: str,
    workers: int,
) -> None:
    benchmark, store, out = tmp_path / "stopped.yaml", tmp_path / "store", tmp_path / "out"
    benchmark.write_text(BENCHMARK.format(root=physionet_root, epochs=1000))
    command = [sys.executable, "-m", "eagbench", "run", str(benchmark), "--out", str(out), "--workers", str(workers)]
    run = started(command, store)
    run.wait_for(lambda: len({p.parts[-3] for p in store.glob("expert/*.partial/checkpoints/*")}) == workers)
    ended, err, seconds = run.stop(signum)
    assert ended == code
    assert seconds < 5
    assert "Traceback" not in err
    if cause:
        assert err.splitlines()[-1] == f"{cause}; the same command takes up the work where it stopped"
    assert not out.exists()
    assert list(store.glob("expert/*.partial/checkpoints/*"))  # from where the next run goes on
    assert not list(store.glob("expert/*/manifest.json"))
    plan = run_command("plan", benchmark, env={"EAGBENCH_STORE": str(store)})
    assert [line.split()[-3:] for line in plan.out.splitlines() if " cohort " in line] == [["in", "the", "store"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "code", "cause"),
    [(signal.SIGKILL, -9, ""), (signal.SIGTERM, 143, "stopped by SIGTERM"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_sweep_stops_at_once_with_its_jobs(
    tmp_path: Path, physionet_root: Path, started: Start, signum: signal.Signals, code: int, cause: str
) -> None:
    store = tmp_path / "store"
    (tmp_path / "stopped.yaml").write_text(BENCHMARK.format(root=physionet_root, epochs=1000))
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    command = [sys.executable, "-m", "eagbench", "sweep", str(tmp_path / "sweep.yaml"), "--jobs", "2"]
    run = started([*command, "--out", str(tmp_path / "out")], store)
    run.wait_for(lambda: len({p.parts[-3] for p in store.glob("expert/*.partial/checkpoints/*")}) == 2)
    ended, err, seconds = run.stop(signum)
    assert ended == code
    assert seconds < 5
    assert "Traceback" not in err
    if cause:
        assert err.splitlines()[-1] == f"{cause}; the same command goes on with the sweep"
        log = (tmp_path / "out" / "log.jsonl").read_text()
        assert log.count("Stopped before the trial's end") == 2  # lost, so that they are tried again
