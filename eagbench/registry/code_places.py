"""Says in which line of which file something was raised, as a reader finds it in a package."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType

from eagbench.registry.plugin_modules import plugin_modules

_CORE = "eagbench"


def code_place(file: str, line: int) -> str:
    """Name a line of code by its file within its top-level package: `my_package/plugin.py, line 12`."""
    path = Path(file)
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    return f"{path.relative_to(root).as_posix()}, line {line}"


def raised_in_plugin(trace: TracebackType | None) -> str:
    """Name the innermost line of a plugin's package in a traceback; where none is, the innermost line of all.

    Returns:
        Empty if the traceback is.
    """
    plugins = {found.module.partition(".")[0] for found in plugin_modules()} - {_CORE}
    frames = list(traceback.walk_tb(trace))
    for frame, line in reversed(frames):
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] in plugins:
            return code_place(frame.f_code.co_filename, line)
    return code_place(frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else ""
