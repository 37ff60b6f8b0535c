"""What is closed to others stays so, whoever writes there and whatever the umask."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eagbench.execution.private_files import close, is_private, keep_private, own_umask
from tests.credentialed_data import open_paths


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """The widest umask."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_process_and_those_that_it_starts_write_privately_until_the_end_of_the_block(tmp_path: Path) -> None:
    with own_umask():
        keep_private()
        (tmp_path / "own" / "below").mkdir(parents=True)
        (tmp_path / "own" / "file").write_text("x")
        script = "import sqlite3; sqlite3.connect('own/a.db').execute('create table t (x)')"
        subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    assert open_paths(tmp_path / "own") == []
    assert (tmp_path / "own" / "a.db").is_file()
    (tmp_path / "after").write_text("x")
    assert not is_private(tmp_path / "after")


def test_what_was_open_is_closed_and_nothing_else_is_touched(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    folder = tmp_path / "run"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "script").write_text("x")
    (folder / "deep" / "script").chmod(0o755)
    (folder / "link").symlink_to(outside)
    assert close(folder)
    assert open_paths(folder) == []
    assert (folder / "deep" / "script").stat().st_mode & 0o777 == 0o700
    assert outside.stat().st_mode & 0o777 == 0o666
    assert not close(folder)
    assert not close(tmp_path / "gone")
