"""A damaged stage is named, put aside and computed again; numbers are those of an undisturbed run."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eagbench.contracts.stages import StageNode, StageOutput, StageRun, no_progress
from eagbench.errors import UserError
from eagbench.execution import stage_checks
from eagbench.execution.computing import compute_stage
from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.store import Store
from eagbench.execution.store_format import FORMAT
from tests.conftest import Finished

BENCHMARK = """\
name: damaged
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods:
  - logistic_regression
  - {{name: lightgbm, n_estimators: 20}}
conditions: [clean, {{name: missing_values, severity: [0.3]}}]
intervals: {{resamples: 100}}
metrics: [auroc, brier]
"""
Cli = Callable[..., Finished]


def node(label: str = "one") -> StageNode:
    return StageNode("expert", label, "m:f", {"label": label}, {}, code="c", seed=0)


def finished_stage(root: Path) -> tuple[Store, StageNode]:
    store, stage = Store.open(root), node()
    (store.begin(stage, anew=False) / "model.txt").write_text("0.25")
    store.commit(stage, {"seconds": 1.0})
    return store, stage


# Single stages.


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were hashed from now on."""
    hashed: list[Path] = []
    before = stage_checks.damaged_files

    def damaged_files(folder: Path) -> tuple[str, ...]:
        hashed.append(folder)
        return before(folder)

    monkeypatch.setattr(stage_checks, "damaged_files", damaged_files)
    return hashed


def test_files_are_hashed_when_their_times_differ_and_once_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stage = finished_stage(tmp_path)
    hashed = count_hashes(monkeypatch)
    assert Store.open(tmp_path).is_whole(stage)
    assert hashed == []  # as committed
    os.utime(store.folder(stage) / "model.txt")
    assert Store.open(tmp_path).is_whole(stage)
    assert Store.open(tmp_path).is_whole(stage)
    assert len(hashed) == 1
    now = time.time()
    for later, times in ((23 * 3600, 1), (25 * 3600, 2), (-3600, 3)):  # a clock set back proves nothing
        monkeypatch.setattr(stage_checks.time, "time", lambda later=later: now + later)
        assert Store.open(tmp_path).is_whole(stage)
        assert len(hashed) == times


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    store, stage = finished_stage(tmp_path)
    path = store.folder(stage) / "model.txt"
    before = path.stat()
    path.write_text("0.26")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert Store.open(tmp_path).damage(stage) == ("model.txt was changed",)


