"""A run folder whose writing was cut short: its command finishes it, readers say what it is, others are refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.conftest import Finished
from tests.core.execution.power_cut import Tree, cuts, cuts_at_the_end, recording

BENCHMARK = """\
name: cut_short
data: {{name: tjh, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods:
  - logistic_regression
  - {{name: lightgbm, n_estimators: 20}}
comparisons: {{method: lightgbm, metric: auroc}}
intervals: {{resamples: 100}}
recalibrate: true
subgroups: {{by: [sex]}}
metrics: [auroc, brier]
"""
HOOK = Path(__file__).parent / "interrupting"
FILES = {
    "comparisons.csv", "costs.csv", "log.jsonl", "manifest.json", "patients.parquet", "predictions/lightgbm.parquet",
    "predictions/logistic_regression.parquet", "report.html", "results.csv", "robustness.csv", "subgroups.parquet",
    "training_summaries.jsonl", "tuning_predictions.parquet",
}  # fmt: skip
Command = Callable[..., Finished]


@dataclass(frozen=True, slots=True)
class Kitchen:
    """A benchmark whose stages are all in a store, and the folder that an undisturbed run of it leaves.

    Attributes:
        folder: Holds the store.
        benchmark: The benchmark's file.
        whole: The run folder.
        command: Runs the command line.
        n_steps: How many steps the first writing of a run folder takes.
    """

    folder: Path
    benchmark: Path
    whole: Path
    command: Command
    n_steps: int = 0

    def run(self, out: Path, at: int = 0, by: str = "kill", count: Path | None = None) -> Finished:
        """Run the benchmark into a folder, interrupted at a step of its writing; 0 for not at all."""
        hook = {"INTERRUPT_FOLDER": str(out), "INTERRUPT_AT": str(at), "INTERRUPT_BY": by} if at or count else {}
        env = {
            "EAGBENCH_STORE": str(self.folder / "store"),
            "PYTHONPATH": os.pathsep.join([str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]),
            **hook,
            **({} if count is None else {"INTERRUPT_COUNT": str(count)}),
        }
        return self.command("run", self.benchmark, "--out", out, "--quiet", env=env)

    def count(self, out: Path) -> int:
        """Count the steps of an undisturbed writing."""
        count = self.folder / "count"
        done = self.run(out, count=count)
        assert done.code == 0, done.err
        return int(count.read_text())


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, run_command: Command) -> Kitchen:
    folder = tmp_path_factory.mktemp("interrupted")
    benchmark = folder / "cut_short.yaml"
    benchmark.write_text(BENCHMARK.format(root=shared_data / "tjh"))
    kitchen = Kitchen(folder, benchmark, folder / "whole" / "out", run_command)
    # What is compared has all its stages from the store.
    assert kitchen.run(folder / "computed").code == 0
    kitchen = replace(kitchen, n_steps=kitchen.count(kitchen.whole))
    assert set(contents(kitchen.whole)) == FILES
    assert kitchen.n_steps >= 2 * len(FILES)  # nearly each is opened and renamed
    return kitchen


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run folder, hidden ones too, without the times at which it was written."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    if "manifest.json" in found:
        created = json.loads(found["manifest.json"])["created"].encode()
        found = {name: content.replace(created, b"CREATED") for name, content in found.items()}
    if "log.jsonl" in found:
        found["log.jsonl"] = re.sub(rb'"time": "[^"]*"|"seconds": [0-9.]+', b"", found["log.jsonl"])
    return found


def halves(folder: Path, whole: Path) -> list[str]:
    """The files at their final name that are not as in the undisturbed run."""
    expected = contents(whole)
    timed = {"manifest.json", "report.html"}  # they hold the time of writing
    found = contents(folder) if folder.is_dir() else {}
    return [name for name, content in found.items() if name in FILES - timed and content != expected[name]]


def check_readers(cli: Command, out: Path, whole: Path) -> None:
    """Whatever was interrupted: a reader reads a whole run, or says in one sentence that it was not finished."""
    readers = [("verify", out), ("report", out, "--format", "csv"), ("compare", out, whole)]
    for arguments in readers:
        done = cli(*arguments)
        if (out / "manifest.json").is_file():
            # Not "some checks failed": what is there is whole. Two equal runs can be compared.
            assert done.code == 0, done
        else:
            assert done.code == 2, done
            assert "Traceback" not in done.err
            begun = (out / ".eagbench-run").is_file()
            assert ("this run was not finished" in done.err) == begun, done.err
            assert ("run the same `eagbench run` command again" in done.err) == begun, done.err


def check_resumed(kitchen: Kitchen, out: Path) -> None:
    resumed = kitchen.run(out)
    assert resumed.code == 0, resumed.err
    assert contents(out) == contents(kitchen.whole)


def spread(n_steps: int, n: int) -> list[int]:
    """`n` of the steps, from the first to the last."""
    return sorted({1 + round(i * (n_steps - 1) / (n - 1)) for i in range(n)})


def check_kills(kitchen: Kitchen, cli: Command, tmp_path: Path, n_points: int | None) -> None:
    points = range(1, kitchen.n_steps + 1) if n_points is None else spread(kitchen.n_steps, n_points)
    for at in points:
        out = tmp_path / f"killed_{at}" / "out"
        killed = kitchen.run(out, at)
        assert killed.code == -signal.SIGKILL, (at, killed)
        assert halves(out, kitchen.whole) == [], at
        check_readers(cli, out, kitchen.whole)
        check_resumed(kitchen, out)
        shutil.rmtree(out)


def test_a_killed_first_writing_is_finished_by_its_command(kitchen: Kitchen, cli: Command, tmp_path: Path) -> None:
    check_kills(kitchen, cli, tmp_path, 3)


@pytest.mark.slow
def test_a_first_writing_killed_at_every_step(kitchen: Kitchen, cli: Command, tmp_path: Path) -> None:
    check_kills(kitchen, cli, tmp_path, None)


def check_kills_of_a_second_writing(kitchen: Kitchen, cli: Command, tmp_path: Path, n_points: int) -> None:
    finished = shutil.copytree(kitchen.whole, tmp_path / "finished" / "out")
    n_steps = kitchen.count(finished)
    for at in spread(n_steps, n_points):
        out = shutil.copytree(kitchen.whole, tmp_path / f"again_{at}" / "out")
        assert kitchen.run(out, at).code == -signal.SIGKILL
        assert halves(out, kitchen.whole) == [], at
        check_readers(cli, out, kitchen.whole)
        check_resumed(kitchen, out)


def test_a_finished_folder_killed_while_it_is_written_again(kitchen: Kitchen, cli: Command, tmp_path: Path) -> None:
    check_kills_of_a_second_writing(kitchen, cli, tmp_path, 2)


@pytest.mark.slow
def test_a_finished_folder_killed_at_many_steps(kitchen: Kitchen, cli: Command, tmp_path: Path) -> None:
    check_kills_of_a_second_writing(kitchen, cli, tmp_path, 12)


def check_full_disks(kitchen: Kitchen, cli: Command, tmp_path: Path, n_points: int) -> None:
    n_steps = kitchen.n_steps
    # The last step removes the marker, for which a full disk has room.
    for at in spread(n_steps - 1, n_points):
        out = tmp_path / f"full_{at}" / "out"
        full = kitchen.run(out, at, by="full")
        assert full.code not in (0, 1), full
        assert os.strerror(errno.ENOSPC) in full.err, full.err
        assert halves(out, kitchen.whole) == [], at
        assert not [p for p in out.rglob(".*.*") if p.is_file()], "what was half written is gone"
        check_readers(cli, out, kitchen.whole)
        check_resumed(kitchen, out)


def test_a_run_goes_on_after_a_full_disk(kitchen: Kitchen, cli: Command, tmp_path: Path) -> None:
    check_full_disks(kitchen, cli, tmp_path, 2)


@pytest.mark.slow
def test_a_run_goes_on_after_full_disks_at_many_steps(kitchen: Kitchen, cli: Command, tmp_path: Path) -> None:
    check_full_disks(kitchen, cli, tmp_path, 12)


def test_another_benchmark_is_refused_in_an_unfinished_folder(
    kitchen: Kitchen, cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAGBENCH_STORE", str(kitchen.folder / "store"))
    out = tmp_path / "out"
    assert kitchen.run(out, 12).code == -signal.SIGKILL
    before = contents(out)
    other = tmp_path / "other.yaml"
    other.write_text(kitchen.benchmark.read_text().replace("cut_short", "another"))
    done = cli("run", other, "--out", out)
    assert done.code == 2
    assert "the output folder holds a run of the benchmark 'cut_short', not of 'another'" in done.err
    assert contents(out) == before

    (out / ".eagbench-run").write_text("[]")
    done = cli("run", kitchen.benchmark, "--out", out)
    assert done.code == 2
    assert "this file does not say whose run the folder holds" in done.err


def test_what_a_kill_leaves_before_the_marker_is_no_obstacle(kitchen: Kitchen, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / ".eagbench-999999998").touch()  # the probe of whether the folder can be written
    (out / "..eagbench-run.999999998").write_text("{")  # the marker, half written
    check_resumed(kitchen, out)


def test_hidden_files_of_others_stay(kitchen: Kitchen, tmp_path: Path) -> None:
    out = shutil.copytree(kitchen.whole, tmp_path / "out")
    (out / ".notes.999999998").write_text("mine")
    (out / ".results.csv.999999998").write_text("half")
    # A process that is alive: it may write here at this moment.
    (out / f".costs.csv.{os.getppid()}").write_text("half")
    assert kitchen.run(out).code == 0
    hidden = {p.name for p in out.iterdir() if p.name.startswith(".")}
    assert hidden == {".notes.999999998", f".costs.csv.{os.getppid()}"}


def vouched_for_and_damaged(tree: Tree) -> list[str]:
    """The files of a run folder, as a power cut may leave it, that are not what its manifest says."""
    text = tree.get("manifest.json")
    hashes = {} if text is None else json.loads(text)["files"]
    return [name for name, known in hashes.items() if hashlib.sha256(tree.get(name) or b"").hexdigest() != known]


def test_after_a_power_cut_a_run_folder_with_a_manifest_is_whole(
    kitchen: Kitchen, cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EAGBENCH_STORE", str(kitchen.folder / "store"))
    out = tmp_path / "out"
    for _ in ("into a new folder", "into that of an earlier run"):
        with recording(tmp_path) as recorder:
            assert cli("run", kitchen.benchmark, "--out", out, "--quiet").code == 0
        trees = [below(tree, "out/") for tree in cuts(recorder)]
        assert [name for tree in trees for name in vouched_for_and_damaged(tree)] == []
        assert any("manifest.json" in tree for tree in trees)
        for tree in cuts_at_the_end(recorder):
            assert set(below(tree, "out/")) >= FILES
        # An earlier run with other numbers, as whole as this one.
        (out / "results.csv").write_text("other numbers")
        manifest = json.loads((out / "manifest.json").read_text())
        manifest["files"]["results.csv"] = hashlib.sha256(b"other numbers").hexdigest()
        (out / "manifest.json").write_text(json.dumps(manifest))


def below(tree: Tree, folder: str) -> Tree:
    """The part of a tree below a folder."""
    return {name.removeprefix(folder): content for name, content in tree.items() if name.startswith(folder)}
