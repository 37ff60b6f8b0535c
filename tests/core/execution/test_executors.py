"""The core's executor, and how one is chosen on the command line."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import psutil
import pytest

from eagbench.contracts.components import StrictParams
from eagbench.contracts.records import Cohort, Provenance
from eagbench.contracts.stages import StageLost, StageNode, StageOutput
from eagbench.errors import UserError
from eagbench.execution.executors import local
from eagbench.execution.executors.local import Local
from eagbench.execution.executors.worker import stage_begins
from eagbench.registry.plugins import load_registry, registered
from eagbench.stages import shared_measurements
from eagbench.stages.cohort_files import read_cases, write_cohort
from eagbench.testing import ExecutorConformance
from eagbench.testing.cases import content, labelled_cases
from tests.conftest import Finished

Cli = Callable[..., Finished]


class TestInThisProcess(ExecutorConformance):
    component = Local


class TestInWorkerProcesses(ExecutorConformance):
    component = Local
    params = {"workers": 2}  # noqa: RUF012


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--executor", "sge"), "--executor: there is no executor called 'sge'"),
        (("--executor-option", "nodes=3"), "--executor-option nodes=3: unknown key 'nodes'"),
        (("--executor-option", "workers=0"), "'workers': input should be greater than or equal to 1, not 0"),
        (("--executor-option", "workers"), "--executor-option takes key=value"),
    ],
)
def test_a_wrong_executor_is_refused_before_anything_runs(
    cli: Cli, tmp_path: Path, store_folder: Path, options: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "a.yaml"
    data = "{name: mimic4, root: synthetic, synthetic_patients: 10}"
    file.write_text(f"name: a\ndata: {data}\nmethods: [lightgbm]\nseeds: [0]\nmetrics: [auroc]\n")
    done = cli("run", file, "--out", tmp_path / "out", *options)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()


@dataclass(frozen=True, slots=True)
class Computes:
    """Stages by what they do: a stage leaves its process's number, or ends in its own way."""

    folder: Path

    def __call__(self, node: StageNode) -> object:
        stage_begins()
        match node.label.partition(" ")[0]:
            case "killed":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                (self.folder / "child").write_text(str(child.pid))
                os.kill(os.getpid(), signal.SIGKILL)
            case "forks":
                if os.fork() == 0:  # holds the worker's pipe open, so that nothing tells of its death
                    time.sleep(600)
                os.kill(os.getpid(), signal.SIGKILL)
            case "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                sleep_on()
            case "raises":
                raise UserError("the store is gone", where="here")
            case "leaves":
                threading.Thread(target=time.sleep, args=(600,)).start()
        return os.getpid()


def sleep_on() -> None:
    time.sleep(600)


def outcomes(folder: Path, *labels: str, workers: int = 2, stage_timeout: float | None = None) -> dict[str, object]:
    nodes = [StageNode("stage", label, "nowhere:nothing", {"label": label}, {}, code="1") for label in labels]
    behind = StageNode("stage", "behind", "nowhere:nothing", {}, {"first": StageOutput(nodes[0])}, code="1")
    told: dict[str, object] = {}

    def done(node: StageNode, outcome: object) -> bool:
        assert node.label not in told
        told[node.label] = outcome
        return isinstance(outcome, int)

    params = Local.Params(workers=workers, stage_timeout=stage_timeout)
    Local(params).execute([*nodes, behind], Computes(folder), done)
    return told


def test_a_stage_whose_process_dies_is_lost_alone(tmp_path: Path) -> None:
    told = outcomes(tmp_path, "killed", "fine 1", "forks", "fine 2")
    reasons = {label: outcome.reason for label, outcome in told.items() if isinstance(outcome, StageLost)}
    assert reasons == {
        "killed": "the process that computed it died of signal 9 (SIGKILL, often the machine's memory)",
        "forks": "the process that computed it died of signal 9 (SIGKILL, often the machine's memory)",
    }
    assert told["behind"] is None
    assert all(isinstance(told[f"fine {i}"], int) for i in (1, 2))
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)


