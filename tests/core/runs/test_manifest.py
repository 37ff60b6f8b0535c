"""What the manifest says of the code that made a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from eagbench.runs.manifest import git_state
from tests.conftest import ROOT


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_commit_is_that_of_the_source_and_not_of_the_folder_one_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "another project")
    monkeypatch.chdir(tmp_path)
    state = git_state()
    assert state is not None
    assert state["commit"] == git(ROOT, "rev-parse", "HEAD") != git(tmp_path, "rev-parse", "HEAD")


def test_a_repository_that_only_holds_the_environment_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "another project")
    installed = tmp_path / "venv" / "eagbench" / "__init__.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    monkeypatch.setattr("eagbench.__file__", str(installed))
    assert git_state() is None
