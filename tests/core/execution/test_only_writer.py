"""Tests of the right to write a folder, with real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from eagbench.execution.only_writer import only_writer

# Appends its name at the begin and at the end of a short while as the only writer.
_WRITER = """
import sys, time
from pathlib import Path
from eagbench.execution.only_writer import only_writer
folder, name = Path(sys.argv[1]), sys.argv[2]
for _ in range(5):
    with only_writer(folder):
        with (folder / "turns").open("a") as turns:
            print(name, file=turns, flush=True)
            time.sleep(0.02)
            print(name, file=turns, flush=True)
"""
_HANGING = """
import sys, time
from pathlib import Path
from eagbench.execution.only_writer import only_writer
with only_writer(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(600)
"""


def test_writers_take_turns_and_leave_nothing(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, tmp_path, name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    turns = (tmp_path / "turns").read_text().split()
    assert len(turns) == 30
    assert turns[::2] == turns[1::2], "one began to write before another one had ended"
    assert [path.name for path in tmp_path.iterdir()] == ["turns"]


def test_a_killed_writer_is_not_waited_for_and_what_it_left_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HANGING, tmp_path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "mine\n"
        writer.kill()
    (tmp_path / "..eagbench-writing.0123456789abcdef.clock").touch()  # of another that was killed while it waited
    with only_writer(tmp_path):
        assert not list(tmp_path.glob("*.clock"))
    assert list(tmp_path.iterdir()) == []


def test_an_error_gives_the_right_back(tmp_path: Path) -> None:
    with pytest.raises(MemoryError), only_writer(tmp_path):
        raise MemoryError
    assert list(tmp_path.iterdir()) == []