def test_a_stage_that_takes_too_long_is_ended_even_if_it_is_deaf(tmp_path: Path) -> None:
    told = outcomes(tmp_path, "deaf", "fine", workers=1, stage_timeout=2)
    lost = told["deaf"]
    assert isinstance(lost, StageLost)
    assert lost.reason == "it took longer than --stage-timeout 2 s"
    assert "in sleep_on" in lost.details  # where it was
    assert isinstance(told["fine"], int)
    assert told["fine"] != os.getpid()


def test_what_is_raised_in_a_worker_is_raised_here(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="here: the store is gone"):
        outcomes(tmp_path, "raises", "fine")


def test_a_thread_left_in_a_worker_keeps_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_LEAVE_SECONDS", 0.5)
    began = time.monotonic()
    assert isinstance(outcomes(tmp_path, "leaves")["leaves"], int)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(("written", "seconds"), [("90", 90), (1.5, 1.5), ("30m", 1800), ("2h", 7200), ("10 s", 10)])
def test_a_time_limit_is_read_in_its_unit(written: object, seconds: float) -> None:
    assert Local.Params.model_validate({"stage_timeout": written}).stage_timeout == seconds


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stage-timeout", "soon"), "--stage-timeout soon: 'stage_timeout': write it in seconds, or as 30m or 2h"),
        (("--stage-timeout", "0"), "--stage-timeout 0: 'stage_timeout': input should be greater than 0"),
    ],
)
def test_a_wrong_time_limit_is_refused(cli: Cli, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    done = cli("run", tmp_path / "none.yaml", *options)
    assert done.code == 2
    assert message in done.err


def test_an_executor_without_a_time_limit_refuses_one(
    monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path
) -> None:
    class Here(Local):
        name: ClassVar[str] = "here"

        class Params(StrictParams):
            pass

    of_executor = registered("executor", Here, "mine", "a-package")
    monkeypatch.setitem(load_registry().components, ("executor", "here"), (of_executor,))
    done = cli("run", tmp_path / "none.yaml", "--executor", "here", "--stage-timeout", "60")
    assert done.code == 2
    assert "--stage-timeout 60: the executor 'here' knows no time limit for stages" in done.err


@dataclass(frozen=True, slots=True)
class Reads:
    """A stage reads a cohort, and leaves its content and whether its memory is shared."""

    folder: Path

    def __call__(self, node: StageNode) -> object:
        shared_measurements.WORTH_SHARING = 0  # in a process of its own
        cases = read_cases(self.folder / "cohort")
        (self.folder / node.label).write_bytes(pickle.dumps(content(cases)))
        return {shared_measurements.is_mapped(case.values) for case in cases if case.values.size}


@pytest.mark.parametrize(("workers", "is_shared"), [(2, True), (1, False)])
def test_workers_share_a_cohort_and_leave_nothing_behind(tmp_path: Path, workers: int, is_shared: bool) -> None:
    (tmp_path / "cohort").mkdir()
    cases = labelled_cases(30).cases
    provenance = Provenance("made", "open", "none", patient_is_stay=True, n_patients_read=1)
    write_cohort(Cohort(cases, np.arange(30) % 2, provenance), tmp_path / "cohort")
    nodes = [StageNode("stage", label, "nowhere:nothing", {"label": label}, {}, code="1") for label in ("a", "b")]
    told: list[object] = []
    params = Local.Params(workers=workers, stage_timeout=600)  # processes of their own

    def done(_: StageNode, outcome: object) -> bool:
        told.append(outcome)
        return True

    Local(params).execute(nodes, Reads(tmp_path), done)
    assert told == [{is_shared}] * 2
    assert all(pickle.loads((tmp_path / label).read_bytes()) == content(cases) for label in "ab")
    assert {path.name for path in tmp_path.iterdir()} == {"cohort", "a", "b"}
