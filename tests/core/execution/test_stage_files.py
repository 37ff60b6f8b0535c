"""A finished stage's files are what its manifest says, and what a newer eagbench wrote is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.contracts.stages import StageNode
from eagbench.errors import UserError
from eagbench.execution.stage_files import MANIFEST, damaged_files, manifest_text, read_manifest
from eagbench.execution.store import Store
from eagbench.execution.store_format import FORMAT

FILES = {"model.txt": "tree 0.25\n", "curves.jsonl": "{}\n", "adapter/weights.bin": "1234"}


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """The folder of a finished stage."""
    store = Store.open(tmp_path / "store")
    node = StageNode("expert", "é 'one'", "m:f", {"a": [1, 0.1], "nan": float("nan")}, {}, code="c", seed=0)
    out = store.begin(node, anew=False)
    for name, text in FILES.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text(text)
    store.commit(node, {"seconds": 1.0, "costs": {}})
    return store.folder(node)


def change_manifest(folder: Path, change: Callable[[dict[str, object]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_an_untouched_stage_is_whole(stage: Path) -> None:
    assert damaged_files(stage) == ()
    assert read_manifest(stage)["format"] == FORMAT
    (stage / ".DS_Store").write_text("left by a file manager")
    assert damaged_files(stage) == ()


def test_each_damaged_file_is_named(stage: Path) -> None:
    (stage / "model.txt").write_text("tree 0.26\n")
    (stage / "curves.jsonl").unlink()
    (stage / "adapter" / "more.bin").write_text("")
    assert damaged_files(stage) == (
        "adapter/more.bin is not the stage's", "curves.jsonl is missing", "model.txt was changed",
    )  # fmt: skip


def test_a_file_cut_off_or_turned_into_a_folder_is_damaged(stage: Path) -> None:
    os.truncate(stage / "adapter" / "weights.bin", 2)
    (stage / "model.txt").unlink()
    (stage / "model.txt").mkdir()
    assert damaged_files(stage) == ("adapter/weights.bin was changed", "model.txt can't be read: Is a directory")


def test_a_manifest_cut_off_anywhere_is_damaged(stage: Path) -> None:
    text = (stage / MANIFEST).read_text()
    for length in range(len(text)):
        (stage / MANIFEST).write_text(text[:length])
        assert damaged_files(stage) == (f"{MANIFEST} is not whole",)


def test_any_changed_character_of_a_manifest_is_noticed(stage: Path) -> None:
    text = (stage / MANIFEST).read_text()
    for at, character in enumerate(text):
        if not character.isalnum():
            continue
        (stage / MANIFEST).write_text(text[:at] + ("1" if character != "1" else "2") + text[at + 1 :])
        (problem,) = damaged_files(stage)
        assert problem.startswith(f"{MANIFEST} "), (at, character)


@pytest.mark.parametrize("text", ["", "null", "[]", "3", "{}", '"x"', "\xff", "[" * 100_000])
def test_what_is_no_manifest_is_damaged(stage: Path, text: str) -> None:
    (stage / MANIFEST).write_bytes(text.encode("latin-1"))
    (problem,) = damaged_files(stage)
    assert problem.startswith(f"{MANIFEST} ")


def test_the_manifest_of_another_stage_is_damaged(stage: Path) -> None:
    moved = stage.rename(stage.with_name("0" * 64))
    assert damaged_files(moved) == (f"{MANIFEST} is not the stage's",)


def test_a_manifest_without_a_format_is_an_older_one_and_its_files_are_checked(stage: Path) -> None:
    change_manifest(stage, lambda manifest: (manifest.pop("format"), manifest.pop("manifest_sha256")))
    assert damaged_files(stage) == ()
    (stage / "model.txt").write_text("tree 0.26\n")
    assert damaged_files(stage) == ("model.txt was changed",)


def test_a_manifest_that_lost_its_own_hash_is_damaged(stage: Path) -> None:
    change_manifest(stage, lambda manifest: manifest.pop("manifest_sha256"))
    assert damaged_files(stage) == (f"{MANIFEST} lacks manifest_sha256",)


def test_a_stage_of_a_newer_format_is_refused_in_one_sentence(stage: Path) -> None:
    manifest = {**read_manifest(stage), "format": FORMAT + 1, "eagbench_version": "9.1"}
    (stage / MANIFEST).write_text(manifest_text(manifest))
    with pytest.raises(UserError) as refused:
        damaged_files(stage)
    assert f"in the store has format {FORMAT + 1}; this eagbench knows formats up to {FORMAT}" in str(refused.value)
    assert "use eagbench 9.1 or newer" in str(refused.value)
