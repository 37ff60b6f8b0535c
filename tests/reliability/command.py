"""The command line in a process group of its own: killed, waited for, and what it left running."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil

HOOK = Path(__file__).parent / "interrupting"
ORPHAN_SECONDS = 10.0
_HANG_SECONDS = 900.0
_MARK = "RELIABILITY_COMMAND"


def hooked() -> dict[str, str]:
    """Return the variable that lets every Python process import `interrupting/sitecustomize.py`."""
    return {"PYTHONPATH": os.pathsep.join([str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])])}


class Command:
    """One `eagbench` command under way, which all processes that it starts can be found by.

    Args:
        arguments: What comes after `eagbench`.
        store: Its store.
        printed: A file that what it prints is appended to.
        environment: Further variables, such as those of `interrupting/sitecustomize.py`.
    """

    def __init__(
        self, *arguments: object, store: Path, printed: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._mark = uuid.uuid4().hex
        given = {"EAGBENCH_STORE": str(store), **hooked(), _MARK: self._mark, **(environment or {})}
        with printed.open("a") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "eagbench", *map(str, arguments)],
                env={**os.environ, **given},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def wait(self, seconds: float = _HANG_SECONDS) -> int | None:
        """Wait for its end and return its code, negative for a signal; None if it has not ended by then."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self, whom: str, draw: random.Random) -> bool:
        """Kill its `main` process, its whole `group` or a `worker`, and return whether there was one."""
        if self._process.poll() is not None:
            return False
        if whom == "group":
            os.killpg(self._process.pid, signal.SIGKILL)
        elif whom == "main":
            self._process.kill()
        else:
            workers = [p for p in self._alive() if p.pid != self._process.pid and _is_worker(p)]
            if not workers:
                return False
            with contextlib.suppress(psutil.NoSuchProcess):
                draw.choice(workers).kill()
        return True

    def orphans(self) -> list[str]:
        """End what is still running `ORPHAN_SECONDS` after the main process has ended, and name it."""
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (alive := self._alive()) and time.monotonic() < deadline:
            time.sleep(0.05)
        named = []
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                named.append(f"orphan {process.pid}: {' '.join(process.cmdline())[:80]}")
                process.kill()
        return named

    def _alive(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                if process.environ().get(_MARK) == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


def _is_worker(process: psutil.Process) -> bool:
    """Whether this is a worker, and not multiprocessing's tracker of resources."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return any("spawn_main" in part for part in process.cmdline())
    return False
