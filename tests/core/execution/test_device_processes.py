"""Processes that divide a stage's work: they share its threads, say what fails, and never outlive who started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from eagbench.errors import UserError
from eagbench.execution.device_processes import DeviceProcesses, is_device_process
from eagbench.execution.threads import limited_threads

STARTS = """
import time
from eagbench.execution.device_processes import DeviceProcesses
from tests.core.execution.test_device_processes import answers
if __name__ == "__main__":
    processes = DeviceProcesses(answers, 2, ())
    print(*(process.pid for process in processes._processes), flush=True)
    time.sleep(600)
"""


def answers(link: Any, rank: int, n: int, *arguments: Any) -> None:
    """Does what it is told."""
    while True:
        what = link.recv()
        if what == "raise":
            raise ValueError(f"process {rank}")
        if what == "mend":
            raise UserError("it can be mended", where="here", hint="so")
        if what == "die":
            os._exit(7)
        link.send((rank, n, os.environ["OMP_NUM_THREADS"], is_device_process(), arguments))


@pytest.fixture
def three() -> Iterator[DeviceProcesses]:
    with limited_threads(7):
        processes = DeviceProcesses(answers, 3, ("a", 1))
    yield processes
    processes.end()


def test_each_has_a_rank_and_its_share_of_the_threads(three: DeviceProcesses) -> None:
    for rank in range(3):
        three.send(rank, "say")
    said = dict(three.receive() for _ in range(3))
    assert said == {rank: (rank, 3, "2", True, ("a", 1)) for rank in range(3)}
    assert not is_device_process()


def test_what_a_user_can_mend_comes_before_what_it_entails(three: DeviceProcesses) -> None:
    three.send(0, "raise")
    three.send(2, "mend")
    for rank in (0, 2):
        three._processes[rank].join()
    with pytest.raises(UserError, match="it can be mended"):
        three.receive()


def test_an_error_and_a_death_are_said(three: DeviceProcesses) -> None:
    three.send(1, "raise")
    with pytest.raises(ValueError, match="process 1"):
        three.receive()
    three.send(2, "die")
    with pytest.raises(RuntimeError, match=r"process \d of 3 ended without a result"):
        three.receive()
    three.end()
    with pytest.raises(IndexError):
        three.send(0, "say")


def test_they_end_with_a_killed_parent() -> None:
    started = subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    children = [psutil.Process(int(pid)) for pid in started.stdout.readline().split()]
    assert len(children) == 2
    time.sleep(0.1)
    started.send_signal(signal.SIGKILL)
    started.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
