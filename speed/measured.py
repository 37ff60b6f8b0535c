"""What a script of speed/ measured, as JSON beside its print-out: tables, command, machine, date and revision."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table of results.

    Attributes:
        columns: Titles of the columns, with units.
        rows: Values in the columns' order; None where there is none.
        note: A sentence or two below it.
        title: What it shows, if a script has several.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    note: str = ""
    title: str = ""


def add_json(parser: argparse.ArgumentParser) -> None:
    """Give a script the option `--json FILE`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to a file, too")


def write(file: Path | None, *tables: Table) -> None:
    """Write tables to the file of `--json`, if there is one."""
    if file is not None:
        found = {**circumstances(), "tables": [asdict(table) for table in tables]}
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def circumstances() -> dict[str, Any]:
    """Say what was measured, on which machine, when, and beside how much other work."""
    return {
        "command": _command(sys.argv),
        "machine": machine(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "load_average": round(os.getloadavg()[1], 1),
        "revision": revision(),
    }


def _command(arguments: Sequence[str]) -> str:
    """Write the command without `--json FILE`."""
    script, *given = arguments
    if "--json" in given:
        at = given.index("--json")
        given = [*given[:at], *given[at + 2 :]]
    return shlex.join(["python", f"speed/{Path(script).name}", *given])


def machine() -> Mapping[str, Value]:
    """Name the processor, the cores that this process may use, and the memory in GB (10^9 bytes)."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": cores,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()}, Python {platform.python_version()}",
    }


def revision() -> str:
    """Return the commit of the working tree, and whether files of it have changed."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = ", with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return git("rev-parse", "--short=7", "HEAD") + changed
