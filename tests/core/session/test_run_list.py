"""`eagbench runs` and `eagbench.list_runs`: every run folder with its state, whatever became of the others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import eagbench
from tests.conftest import Finished

Cli = Callable[..., Finished]


@pytest.fixture
def runs(session_folder: Path, tmp_path: Path) -> Path:
    """One run of each state, among other things."""
    first = session_folder / "runs" / "first"
    root = tmp_path / "runs"
    shutil.copytree(first, root / "deeper" / "good")
    for name in ("cut", "edited", "newer", "columns"):
        shutil.copytree(first, root / name)
    (root / "cut" / "manifest.json").write_text((first / "manifest.json").read_text()[:500])
    manifest = json.loads((first / "manifest.json").read_text())
    (root / "edited" / "manifest.json").write_text(json.dumps({**manifest, "limit": 5}))
    (root / "newer" / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    (root / "columns" / "results.csv").write_text("method,value\n\x1b[31mred,1\n")
    (root / "begun").mkdir()
    (root / "begun" / ".eagbench-run").write_text('{"benchmark": "second"}')
    (root / "notes").mkdir()
    (root / "notes" / "manifest.json").write_text("{}")
    return root


def test_every_state_is_told(runs: Path) -> None:
    listed = eagbench.list_runs(runs)
    states = {Path(folder).name: state for folder, state in zip(listed["folder"], listed["state"], strict=True)}
    assert states == {
        "good": "finished", "cut": "damaged", "edited": "damaged", "newer": "newer", "columns": "damaged",
        "begun": "unfinished",
    }  # fmt: skip
    reasons = listed.set_index(listed["folder"].map(lambda folder: Path(folder).name))["reason"]
    assert "changed after the run" in reasons["edited"]
    assert "lacks the columns" in reasons["columns"]
    assert "not JSON" in reasons["cut"]


def test_key_numbers_are_those_of_the_results(runs: Path) -> None:
    run = eagbench.open_run(runs / "deeper" / "good")
    wanted = run.results.query("condition == 'clean' and seed == 'mean' and metric == 'auroc'").set_index("method")
    listed = eagbench.list_runs(runs).query("state == 'finished'").set_index("method")
    assert set(listed["metric"]) == {"auroc"}
    for column in ("value", "ci_low", "ci_high", "n_cases", "n_positive"):
        assert listed[column].astype(float).to_dict() == wanted[column].astype(float).to_dict()
    assert set(listed["data"]) == {"physionet2012"}
    assert set(listed["version"]) == {eagbench.__version__}


def test_the_command_prints_them(runs: Path, cli: Cli) -> None:
    finished = cli("runs", runs)
    assert finished.code == 0
    lines = finished.out.splitlines()
    good = next(i for i, line in enumerate(lines) if line.startswith("deeper/good "))
    assert "finished" in lines[good]
    assert "physionet2012" in lines[good]
    assert lines[good + 1].split()[:2] == ["logistic_regression", "auroc"]
    assert "unfinished" in next(line for line in lines if line.startswith("begun "))
    assert "\x1b" not in finished.out
    assert "notes" not in finished.out


def test_a_run_folder_itself_an_empty_folder_and_none(runs: Path, tmp_path: Path, cli: Cli) -> None:
    assert cli("runs", runs / "deeper" / "good").out.startswith("good ")
    (tmp_path / "empty").mkdir()
    assert cli("runs", tmp_path / "empty").out == f"no run in {tmp_path / 'empty'}\n"
    assert eagbench.list_runs(tmp_path / "empty").empty
    missing = cli("runs", tmp_path / "missing")
    assert missing.code == 2
    assert "there is no such folder" in missing.err
