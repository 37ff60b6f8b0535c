"""What the run folder copies out of the store."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eagbench.analysis.cells import CellKey
from eagbench.contracts.stages import CLEAN, StageNode, StageOutputs
from eagbench.execution.computing import Outcome
from eagbench.execution.runner import RunResult
from eagbench.execution.store import Store
from eagbench.planning.domains import Pair
from eagbench.planning.plan import Cell, FoldStages
from eagbench.runs.copies import copy_trajectories
from eagbench.runs.stored_run import StoredRun


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\r\n\x0cb"])
def test_a_trajectory_may_hold_any_character(tmp_path: Path, text: str) -> None:
    store = Store.open(tmp_path / "store")
    predict = StageNode("predict", "m", "x:x", {}, {})
    score = StageNode("score", "m", "x:x", {}, {"predict": StageOutputs((predict,))})
    key, folds = CellKey("m", 0, ("clean", None), ("d", "d")), (FoldStages(predict, None, None, None),)
    store.folder(predict).mkdir(parents=True)
    line = json.dumps({"case_id": "1", "text": text}, ensure_ascii=False)
    (store.folder(predict) / "trajectories.jsonl").write_text(line + "\n", encoding="utf-8")
    here: Any = SimpleNamespace(name="d")
    plan: Any = SimpleNamespace(cells=[Cell(key, CLEAN, Pair(here, here), score, folds)])
    run = StoredRun(plan, RunResult(outcomes={score.fingerprint: Outcome("computed")}), store, ())
    (tmp_path / "trajectories").mkdir()
    copy_trajectories(run, "m", tmp_path)
    with (tmp_path / "trajectories" / "m.jsonl").open(encoding="utf-8") as stream:
        [written] = map(json.loads, stream)
    assert written == {
        "domain_train": "d",
        "domain_eval": "d",
        "seed": 0,
        "condition": "clean",
        "severity": None,
        "case_id": "1",
        "text": text,
    }
