"""The two commands of the README find a fitting Python or say what is missing, and install once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def find_python(*folders: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(str(f) for f in folders)
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "find-python")],
        capture_output=True,
        text=True,
        env={"PATH": path, **environment},
        timeout=60,
    )


def test_without_python_it_says_what_is_missing(tmp_path: Path) -> None:
    done = find_python(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs Python 3.12 or 3.13, and none was found" in done.stderr


def test_a_shim_of_a_version_that_is_not_installed_is_passed_over(tmp_path: Path) -> None:
    for name in ("python3.13", "python3.12"):
        shim = tmp_path / name
        shim.write_text("#!/bin/sh\necho 'version not installed' >&2\nexit 127\n")
        shim.chmod(0o755)
    assert find_python(tmp_path).returncode == 1
    (tmp_path / "python3").symlink_to(sys.executable)
    done = find_python(tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "python3")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_environment_that_is_there_is_not_installed_again(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)

    def planned() -> str:
        # Not the variables of the make that may have started this test: they would reach the one below.
        env = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "MFLAGS"}
        command = ["make", "--dry-run", "--no-print-directory", "demo", "VENV=.venv"]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    first = planned()
    assert "pip install" in first
    [stamp] = [
        word for line in first.splitlines() for word in line.split() if ".installed-" in word and "*" not in word
    ]
    (tmp_path / ".venv").mkdir()
    (tmp_path / stamp).touch()
    assert "pip install" not in planned()
    (tmp_path / "constraints.txt").write_text("numpy==1\n")
    assert "pip install" in planned()
