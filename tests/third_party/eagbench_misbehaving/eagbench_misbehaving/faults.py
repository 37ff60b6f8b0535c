"""What a plugin may do wrong in any of its calls, by name."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np


class Unprintable(Exception):
    """An exception whose text can't be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unpicklable(Exception):
    """An exception that no other process can read."""

    def __init__(self, first: str, second: Any) -> None:
        super().__init__(f"{first} cannot be sent")
        self.second = second


class Base(BaseException):
    """No `Exception`."""


def _raise(error: Callable[[], BaseException]) -> Callable[[], None]:
    def fault() -> None:
        raise error()

    return fault


def _forever() -> None:
    while True:
        pass


def _sleeps() -> None:
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    time.sleep(600)


def _child_and_kill() -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    os.kill(os.getpid(), signal.SIGKILL)


def _recursion() -> None:
    _recursion()


def _closes() -> None:
    sys.stdout.close()
    sys.stderr.close()
    os.close(1)
    os.close(2)


def _handlers() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setrecursionlimit(200)


def _replaces_numpy() -> None:
    np.mean = lambda *_, **__: 0.5  # type: ignore[assignment]


def _seeds() -> None:
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)


def _process_in_c() -> None:
    # Not through subprocess, which closes what a child need not have.
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)


def _swallows() -> None:
    try:
        sys.exit(3)
    except BaseException as error:
        raise ValueError("swallowed") from error


FAULTS: dict[str, Callable[[], object]] = {
    "": lambda: None,
    "raises": _raise(lambda: ZeroDivisionError("division\nby zero")),
    "raises_base": _raise(lambda: Base("no exception")),
    "exits": lambda: sys.exit(0),
    "interrupts": _raise(lambda: KeyboardInterrupt()),
    "generator_exit": _raise(lambda: GeneratorExit()),
    "unprintable": _raise(lambda: Unprintable()),
    "unpicklable": _raise(lambda: Unpicklable("this", lambda: None)),
    "memory": _raise(lambda: MemoryError()),
    "allocates": lambda: np.ones((2**50, 2**8)),
    "recursion": _recursion,
    "swallows": _swallows,
    "os_exit": lambda: os._exit(0),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "killed_with_child": _child_and_kill,
    "segfault": lambda: ctypes.string_at(0),
    "aborts": lambda: os.abort(),
    "forever": _forever,
    "sleeps": _sleeps,
    # From here on a call goes on as if nothing had happened.
    "prints": lambda: print("a line that no result is"),
    "closes": _closes,
    "changes_folder": lambda: os.chdir("/"),
    "changes_environment": lambda: os.environ.update(LANG="xx", TZ="Asia/Kathmandu"),
    "changes_path": lambda: sys.path.insert(0, "/nowhere"),
    "warnings_as_errors": lambda: warnings.simplefilter("error"),
    "numpy_raises": lambda: np.seterr(all="raise"),
    "seeds": _seeds,
    "handlers": _handlers,
    "leaves_thread": lambda: threading.Thread(target=_forever_asleep).start(),
    "leaves_process": lambda: subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]),
    "forks": _process_in_c,
    "holds_lock": lambda: threading.Thread(target=_forever_asleep, daemon=True).start(),
    "replaces_numpy": _replaces_numpy,
}


def _forever_asleep() -> None:
    while True:
        time.sleep(1)
