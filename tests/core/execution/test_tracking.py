"""Trackers hear of every line of a curve once: while a stage runs, in any process, and after a resume."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from eagbench.config.loading import load_benchmark
from eagbench.contracts.stages import StageNode, StageRun
from eagbench.errors import UserError
from eagbench.execution import tracking
from eagbench.execution.computing import Outcome
from eagbench.execution.executors.local import Local
from eagbench.execution.progress import Reporter
from eagbench.execution.runner import run_plan
from eagbench.execution.store import Store
from eagbench.execution.tracking import Follower, make_trackers
from eagbench.execution.training_files import read_points, stage_names, uses
from eagbench.planning.make_plan import make_plan
from eagbench.planning.plan import Plan
from eagbench.registry.plugins import load_registry


@pytest.fixture(autouse=True)
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "POLL_SECONDS", 0.01)


class Listener:
    """Keeps what it hears, and when."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int, dict[str, float]]] = []
        self.times: list[float] = []

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self.heard.append((stage, step, dict(values)))
        self.times.append(time.monotonic())

    def curve(self, stage: str) -> list[int]:
        return [step for name, step, _ in self.heard if name == stage]


def node(seed: int = 0, **params: Any) -> StageNode:
    return StageNode("training", "a method", f"{__name__}:train", params, {}, code="1", seed=seed)


def train(run: StageRun) -> None:
    """Writes a step of its curve every few hundredths of a second, the file whole each time, as Stage II does."""
    path = run.out / run.params.get("file", "curves.jsonl")
    lines = path.read_text().splitlines() if path.exists() else []
    for step in range(len(lines) + 1, run.params["steps"] + 1):
        lines.append(json.dumps({"step": step, "reward": step / 10, "kind": "text", "is_last": True}))
        path.with_suffix(".new").write_text("\n".join(lines) + "\n")
        path.with_suffix(".new").replace(path)
        time.sleep(run.params["pause"])
        if step == run.params.get("dies_at") and not (run.out / "died").exists():
            (run.out / "died").touch()
            raise RuntimeError("killed")


@dataclass(frozen=True)
class Compute:
    store: Store

    @property
    def folder(self) -> Path:
        return self.store.root

    def __call__(self, stage: StageNode) -> Outcome:
        from eagbench.contracts.stages import no_progress
        from eagbench.execution.computing import compute_stage

        return compute_stage(stage, self.store, fresh=False, progress=no_progress)


def follow(nodes: list[StageNode], store: Store, record: Path, workers: int = 1, **options: Any) -> Listener:
    """Runs the stages in some processes and returns what a tracker heard."""
    listener = Listener()
    names = {n.fingerprint: f"training/a method, seed {n.seed}" for n in nodes}
    with Follower(nodes, names, store, [listener], record, **options) as follower:

        def done(stage: StageNode, outcome: object) -> bool:
            assert isinstance(outcome, Outcome)
            follower.settled(stage, outcome)
            return outcome.status != "failed"

        Local(Local.Params(workers=workers)).execute(nodes, Compute(store), done)
    return listener


@pytest.mark.parametrize("file", ["curves.jsonl", "training.jsonl"])
def test_lines_are_heard_while_the_stage_runs(tmp_path: Path, file: str) -> None:
    listener = follow([node(steps=6, pause=0.1, file=file)], Store.open(tmp_path / "store"), tmp_path / "heard.json")
    assert listener.curve("training/a method, seed 0") == [1, 2, 3, 4, 5, 6]
    assert listener.heard[2] == ("training/a method, seed 0", 3, {"reward": 0.3})  # numbers only
    assert listener.times[4] - listener.times[0] > 0.2  # not all at the end
    assert [(stage, step) for stage, step, _ in listener.heard[6:]] == [("stages", 1)]


def test_several_processes_are_followed_at_once(tmp_path: Path) -> None:
    # Long beside the start of a worker on a busy machine.
    nodes = [node(seed, steps=8, pause=0.4) for seed in (0, 1)]
    listener = follow(nodes, Store.open(tmp_path / "store"), tmp_path / "heard.json", workers=2)
    for seed in (0, 1):
        assert listener.curve(f"training/a method, seed {seed}") == list(range(1, 9))
    stages = [stage for stage, _, _ in listener.heard if stage != "stages"]
    changes = sum(a != b for a, b in itertools.pairwise(stages))
    assert changes > 1  # they alternate: neither waited for the other's end


def test_no_line_comes_twice_when_a_run_is_taken_up(tmp_path: Path) -> None:
    store, stage = Store.open(tmp_path / "store"), node(steps=9, pause=0.0, dies_at=4)
    first = follow([stage], store, tmp_path / "heard.json")
    assert first.curve("training/a method, seed 0") == [1, 2, 3, 4]
    # The resumed training goes back to its checkpoint: its curve is shorter for a while.
    curve = store.partial(stage) / "curves.jsonl"
    curve.write_text("".join(curve.read_text().splitlines(keepends=True)[:2]))
    second = follow([stage], store, tmp_path / "heard.json")
    assert second.curve("training/a method, seed 0") == [5, 6, 7, 8, 9]
    third = follow([stage], store, tmp_path / "heard.json")
    assert third.heard == []
    # Another run folder has trackers that heard nothing yet, though the stage is in the store.
    other = follow([stage], store, tmp_path / "other.json")
    assert other.curve("training/a method, seed 0") == list(range(1, 10))


