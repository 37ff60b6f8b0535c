"""The manifest's presence means complete, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eagbench.contracts.stages import StageNode, StageOutput, content_hash
from eagbench.errors import UserError
from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.store import Store


def node(**changes: object) -> StageNode:
    facts: dict[str, object] = {
        "kind": "expert", "label": "one", "function": "m:f", "params": {"a": 1}, "inputs": {}, "code": "c", "seed": 0,
    }  # fmt: skip
    return StageNode(**{**facts, **changes})  # type: ignore[arg-type]


def test_the_fingerprint_depends_on_all_that_changes_results_and_not_on_the_label() -> None:
    base = node().fingerprint
    assert node(label="two").fingerprint == base
    upstream = {"x": StageOutput(node(seed=5))}
    changed = [
        node(params={"a": 2}), node(seed=1), node(code="d"), node(function="m:g"), node(kind="sft"),
        node(content="h"), node(inputs=upstream), node(inputs={"x": StageOutput(node(seed=6))}),
    ]  # fmt: skip
    assert len({base, *(n.fingerprint for n in changed)}) == len(changed) + 1


@given(st.dictionaries(st.text(), st.integers() | st.floats(allow_nan=False) | st.text() | st.none()))
def test_content_hash_ignores_the_order_of_keys(mapping: dict[str, object]) -> None:
    assert content_hash(mapping) == content_hash(dict(reversed(mapping.items())))


def test_a_stage_is_complete_when_its_manifest_is_there(tmp_path: Path) -> None:
    store, stage = Store.open(tmp_path), node()
    out = store.begin(stage, anew=False)
    (out / "checkpoints").mkdir()
    (out / "checkpoints" / "half.pt").write_text("x")
    (out / "model.json").write_text("{}")
    assert not store.is_complete(stage)
    store.commit(stage, {"seconds": 1.0})
    assert store.is_complete(stage)
    assert sorted(p.name for p in store.folder(stage).iterdir()) == [MANIFEST, "model.json"]
    (store.folder(stage) / MANIFEST).unlink()  # as after a kill between the renaming and the manifest
    assert not store.is_complete(stage)
    (store.begin(stage, anew=False) / "model.json").write_text("[]")
    store.commit(stage, {"seconds": 1.0})
    assert (store.folder(stage) / "model.json").read_text() == "[]"


def test_work_in_progress_survives_unless_begun_anew(tmp_path: Path) -> None:
    store, stage = Store.open(tmp_path), node()
    (store.begin(stage, anew=False) / "half").write_text("x")
    assert (store.begin(stage, anew=False) / "half").exists()
    assert not (store.begin(stage, anew=True) / "half").exists()


def test_the_content_of_files_counts_and_not_their_folder(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    for folder, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.csv").write_text(text)
    a, b, c = (store.content_hash([tmp_path / folder / "x.csv"]) for folder in "abc")
    assert a == b != c
    (tmp_path / "a" / "x.csv").write_text("different")
    assert store.content_hash([tmp_path / "a" / "x.csv"]) not in {a, c}


def test_a_store_that_can_not_be_made_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="the store can't be made"):
        Store.open(tmp_path / "file" / "store")


def test_the_manifest_lists_files_with_their_hashes(tmp_path: Path) -> None:
    store, stage = Store.open(tmp_path), node()
    (store.begin(stage, anew=False) / "a.json").write_text("{}")
    store.commit(stage, {"seconds": 2.0})
    manifest = json.loads((store.folder(stage) / MANIFEST).read_text())
    assert list(manifest["files"]) == ["a.json"]
    assert store.seconds_of("expert", "one") == 2.0
    assert store.seconds_of("expert", "other") is None
