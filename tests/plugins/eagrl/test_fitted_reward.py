"""The reward of a stage, made as stages make it, sees the training cases before it judges one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eagbench.api import Cases, StageRun, Trajectory
from eagbench_plugins.eagrl.fitted_reward import fitted_reward
from tests.builders import make_case, make_cohort_cases

NAMES = ("a", "b", "c")


def training() -> Cases:
    return make_cohort_cases([make_case({name: [1.0] for name in NAMES}, case_id=key) for key in "pqr"], NAMES)


def judged(folder: Path, params: dict[str, Any], name: str = "eag") -> list[float]:
    """What citing b, and what citing a, earns about a patient whose list is b and about one whose list is a."""
    weights = {"salience:a": [0.6, 0.6, 0.1], "salience:b": [0.3, 0.3, 0.8], "salience:c": [0.1, 0.1, 0.1]}
    table = pa.table({"case_id": list("pqr"), "probability": [0.2, 0.2, 0.2], **weights})
    pq.write_table(table, folder / "salience.parquet")
    identity = {"kind": "reward", "name": name, "params": params}
    cases = training()
    reward = fitted_reward(StageRun({"reward": identity}, {"salience": folder}, 0, folder), cases)
    earned = []
    for i, cited in ((2, "b"), (0, "a")):
        salience = {key.removeprefix("salience:"): column[i] for key, column in weights.items()}
        trajectory = Trajectory(cases.items[i].case_id, "text", (), (cited,), 0, 0.8, 5)
        earned.append(reward(cases.items[i], 1, trajectory, salience)["attention"])
    return earned


@pytest.mark.parametrize("name", ["eag", "citation_jaccard"])
def test_what_is_on_top_in_most_patients_earns_nothing_beyond_the_controls(tmp_path: Path, name: str) -> None:
    assert judged(tmp_path, {"k": 1, "beyond_controls": True}, name) == [1, 0]
    assert judged(tmp_path, {"k": 1}, name) == [1, 1]


def test_a_reward_without_an_expert_or_a_comparison_is_made_as_ever(tmp_path: Path) -> None:
    judged(tmp_path, {"k": 1})  # writes the salience
    answer = Trajectory("p", "text", (), (), 0, 0.8, 5)
    for inputs in ({}, {"salience": tmp_path}):
        run = StageRun({"reward": {"kind": "reward", "name": "brier", "params": {}}}, inputs, 0, tmp_path)
        assert fitted_reward(run, training())(training().items[0], 1, answer, None)["total"] == pytest.approx(0.96)
