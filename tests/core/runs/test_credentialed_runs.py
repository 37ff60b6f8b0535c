"""Runs of credentialed data: nobody else can read what they write, and their words repeat no record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Finished
from tests.credentialed_data import Private, eagbench, open_paths, write_benchmark, write_private
from tests.leaking_plugin import install

HOWS = ("value", "key", "chain", "user", "warning", "good")
SECRET = "qwertyuiop-12"


@dataclass(frozen=True, slots=True)
class Failing:
    """A run in which a plugin fails in every way."""

    folder: Path
    private: Private
    finished: Finished


def outside(run: Path) -> list[Path]:
    """The files of a run folder that hold no case data by declaration."""
    return [path for path in run.iterdir() if path.suffix in {".json", ".jsonl", ".csv", ".html"}]


@pytest.fixture(scope="module")
def failing(tmp_path_factory: pytest.TempPathFactory) -> Failing:
    folder = tmp_path_factory.mktemp("failing")
    private = write_private(folder / "data")
    made = [f"{{name: leaking, how: {how}, as: {how}, api_key: {SECRET}}}" for how in HOWS]
    path = write_benchmark(folder / "b.yaml", private, ", ".join(["logistic_regression", *made]))
    path.write_text(path.read_text().replace("brier]", "brier, leaking_metric]"))
    for place in ("store", "run"):  # as an earlier version made them
        (folder / place).mkdir(mode=0o755)
    finished = eagbench("run", path, "--out", "run", "--workers", 2, folder=folder, site=install(folder / "site"))
    return Failing(folder, private, finished)


@pytest.mark.slow
def test_nobody_else_can_read_what_a_run_writes(failing: Failing) -> None:
    assert failing.finished.code == 1, failing.finished.err
    assert open_paths(failing.folder / "run") == []
    assert open_paths(failing.folder / "store") == []
    assert "was open to other users of this machine" in failing.finished.err


@pytest.mark.slow
def test_nothing_that_a_run_says_repeats_a_record(failing: Failing) -> None:
    said = failing.finished.out + failing.finished.err
    assert failing.private.found_in(said) == []
    assert failing.private.found_in_files(outside(failing.folder / "run")) == []
    for words in (
        "ValueError at leaking_package.py:",
        "the expert 'leaking' of ",
        "KeyError at",
        "RuntimeError at",
        "UserWarning at",
        "events.csv:17",
    ):
        assert words in said
    log = [json.loads(line) for line in (failing.folder / "run" / "log.jsonl").read_text().splitlines()]
    assert sum("leaking_package.py:" in entry.get("traceback", "") for entry in log) == 4


@pytest.mark.slow
def test_the_words_are_in_a_file_of_their_own(failing: Failing) -> None:
    kept = (failing.folder / "run" / "private" / "errors.jsonl").read_text()
    assert {json.loads(line)["what"] for line in kept.splitlines()} > {"expert leaking", "metric leaking_metric"}
    assert len(failing.private.found_in(kept)) >= 3
    assert all(
        "private" not in name for name in json.loads((failing.folder / "run/manifest.json").read_text())["files"]
    )


@pytest.mark.slow
def test_a_secret_reaches_its_component_and_no_file(failing: Failing) -> None:
    for path in (*(failing.folder / "run").rglob("*"), *(failing.folder / "store").rglob("*")):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in failing.finished.out + failing.finished.err


def test_a_loader_says_the_file_and_not_the_stay(tmp_path: Path) -> None:
    private = write_private(tmp_path / "data", n=30)
    with (private.root / "outcomes.csv").open("a") as stream:
        stream.write(f"{private.stays[3]},1,55,F,north\n")
    done = eagbench("run", write_benchmark(tmp_path / "b.yaml", private), "--out", "run", folder=tmp_path)
    assert done.code == 2
    assert "outcomes.csv" in done.err
    assert private.found_in(done.out + done.err) == []
    assert private.stays[3] in (tmp_path / "run" / "private" / "errors.jsonl").read_text()
    assert open_paths(tmp_path / "run") == []
    again = eagbench("run", tmp_path / "b.yaml", "--out", "run", folder=tmp_path)
    assert again.code == 2
    assert "outcomes.csv" in again.err


def test_a_bug_says_its_lines_and_not_its_words(
    cli: Callable[..., Finished], tmp_path: Path, store_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("Zst0001q has 88.4173")

    private = write_private(tmp_path / "data")
    monkeypatch.setattr("eagbench.session.running.write_run_folder", broken)
    done = cli("run", write_benchmark(tmp_path / "b.yaml", private), "--out", tmp_path / "run")
    assert done.code == 70
    assert "ValueError at test_credentialed_runs.py" in done.err
    assert "this is a bug" in done.err
    assert not any(word in done.out + done.err for word in ("Zst0001q", "88.4173"))
    assert "Zst0001q" in (tmp_path / "run" / "private" / "errors.jsonl").read_text()


SWEEP = """\
name: private
benchmark: b.yaml
objectives: [{metric: auroc}]
space: {methods.odd.how: {categorical: [good, value, user]}}
trials: 2
fixed_trials: [{methods.odd.how: value}, {methods.odd.how: user}]
sampler: {name: RandomSampler, seed: 0}
"""


@pytest.mark.slow
def test_a_sweep_is_as_private_as_a_run(tmp_path: Path) -> None:
    private = write_private(tmp_path / "data")
    write_benchmark(tmp_path / "b.yaml", private, "{name: leaking, as: odd}")
    (tmp_path / "s.yaml").write_text(SWEEP)
    done = eagbench("sweep", "s.yaml", "--out", "sweep", "--jobs", 2, folder=tmp_path, site=install(tmp_path / "site"))
    assert "trial" in done.out, done.err
    assert open_paths(tmp_path / "sweep") == []
    assert open_paths(tmp_path / "store") == []
    assert private.found_in(done.out + done.err) == []
    files = [path for path in (tmp_path / "sweep").iterdir() if path.is_file()]
    assert private.found_in_files(files) == []
    assert private.found_in((tmp_path / "sweep" / "private" / "errors.jsonl").read_text()) != []
