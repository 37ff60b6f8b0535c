"""Interrupt the writing of one folder, from outside of eagbench: Python imports this file when the process starts.

Every creation, renaming and removal below the folder is counted, and the chosen one does not happen.

    INTERRUPT_FOLDER   the folder
    INTERRUPT_AT       the number of the step that does not happen, from 1; 0 for none
    INTERRUPT_BY       `kill`: the process dies there, and a file about to be renamed is only half on disk.
                       `full`: the disk is full at that step and at all later ones.
    INTERRUPT_COUNT    a file that receives the number of steps when the process ends
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
from pathlib import Path
from typing import Any

FOLDER = os.environ.get("INTERRUPT_FOLDER")
AT = int(os.environ.get("INTERRUPT_AT", "0"))
BY = os.environ.get("INTERRUPT_BY", "kill")
COUNT = os.environ.get("INTERRUPT_COUNT")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
STEPS = {"open", "os.rename", "os.remove", "os.mkdir"}
done = 0


def _is_step(event: str, arguments: tuple[Any, ...]) -> bool:
    if event not in STEPS or not isinstance(arguments[0], str | os.PathLike):
        return False
    if event == "open" and not arguments[2] & WRITING:
        return False
    path = os.fspath(arguments[0])
    return isinstance(path, str) and (path == FOLDER or path.startswith(f"{FOLDER}{os.sep}"))


def _interrupt(event: str, arguments: tuple[Any, ...]) -> None:
    global done
    if not _is_step(event, arguments):
        return
    done += 1
    if AT == 0 or done < AT:
        return
    if BY == "full":
        if event != "os.remove":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(arguments[0]))
        return
    if event == "os.rename":
        os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


if FOLDER:
    sys.addaudithook(_interrupt)
    if COUNT:
        atexit.register(lambda: Path(COUNT).write_text(str(done)))