def test_a_moved_store_is_hashed_once_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, stage = finished_stage(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there", copy_function=shutil.copyfile)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    hashed = count_hashes(monkeypatch)
    for root in ("there", "there", "link"):
        assert Store.open(tmp_path / root).is_whole(stage)
    assert len(hashed) == 1


def test_a_process_looks_at_a_stage_once(tmp_path: Path) -> None:
    store, stage = finished_stage(tmp_path)
    assert store.is_whole(stage)
    (store.folder(stage) / "model.txt").write_text("0.26")
    assert store.is_whole(stage)
    assert not Store.open(tmp_path).is_whole(stage)  # the next command


def test_a_store_that_can_only_be_read_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, stage = finished_stage(tmp_path)
    stage_checks.record_of(store.folder(stage)).unlink()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(stage_checks, "replace_text", refuse)
    assert Store.existing(tmp_path).is_whole(stage)
    (store.folder(stage) / "model.txt").write_text("0.26")
    assert Store.existing(tmp_path).damage(stage) == ("model.txt was changed",)


def test_a_damaged_stage_is_put_aside_under_the_next_free_name(tmp_path: Path) -> None:
    for number in (1, 2):
        store, stage = finished_stage(tmp_path)
        (store.folder(stage) / "model.txt").write_text(f"damaged {number}")
        aside = Store.open(tmp_path).put_aside(stage)
        assert aside == f"model.txt was changed; put aside as {stage.fingerprint}.damaged-{number}"
        assert not store.is_complete(stage)
        assert store.put_aside(stage) is None
    kept = [(path / "model.txt").read_text() for path in store.put_aside_earlier()]
    assert kept == ["damaged 1", "damaged 2"]


def test_a_manifest_that_is_gone_is_damage_and_one_that_never_came_is_not(tmp_path: Path) -> None:
    store, stage = finished_stage(tmp_path)
    (store.folder(stage) / MANIFEST).unlink()
    assert Store.open(tmp_path).damage(stage) == (f"{MANIFEST} is missing",)
    empty = node("leaves no file")
    store.begin(empty, anew=False)
    store.commit(empty, {"seconds": 1.0})
    (store.folder(empty) / MANIFEST).unlink()
    assert store.damage(empty) == (f"{MANIFEST} is missing",)
    stage_checks.record_of(store.folder(stage)).unlink()  # as after a kill just before the manifest's renaming
    assert Store.open(tmp_path).damage(stage) == ()
    assert not store.is_complete(stage)


def test_a_stage_that_another_process_commits_again_and_again_is_never_damaged(tmp_path: Path) -> None:
    """As `run --fresh` beside another run: whoever looks sees a whole stage or none."""
    store, stage = finished_stage(tmp_path)
    stop = threading.Event()

    def commit() -> None:
        for number in range(1000):
            if stop.is_set():
                break
            out = store.begin(stage, anew=True)
            for name in ("model.txt", "more.txt")[: 1 + number % 2]:
                (out / name).write_text(f"{number}")
            store.commit(stage, {"seconds": 1.0})

    other = threading.Thread(target=commit)
    other.start()
    try:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            stage_checks.forget()
            assert store.damage(stage) == ()
            assert stage_checks.hashed_damage(store.folder(stage)) == ()
    finally:
        stop.set()
        other.join()


def test_one_damaged_manifest_does_not_end_planning(tmp_path: Path) -> None:
    store, stage = finished_stage(tmp_path)
    other = node("other")
    store.begin(other, anew=False)
    store.commit(other, {"seconds": 3.0})
    for text in ("", "[]", '{"label": "other"}', '{"label": 3'):
        (store.folder(stage) / MANIFEST).write_text(text)
        assert store.seconds_of("expert", "other") == 3.0
        assert store.seconds_of("expert", "one") is None


@pytest.mark.parametrize("text", ["", "12", "x" * 64, "\x00" * 64])
def test_a_content_hash_that_was_cut_off_is_made_again(tmp_path: Path, text: str) -> None:
    store = Store.open(tmp_path / "store")
    (tmp_path / "x.csv").write_text("1")
    right = store.content_hash([tmp_path / "x.csv"])
    (kept,) = (path for path in (store.root / "content").rglob("*") if path.is_file())
    kept.write_text(text)
    assert store.content_hash([tmp_path / "x.csv"]) == right


# The format.


def test_a_store_says_its_format_and_an_older_one_is_taken_up(tmp_path: Path) -> None:
    store, stage = finished_stage(tmp_path)
    assert json.loads((tmp_path / "store.json").read_text())["format"] == FORMAT
    for text in (None, "", "[]", '{"format": 1}'):
        (tmp_path / "store.json").unlink() if text is None else (tmp_path / "store.json").write_text(text)
        assert Store.open(tmp_path).is_whole(stage)
        assert json.loads((tmp_path / "store.json").read_text())["format"] == FORMAT
    assert store.is_complete(stage)


def test_a_store_of_a_newer_format_is_refused_in_one_sentence(tmp_path: Path, cli: Cli) -> None:
    finished_stage(tmp_path)
    (tmp_path / "store.json").write_text(json.dumps({"format": FORMAT + 1, "eagbench_version": "9.1"}))
    for open_store in (Store.open, Store.existing):
        with pytest.raises(UserError, match=f"this store has format {FORMAT + 1}; this eagbench knows formats up to"):
            open_store(tmp_path)
    done = cli("store", "check", "--store", tmp_path)
    assert done.code == 2
    assert "use eagbench 9.1 or newer" in done.err


# `eagbench store check`.


def test_store_check_names_what_is_damaged(tmp_path: Path, cli: Cli) -> None:
    store, stage = finished_stage(tmp_path)
    done = cli("store", "check", "--store", tmp_path)
    assert (done.code, done.out) == (0, f"{tmp_path}: 1 finished stages checked, nothing damaged\n")
    # Also what size and time hide.
    path = store.folder(stage) / "model.txt"
    path.write_text("0.26")
    folder = store.folder(stage)
    stage_checks.note(folder, stage_checks.stamps_of(folder), folder.stat().st_ino)
    (tmp_path / "responses" / "ab").mkdir(parents=True)
    (tmp_path / "responses" / "ab" / "abc.json").write_text('{"time": 1, "ans')
    done = cli("store", "check", "--store", tmp_path)
    assert done.code == 1
    assert f"damaged: one, seed 0 (expert/{stage.fingerprint}): model.txt was changed\n" in done.out
    assert "damaged: a server's answer: " in done.out
    assert "1 finished stages checked, 2 damaged" in done.out
    store.put_aside(stage)
    done = cli("store", "check", "--store", tmp_path)
    assert f"  {store.folder(stage)}.damaged-1" in done.out
    assert cli("store", "check", "--store", tmp_path / "nowhere").code == 2


# Whole runs.


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, physionet_root: Path, run_command: Callable[..., Finished]
) -> Path:
    """A benchmark, its store, and the run folder that an undisturbed run left."""
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "small.yaml").write_text(BENCHMARK.format(root=physionet_root))
    env = {"EAGBENCH_STORE": str(folder / "store")}
    done = run_command("run", folder / "small.yaml", "--out", folder / "out", env=env)
    assert done.code == 0, done.err
    return folder


