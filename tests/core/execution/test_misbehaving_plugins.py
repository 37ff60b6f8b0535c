"""A real package of misbehaving plugins, in real processes. All its faults: tests/reliability/plugin_variants.py."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.contracts.rules import ContractError, check_files
from eagbench.contracts.stages import StageNode, StageOutput
from eagbench.execution.processes import LEFT_SECONDS
from eagbench.execution.stage_conduct import checked_costs, unchanged_inputs
from eagbench.execution.store import Store
from tests.conftest import ROOT, Finished

Run = Callable[[str], Finished]
EXPERT = "the expert 'bad_expert' of eagbench-misbehaving 0.3 (plugin misbehaving, register_experts)"


@pytest.fixture
def run(tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]) -> Run:
    """Runs a benchmark with logistic regression and another method, always on the same store."""
    facts = tmp_path / "site" / "eagbench_misbehaving-0.3.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: eagbench-misbehaving\nVersion: 0.3\n")
    (facts / "entry_points.txt").write_text("[eagbench]\nmisbehaving = eagbench_misbehaving.plugin\n")
    package = ROOT / "tests" / "third_party" / "eagbench_misbehaving"
    paths = [str(tmp_path / "site"), str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {"PYTHONPATH": os.pathsep.join(paths), "EAGBENCH_STORE": str(tmp_path / "store")}

    def start(method: str) -> Finished:
        (tmp_path / "b.yaml").write_text(
            f"name: b\ndata: {{name: physionet2012, root: '{physionet_root}'}}\n"
            f"methods: [{method}, logistic_regression]\nmetrics: [auroc]\nintervals: {{resamples: 100}}\nseeds: [0]\n"
        )
        return run_command("run", "b.yaml", "--limit", 120, "--out", "out", env=env, cwd=tmp_path)

    return start


def test_the_run_after_a_death_says_what_was_under_way(run: Run, tmp_path: Path) -> None:
    bad = "{name: bad_expert, fault: killed, at: fit}"
    assert run(bad).code == -9
    assert len(list(tmp_path.glob("store/expert/*.under_way"))) == 1
    again = run(bad)
    assert again.code == -9
    assert f"note: the run before ended during expert 'bad_expert' (under way was {EXPERT})" in again.err
    assert "`--workers 2` or `--stage-timeout` lets this stage fail alone" in again.err


def test_the_traceback_of_a_failed_stage_is_in_the_log(run: Run, tmp_path: Path) -> None:
    finished = run("{name: bad_expert, fault: raises, at: fit}")
    assert finished.code == 1
    problem = f"{EXPERT} failed in fit: ZeroDivisionError: division by zero (eagbench_misbehaving/plugin.py, line "
    assert problem in finished.out
    log = tmp_path / "out" / "log.jsonl"
    assert f"tracebacks: {log}, `traceback` of each failed stage" in finished.out
    [failed] = [entry for entry in map(json.loads, log.read_text().splitlines()) if entry["status"] == "failed"]
    assert "ZeroDivisionError: division" in failed["traceback"]


def test_what_fails_while_planning_shows_its_traceback(run: Run) -> None:
    finished = run("{name: bad_expert, fault: raises, at: __init__}")
    assert finished.code == 2
    assert "Traceback (most recent call last)" in finished.err
    assert f"error: {EXPERT} failed in __init__: ZeroDivisionError" in finished.err
    assert "(eagbench_misbehaving/plugin.py, line " in finished.err


@pytest.mark.slow
def test_what_a_plugin_leaves_behind_ends_with_the_command(run: Run) -> None:
    finished = run("{name: bad_expert, fault: leaves_thread, at: fit}")
    assert finished.code == 0
    assert "note: threads that a plugin left behind are ended" in finished.err
    began = time.monotonic()
    finished = run("{name: bad_expert, fault: closes, at: predict}")
    assert finished.code == 0
    assert "| logistic_regression |" in finished.out
    assert time.monotonic() - began < 60 + LEFT_SECONDS


@pytest.mark.parametrize("damage", ["removes", "rewrites", "renews", "removes all"])
def test_a_stage_that_changes_its_inputs_is_found(tmp_path: Path, damage: str) -> None:
    store = Store.open(tmp_path / "store")
    first = StageNode("expert", "first", "nowhere:fit", {}, {}, code="1")
    second = StageNode("predict", "second", "nowhere:predict", {}, {"expert": StageOutput(first)}, code="1")
    (store.begin(first, anew=True) / "rate.json").write_text("0.5")
    store.commit(first, {"seconds": 0.0})
    folder = store.folder(first)
    if damage == "renews":  # another run computes it anew beside this one
        with unchanged_inputs(second, store):
            (store.begin(first, anew=True) / "rate.json").write_text("0.25")
            store.commit(first, {"seconds": 1.25})
        assert store.is_complete(first)
        return

    def work() -> None:
        with unchanged_inputs(second, store):
            if damage == "removes":
                (folder / "rate.json").unlink()
            elif damage == "removes all":
                shutil.rmtree(folder)
            else:
                (folder / "rate.json").write_text("0.123")

    with pytest.raises(ContractError, match=r"it changed or removed .*rate\.json of the stage expert 'first'"):
        work()
    assert not store.is_complete(first)  # nothing is made of it any more


@pytest.mark.parametrize("costs", [{"a": float("nan")}, {"a": "much"}, {1: 1.0}, {"a": True}])
def test_costs_are_numbers(costs: dict[object, object]) -> None:
    with pytest.raises(ContractError, match="add_cost"):
        checked_costs(costs)


def test_a_folder_that_is_gone_or_holds_links_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="is gone"):
        check_files(tmp_path / "gone")
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(ContractError, match="no links, but link is one"):
        check_files(tmp_path)
