"""Interrupt eagbench where it writes, from outside of it: Python imports this file when a process starts.

Every creation, renaming and removal at a place is counted in each process, and the chosen one does not happen.

    INTERRUPT_PLACE    the place: a folder, or the beginning of paths: `<store>/sft/<fingerprint>` for one stage
    INTERRUPT_AT       the number of the step that does not happen, from 1; 0 for none
    INTERRUPT_BY       `kill`: the process dies there, and a file about to be renamed is only half on disk.
                       `main`: the process that started this worker dies there, or this one if it is no worker.
                       `group`: all processes of the command die there.
                       `full`: the disk is full at that step and at all later ones.
    INTERRUPT_AFTER    seconds from the step until processes die; then the step itself still happens
    INTERRUPT_REPORT   a file that receives the path of every step, and the line `interrupted`
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

PLACE = os.environ.get("INTERRUPT_PLACE")
AT = int(os.environ.get("INTERRUPT_AT", "0"))
BY = os.environ.get("INTERRUPT_BY", "kill")
AFTER = float(os.environ.get("INTERRUPT_AFTER", "0"))
REPORT = os.environ.get("INTERRUPT_REPORT")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
STEPS = {"open", "os.rename", "os.remove", "os.mkdir"}
done = 0
report = os.open(REPORT, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if REPORT else None


def _say(line: str) -> None:
    if report is not None:
        os.write(report, f"{line}\n".encode())


def _is_step(event: str, arguments: tuple[Any, ...]) -> bool:
    if event not in STEPS or not isinstance(arguments[0], str | os.PathLike):
        return False
    if event == "open" and not arguments[2] & WRITING:
        return False
    path = os.fspath(arguments[0])
    # After the beginning comes nothing, a part of the path, or an ending such as `.partial`.
    return isinstance(path, str) and path.startswith(str(PLACE)) and path[len(str(PLACE)) :][:1] in {"", os.sep, "."}


def _interrupt(event: str, arguments: tuple[Any, ...]) -> None:
    global done
    if not _is_step(event, arguments):
        return
    done += 1
    _say(os.fspath(arguments[0]))
    if AT == 0 or done < AT:
        return
    if BY == "full":
        if event != "os.remove":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(arguments[0]))
        return
    if AFTER:
        if done == AT:
            timer = threading.Timer(AFTER, _kill)
            timer.daemon = True
            timer.start()
        return
    # Not where another process dies and this one still renames it.
    if event == "os.rename" and BY != "main" and Path(arguments[0]).is_file():
        os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
    _kill()


def _kill() -> None:
    _say("interrupted")
    parent = multiprocessing.parent_process()
    if BY == "group":
        os.killpg(0, signal.SIGKILL)
    elif BY == "main" and parent is not None and parent.pid is not None:
        os.kill(parent.pid, signal.SIGKILL)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


if PLACE:
    sys.addaudithook(_interrupt)
