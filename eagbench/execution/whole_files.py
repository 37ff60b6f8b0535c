"""Files that a reader sees whole or not at all, and the marker of a folder that is still being written."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from eagbench.errors import UserError
from eagbench.execution.durable import sync

if TYPE_CHECKING:
    import pyarrow as pa

# As `beside` names them. No other file is ever removed: a user's own `.notes.2024` stays.
_TEMPORARY = re.compile(r"\.(.+\.(csv|html|json|jsonl|parquet|svg)|\.eagbench-[a-z]+)\.(?P<pid>\d{1,9})")


@contextlib.contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Yield a place beside a file to write it at, and rename it when it is whole and on the disk.

    After an error nothing stays.
    """
    with _renamed(path) as temporary:
        yield temporary
        sync(temporary)
    sync(path.parent)


@contextlib.contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees either nothing or all of it, also after a power cut."""
    with beside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def replace_text(path: Path, text: str) -> None:
    """Write a file whose loss costs only time: a reader sees nothing or all of it, but anything after a power cut."""
    with _renamed(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a Parquet file so that a reader sees either nothing or all of it, also after a power cut."""
    import pyarrow.parquet as pq

    with beside(path) as temporary:
        pq.write_table(table, temporary)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder while they wrote files beside their place."""
    for path in folder.iterdir() if folder.is_dir() else ():
        found = _TEMPORARY.fullmatch(path.name)
        # Another process that is alive may be writing here at this moment; this one is not.
        if found and (int(found["pid"]) == os.getpid() or not psutil.pid_exists(int(found["pid"]))):
            path.unlink(missing_ok=True)


def write_marker(path: Path, content: Mapping[str, str]) -> None:
    """Write a marker: a hidden file that says whose unfinished work a folder holds."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_marker(path: Path, key: str, what: str) -> str:
    """Read whose unfinished work a folder holds.

    Args:
        path: The marker.
        key: The entry that says it.
        what: What the folder holds, for the message.

    Raises:
        UserError: The marker is damaged.
    """
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))[key])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"this file does not say whose {what} the folder holds", where=str(path), hint="choose another --out"
        ) from error
