"""Which checkpoint a killed training goes on from."""

from __future__ import annotations

from pathlib import Path

import pytest

from eagbench_plugins.eagrl.checkpoints import last_complete_checkpoint


def checkpoint(folder: Path, step: int, state: str | None) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "model.safetensors").touch()
    if state is not None:
        (path / "trainer_state.json").write_text(state)
    return path


@pytest.mark.parametrize("state", [None, "", '{"global_step": 1'])
def test_a_checkpoint_that_a_kill_left_unfinished_is_passed_over_and_removed(tmp_path: Path, state: str | None) -> None:
    (tmp_path / "curves.jsonl").touch()
    assert last_complete_checkpoint(tmp_path) is None
    older, newer = checkpoint(tmp_path, 9, "{}"), checkpoint(tmp_path, 10, "{}")
    assert last_complete_checkpoint(tmp_path) == str(newer)  # by number and not by name
    unfinished = checkpoint(tmp_path, 11, state)
    assert last_complete_checkpoint(tmp_path) == str(newer)
    assert not unfinished.exists()
    assert older.exists()
    for path in (older, newer):
        (path / "trainer_state.json").unlink()
    assert last_complete_checkpoint(tmp_path) is None
