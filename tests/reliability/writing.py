"""SIGKILL in the writing of the run folder, for the first time and once more: the same command finishes it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.conftest import SHARED_DATA, Finished
from tests.reliability.interrupted_writing import Kitchen, halves, make_kitchen, spread
from tests.reliability.rows import Row
from tests.reliability.run_folders import contents

SMALL, FULL = 4, 60


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Kill at as many steps, spread over the first writing and over a second one into a finished folder."""
    kitchen = make_kitchen(folder, SHARED_DATA / "tjh", _run)
    first = times // 2
    finished = shutil.copytree(kitchen.whole, folder / "finished" / "out")
    return [
        _row(kitchen, "SIGKILL in the writing of a run folder", kitchen.n_steps, first, seed, is_there=False),
        _row(
            kitchen, "SIGKILL in the writing of a run folder that was there", kitchen.count(finished), times - first,
            seed, is_there=True,
        ),
    ]  # fmt: skip


def _row(kitchen: Kitchen, fault: str, n_steps: int, times: int, seed: int, *, is_there: bool) -> Row:
    lost: list[str] = []
    points = spread(n_steps, times)
    for at in points:
        out = kitchen.folder / f"killed_{seed}_{int(is_there)}_{at}" / "out"
        if is_there:
            shutil.copytree(kitchen.whole, out)
        killed = kitchen.run(out, at)
        if killed.code != -signal.SIGKILL:
            lost.append(f"step {at}: the run was not killed but ended with {killed.code}")
        lost += [f"step {at}: {name} is half there" for name in halves(out, kitchen.whole)]
        resumed = kitchen.run(out)
        if resumed.code:
            lost.append(f"step {at}: the same command ended with {resumed.code}: {resumed.err[-200:]}")
        elif contents(out) != contents(kitchen.whole):
            lost.append(f"step {at}: the folder differs from an undisturbed run's")
        shutil.rmtree(out.parent)
    happened = (
        f"at {len(points)} of {n_steps} steps; no file half there, and the same command ended with the same bytes"
    )
    return Row(fault, len(points), happened, tuple(lost))


def _run(*arguments: object, env: dict[str, str]) -> Finished:
    command = [sys.executable, "-m", "eagbench", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **env}, timeout=900)
    return Finished(done.returncode, done.stdout, done.stderr)
