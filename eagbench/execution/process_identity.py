"""Name a process so that others can tell whether it still runs, if they are on the same machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Return where this process runs, its number and when it began, as JSON values."""
    return dict(_identity(os.getpid()))


def is_gone(process: Mapping[str, Any]) -> bool:
    """Say whether a process ran on this machine and has ended. Of another machine's nothing is known.

    Args:
        process: What `this_process` returned there.
    """
    import psutil

    if process.get("place") != _place():
        return False
    try:
        found = psutil.Process(process["pid"])
        return bool(found.create_time() != process["started"] or found.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


@cache
def _identity(pid: int) -> Mapping[str, Any]:
    import psutil

    return {"place": _place(), "pid": pid, "started": psutil.Process(pid).create_time()}


def _place() -> str:
    """Name this machine, and the part of it within which process ids are unique."""
    namespace = Path("/proc/self/ns/pid")
    return f"{platform.node()} {namespace.readlink() if namespace.is_symlink() else ''}".strip()