def test_a_fresh_run_passes_over_what_will_be_discarded(tmp_path: Path) -> None:
    store, stage = Store.open(tmp_path / "store"), node(steps=1, pause=0.0)
    store.begin(stage, anew=True)
    (store.partial(stage) / "curves.jsonl").write_text('{"step": 1, "reward": 7}\n')
    time.sleep(0.02)
    listener = Listener()
    with Follower([stage], {stage.fingerprint: "x"}, store, [listener], tmp_path / "h", fresh=True):
        time.sleep(0.1)
    assert listener.heard == []


def test_an_unfinished_line_waits(tmp_path: Path) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text('{"step": 1, "loss": 2}\n{"step": 2, "lo')
    assert [point.step for point in read_points(path)] == [1]


@pytest.mark.parametrize("line", ['{"loss": 1}', '{"step": 1.5}', '{"step": true}', "[1]"])
def test_a_line_without_a_step_is_a_bug_of_its_stage(tmp_path: Path, line: str) -> None:
    path = tmp_path / "curves.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=r"curves\.jsonl.*step"):
        list(read_points(path))


class Broken(Listener):
    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("no such tracker")


def test_a_tracker_that_fails_ends_the_run_and_is_named(tmp_path: Path) -> None:
    store, stage = Store.open(tmp_path / "store"), node(steps=3, pause=0.1)
    follower = Follower([stage], {stage.fingerprint: "x"}, store, [Broken()], tmp_path / "h")
    with pytest.raises(ConnectionError, match="no such tracker"), follower:
        follower.settled(stage, Compute(store)(stage))


# In a benchmark


@pytest.fixture
def planned(tmp_path: Path, physionet_root: Path, store_folder: Path):
    def plan(**changes: Any) -> Plan:
        tree = {
            "name": "followed",
            "data": {"name": "physionet2012", "root": str(physionet_root), "task": "in_hospital_mortality"},
            "split": {"train": 0.6, "tuning": 0.2, "held_out": 0.2, "seed": 0},
            "policy": {"name": "tiny"},
            "methods": [{"name": "trajectory_distillation", "expert": "logistic_regression"}],
            "seeds": [0, 1],
            "metrics": ["auroc"],
            **changes,
        }
        path = tmp_path / "benchmark.yaml"
        path.write_text(yaml.safe_dump(tree))
        return make_plan(load_benchmark(path), load_registry(), Store.open(store_folder))

    return plan


def test_stages_behind_a_method_are_found_for_each_seed_and_fold(planned) -> None:
    plan = planned(split={"folds": 2, "seed": 0}, methods=["lightgbm", {"name": "prompt"}], policy={"name": "tiny"})
    found = {(use.method, use.seed, use.fold, use.node.kind) for use in uses(plan)}
    assert ("prompt", 1, 1, "policy") in found
    assert ("lightgbm", 0, 1, "expert") in found
    assert ("prompt", 0, 0, "expert") not in found
    assert {use.node.kind for use in uses(plan)}.isdisjoint({"predict", "score", "teacher"})


def test_stages_that_would_share_a_name_are_told_apart(planned) -> None:
    base = {"name": "trajectory_distillation", "expert": "logistic_regression"}
    plan = planned(methods=[{**base, "as": "short"}, {**base, "as": "long", "sft": {"steps": 999}}])
    names = stage_names(plan)
    assert len(set(names.values())) == len(names)
    sft = {names[n.fingerprint] for n in plan.nodes if n.kind == "sft"}
    assert sft == {f"sft/trajectory distillation, seed {s}, {m}" for s in (0, 1) for m in ("short", "long")}
    # The searches are the same work: one stage per seed, which needs no addition.
    searches = {names[n.fingerprint] for n in plan.nodes if n.kind == "trajectories"}
    assert searches == {f"trajectories/expert_mcts, eag, seed {s}" for s in (0, 1)}
    folds = planned(split={"folds": 2, "seed": 0})
    assert len(set(stage_names(folds).values())) == len(folds.nodes)
    assert any(name.endswith("trajectory_distillation, fold 1") for name in stage_names(folds).values())


@pytest.mark.parametrize(
    ("tracker", "refused"),
    [
        ("tensorboard", False),
        ("wandb", True),
        ({"name": "wandb", "mode": "offline"}, False),
        ("mlflow", False),
        ({"name": "mlflow", "tracking_uri": "https://mlflow.hospital.org"}, True),
    ],
)
def test_credentialed_data_refuse_trackers_that_send(planned, tracker: Any, refused: bool) -> None:
    plan = planned(trackers=[tracker])
    assert len(make_trackers(plan)) == 1  # open data: anything goes
    [domain] = plan.transfer.domains
    kept_private = dataclasses.replace(domain, access="credentialed")
    credentialed = dataclasses.replace(plan, transfer=dataclasses.replace(plan.transfer, domains=(kept_private,)))
    if refused:
        with pytest.raises(UserError, match=r"sends numbers to another machine.*credentialed"):
            make_trackers(credentialed)
    else:
        assert len(make_trackers(credentialed)) == 1


def test_a_run_without_trackers_starts_none(planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    from eagbench.execution.tracking import tracked

    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))
    plan = planned(methods=["logistic_regression"], policy=None)
    store = Store.open(tmp_path / "store")
    with tracked(plan, store, tmp_path / "out", fresh=False) as settled:
        monkeypatch.undo()
        run_plan(plan, store, Reporter(quiet=True), settled=settled)
    assert "trackers" not in started
    assert not (tmp_path / "out").exists()
