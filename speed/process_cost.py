"""Run a command and look at what it costs: memory of its whole process tree, CPU, wall time, bytes written."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command cost: peak of the summed PSS in GB, CPU and wall time in seconds, GB written (GB: 10^9 bytes)."""

    memory: float
    cpu: float
    wall: float
    disk: float


def cost_of(command: Sequence[str], env: Mapping[str, str], log: Path, most_seconds: float = math.inf) -> Cost:
    """Run a command, and end this process with its output if it fails.

    Args:
        command: The command.
        env: Its environment.
        log: File for its output. It runs in that file's folder, because in the working tree its eagbench would come
            before that of the environment.
        most_seconds: After so many it is killed, with its children.

    Raises:
        TimeoutError: It took longer.
    """
    before, start = os.times(), time.perf_counter()
    peak, written = 0, dict[int, int]()
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=log.parent, env=env, stdout=stream, stderr=subprocess.STDOUT)
        while process.poll() is None:
            found = 0
            for pid in _tree(process.pid):
                found += _number(pid, "smaps_rollup", "Pss:") * 1024
                written[pid] = max(written.get(pid, 0), _number(pid, "io", "wchar:"))
            peak = max(peak, found)
            if time.perf_counter() - start > most_seconds:
                _kill(process)
                raise TimeoutError(f"longer than {most_seconds:g} s")
            time.sleep(_LOOK_SECONDS)
    wall, after = time.perf_counter() - start, os.times()
    if process.returncode:
        sys.exit(f"{' '.join(command)}\n{log.read_text()}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Cost(peak / 1e9, cpu, wall, sum(written.values()) / 1e9)


def _kill(process: subprocess.Popen[bytes]) -> None:
    children = psutil.Process(process.pid).children(recursive=True)
    for child in children:
        child.kill()
    process.kill()
    process.wait()
    psutil.wait_procs(children, timeout=10)  # on a busy machine a killed process takes its time


def _tree(pid: int) -> list[int]:
    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _number(pid: int, file: str, key: str) -> int:
    """Read a number that the kernel tells of a process, 0 if the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)