def statuses(run: Path) -> dict[str, str]:
    """The outcome of each stage of a run, by kind and label."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {f"{line['kind']} {line['label']}": line["status"] for line in lines}


def stage_of(store: Path, kind: str, label: str) -> Path:
    """The folder of a finished stage."""
    manifests = store.glob(f"{kind}/*/{MANIFEST}")
    (found,) = (path for path in manifests if json.loads(path.read_text())["label"].startswith(label))
    return found.parent


def test_a_digit_in_a_stored_model_changes_no_number(
    filled: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The case that was reported: it went into the numbers of a further condition, and nobody noticed."""
    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    monkeypatch.setenv("EAGBENCH_STORE", str(store))
    expert = stage_of(store, "expert", "lightgbm")
    text = (expert / "lightgbm.txt").read_text()
    digit = re.search(r"leaf_value=\D*(\d)", text)
    assert digit is not None
    (expert / "lightgbm.txt").write_text(text[: digit.start(1)] + str(9 - int(digit[1])) + text[digit.end(1) :])
    # Nothing in the store is missing for the benchmark as it is: the damaged model is not needed.
    assert cli("run", filled / "small.yaml", "--out", tmp_path / "out").code == 0
    assert statuses(tmp_path / "out")["expert lightgbm"] == "not_needed"
    assert expert.is_dir()
    # Now one condition is missing.
    for path in store.glob(f"predict/*/{MANIFEST}"):
        if '"severity": 0.3' in path.read_text():
            shutil.rmtree(path.parent)
    shutil.rmtree(store / "score")
    plan = cli("plan", filled / "small.yaml")
    assert "damaged in the store: lightgbm.txt was changed" in plan.out
    done = cli("run", filled / "small.yaml", "--out", tmp_path / "out")
    assert done.code == 0
    said = "stage expert 'lightgbm', seed 0, in the store is damaged: lightgbm.txt was changed; it is put aside"
    assert said in done.err
    assert statuses(tmp_path / "out")["expert lightgbm"] == "computed"
    assert statuses(tmp_path / "out")["expert logistic_regression"] == "reused"
    assert expert.with_name(f"{expert.name}.damaged-1").is_dir()
    assert (tmp_path / "out" / "results.csv").read_bytes() == (filled / "out" / "results.csv").read_bytes()
    assert cli("store", "check").code == 0


@pytest.mark.parametrize("kind", ["cohort", "split", "predict", "score"])
def test_half_a_file_of_any_stage_is_computed_again_with_what_it_needs(
    filled: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """A manifest cut off, or half a Parquet file, was "a bug in eagbench" for ever."""
    store = Path(shutil.copytree(filled / "store", tmp_path / "store"))
    monkeypatch.setenv("EAGBENCH_STORE", str(store))
    shutil.rmtree(store / "expert")  # nobody needs them, until a prediction is damaged
    for path in next(p for p in (store / kind).iterdir() if (p / MANIFEST).is_file()).rglob("*"):
        if path.suffix in {".parquet", ".json"}:
            os.truncate(path, path.stat().st_size // 2)
    done = cli("run", filled / "small.yaml", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert f"stage {kind} " in done.err
    assert f"{MANIFEST} is not whole" in done.err
    computed = [name.split()[0] for name, status in statuses(tmp_path / "out").items() if status == "computed"]
    assert sorted(computed) == (["expert", "predict"] if kind == "predict" else [kind])
    assert (tmp_path / "out" / "results.csv").read_bytes() == (filled / "out" / "results.csv").read_bytes()


def test_a_stage_damaged_during_a_run_fails_what_reads_it_in_one_sentence(tmp_path: Path) -> None:
    """What a stage reads is looked at when its process first reads it; the next run mends it."""
    store, stage = finished_stage(tmp_path)
    (store.folder(stage) / "model.txt").write_text("0.26")
    reader = StageNode("predict", "two", "m:f", {}, {"model": StageOutput(stage)}, code="c")
    outcome = compute_stage(reader, Store.open(tmp_path), fresh=False, progress=no_progress)
    assert outcome.status == "failed"
    assert outcome.reason is not None
    assert "stage expert 'one', seed 0, was changed or removed while this run went on" in outcome.reason
    assert outcome.error is not None


def write_model(run: StageRun) -> None:
    """A stage's function, which takes its time."""
    time.sleep(0.05)
    (run.out / "model.txt").write_text("0.25")


def test_several_at_once_put_a_damaged_stage_aside_and_compute_it_once(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    stage = StageNode("expert", "one", f"{__name__}:write_model", {}, {}, code="c", seed=0)
    for number in range(1, 6):
        store.begin(stage, anew=True).joinpath("model.txt").write_text("0.25")
        store.commit(stage, {"seconds": 1.0})
        (store.folder(stage) / "model.txt").write_text("0.26")
        stage_checks.forget()
        with ThreadPoolExecutor(4) as pool:
            calls = [pool.submit(compute_stage, stage, store, fresh=False, progress=no_progress) for _ in range(4)]
            outcomes = [call.result() for call in calls]
        assert sorted(outcome.status for outcome in outcomes) == ["computed", "reused", "reused", "reused"]
        aside = f"model.txt was changed; put aside as {stage.fingerprint}.damaged-{number}"
        assert [outcome.damage for outcome in outcomes if outcome.damage] == [aside]
        assert (store.folder(stage) / "model.txt").read_text() == "0.25"
        assert len(store.put_aside_earlier()) == number
