"""A run folder whose writing was cut short: its command finishes it, readers say what it is, others are refused."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.core.execution.power_cut import Tree, cuts, cuts_at_the_end, recording
from tests.reliability.interrupted_writing import FILES, CommandLine, Kitchen, halves, make_kitchen, spread
from tests.reliability.run_folders import contents


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory, shared_data: Path, run_command: CommandLine) -> Kitchen:
    return make_kitchen(tmp_path_factory.mktemp("interrupted"), shared_data / "tjh", run_command)


def check_readers(cli: CommandLine, out: Path, whole: Path) -> None:
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


def check_kills(kitchen: Kitchen, cli: CommandLine, tmp_path: Path, n_points: int | None) -> None:
    points = range(1, kitchen.n_steps + 1) if n_points is None else spread(kitchen.n_steps, n_points)
    for at in points:
        out = tmp_path / f"killed_{at}" / "out"
        killed = kitchen.run(out, at)
        assert killed.code == -signal.SIGKILL, (at, killed)
        assert halves(out, kitchen.whole) == [], at
        check_readers(cli, out, kitchen.whole)
        check_resumed(kitchen, out)
        shutil.rmtree(out)


def test_a_killed_first_writing_is_finished_by_its_command(kitchen: Kitchen, cli: CommandLine, tmp_path: Path) -> None:
    check_kills(kitchen, cli, tmp_path, 3)


@pytest.mark.slow
def test_a_first_writing_killed_at_every_step(kitchen: Kitchen, cli: CommandLine, tmp_path: Path) -> None:
    check_kills(kitchen, cli, tmp_path, None)


def check_kills_of_a_second_writing(kitchen: Kitchen, cli: CommandLine, tmp_path: Path, n_points: int) -> None:
    finished = shutil.copytree(kitchen.whole, tmp_path / "finished" / "out")
    n_steps = kitchen.count(finished)
    for at in spread(n_steps, n_points):
        out = shutil.copytree(kitchen.whole, tmp_path / f"again_{at}" / "out")
        assert kitchen.run(out, at).code == -signal.SIGKILL
        assert halves(out, kitchen.whole) == [], at
        check_readers(cli, out, kitchen.whole)
        check_resumed(kitchen, out)


def test_a_finished_folder_killed_while_it_is_written_again(kitchen: Kitchen, cli: CommandLine, tmp_path: Path) -> None:
    check_kills_of_a_second_writing(kitchen, cli, tmp_path, 2)


@pytest.mark.slow
def test_a_finished_folder_killed_at_many_steps(kitchen: Kitchen, cli: CommandLine, tmp_path: Path) -> None:
    check_kills_of_a_second_writing(kitchen, cli, tmp_path, 12)


def check_full_disks(kitchen: Kitchen, cli: CommandLine, tmp_path: Path, n_points: int) -> None:
    n_steps = kitchen.n_steps
    # The last two steps remove the marker and the lease, for which a full disk has room.
    for at in spread(n_steps - 2, n_points):
        out = tmp_path / f"full_{at}" / "out"
        full = kitchen.run(out, at, by="full")
        assert full.code not in (0, 1), full
        assert os.strerror(errno.ENOSPC) in full.err, full.err
        assert halves(out, kitchen.whole) == [], at
        assert not [p for p in out.rglob(".*.*") if p.is_file()], "what was half written is gone"
        check_readers(cli, out, kitchen.whole)
        check_resumed(kitchen, out)


def test_a_run_goes_on_after_a_full_disk(kitchen: Kitchen, cli: CommandLine, tmp_path: Path) -> None:
    check_full_disks(kitchen, cli, tmp_path, 2)


@pytest.mark.slow
def test_a_run_goes_on_after_full_disks_at_many_steps(kitchen: Kitchen, cli: CommandLine, tmp_path: Path) -> None:
    check_full_disks(kitchen, cli, tmp_path, 12)


def test_another_benchmark_is_refused_in_an_unfinished_folder(
    kitchen: Kitchen, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    kitchen: Kitchen, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
