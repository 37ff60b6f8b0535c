"""After a power cut at any moment, what a manifest vouches for is there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from eagbench.contracts.stages import StageNode
from eagbench.execution import durable, lease
from eagbench.execution import store as store_module
from eagbench.execution.stage_checks import forget, hashed_damage
from eagbench.execution.stage_files import MANIFEST, damaged_files
from eagbench.execution.store import Store
from tests.core.execution.power_cut import Recorder, Tree, cuts, cuts_at_the_end, lay_out, recording

STAGE = StageNode("expert", "one", "m:f", {}, {}, code="c", seed=0)
FINAL = f"{STAGE.kind}/{STAGE.fingerprint}"


def compute(store: Store, text: str, *, anew: bool = False) -> None:
    """Do a stage that leaves three files and a checkpoint."""
    with store.lock(STAGE):
        store.put_aside(STAGE)
        out = store.begin(STAGE, anew=anew)
        (out / "adapter").mkdir(exist_ok=True)
        (out / "checkpoints").mkdir(exist_ok=True)
        (out / "checkpoints" / "half.bin").write_text(text)
        for name in ("model.txt", "curves.jsonl", "adapter/weights.bin"):
            (out / name).write_text(f"{name} {text}")
        store.commit(STAGE, {"seconds": 1.0})


def recorded_commit(root: Path) -> Recorder:
    """Record a stage in an empty store."""
    store = Store.open(root)
    with recording(root) as recorder:
        compute(store, "first")
    return recorder


def damaged(trees: list[Tree], folder: Path) -> list[tuple[str, ...]]:
    """What is damaged in the stage where it has a manifest, in any of the trees."""
    stages = {tuple((name, text) for name, text in tree.items() if name.startswith(FINAL)) for tree in trees}
    with_manifest = [dict(stage) for stage in stages if f"{FINAL}/{MANIFEST}" in dict(stage)]
    assert with_manifest
    found = []
    for number, tree in enumerate(with_manifest):
        lay_out({STAGE.kind: None, **tree}, folder / str(number))
        found.append(damaged_files(folder / str(number) / FINAL))
    shutil.rmtree(folder)
    return [problems for problems in found if problems]


def test_a_manifest_is_never_there_without_its_files(tmp_path: Path) -> None:
    recorder = recorded_commit(tmp_path / "store")
    trees = cuts(recorder)
    assert len(trees) > 100
    assert damaged(trees, tmp_path / "cut") == []


def test_a_finished_stage_is_there_after_a_power_cut(tmp_path: Path) -> None:
    recorder = recorded_commit(tmp_path / "store")
    for tree in cuts_at_the_end(recorder):
        assert {f"{FINAL}/{name}" for name in (MANIFEST, "model.txt", "adapter/weights.bin")} <= set(tree)


def test_a_stage_computed_anew_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """Also a damaged one, which is put aside: it is never lost."""
    store = Store.open(tmp_path / "store")
    compute(store, "old")
    with recording(store.root) as recorder:
        compute(store, "new", anew=True)
    assert damaged(cuts(recorder), tmp_path / "cut") == []
    (store.folder(STAGE) / "model.txt").write_text("damaged")
    forget()
    with recording(store.root) as recorder:
        compute(store, "newer")
    for tree in cuts(recorder):
        models = {tree.get(f"{FINAL}{aside}/model.txt") for aside in ("", ".damaged-1")}
        assert b"damaged" in models
    assert all(f"{FINAL}/{MANIFEST}" in tree for tree in cuts_at_the_end(recorder))


def test_work_goes_on_after_any_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = cuts(recorded_commit(tmp_path / "store"))
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    monkeypatch.setattr(lease, "_EMPTY_SECONDS", 0.0)  # many a lease lost its words
    for number, tree in enumerate(trees[:: max(1, len(trees) // 100)]):
        lay_out(tree, tmp_path / str(number))
        store = Store.open(tmp_path / str(number))
        if not store.is_whole(STAGE):
            compute(store, "first")
        assert hashed_damage(store.folder(STAGE)) == ()
        assert (store.folder(STAGE) / "model.txt").read_text() == "model.txt first"
        shutil.rmtree(store.root)


@pytest.mark.parametrize("forgotten", [Path.exists, Path.is_file, Path.is_dir])
def test_the_replay_notices_a_sync_that_was_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: Callable[[Path], bool]
) -> None:
    def sync_all(paths: Sequence[Path]) -> None:
        durable.sync_all([path for path in paths if not forgotten(path)])

    monkeypatch.setattr(store_module, "sync_all", sync_all)
    recorder = recorded_commit(tmp_path / "store")
    assert damaged(cuts(recorder), tmp_path / "cut")


def test_a_folder_that_can_not_be_synced_is_passed_over_and_a_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    (tmp_path / "file").write_text("")
    monkeypatch.setattr("os.fsync", refuse)
    durable.sync(tmp_path)
    with pytest.raises(OSError, match="Invalid argument"):
        durable.sync(tmp_path / "file")
