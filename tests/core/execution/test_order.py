"""Which stage begins first: the one with the longest way to the end behind it, by what such stages took before."""

from __future__ import annotations

from pathlib import Path

from eagbench.contracts.stages import StageNode, StageOutput
from eagbench.execution.executors.order import longest_way, measured_times
from eagbench.execution.executors.ready import ReadyStages
from eagbench.execution.store import Store


def node(kind: str, label: str, *needed: StageNode) -> StageNode:
    inputs = {f"{up.kind} {up.label}": StageOutput(up) for up in needed}
    return StageNode(kind, label, "m:f", {"label": label}, inputs, code="1")


def plan() -> list[StageNode]:
    """A quick expert and a slow one, with a prediction each, and one score over both."""
    cohort = node("cohort", "records")
    quick, slow = node("expert", "quick", cohort), node("expert", "slow", cohort)
    answers = [node("predict", "quick", quick), node("predict", "slow", slow)]
    return [cohort, quick, slow, *answers, node("score", "both", *answers)]


TIMES = {
    ("expert", "quick"): 1.0,
    ("expert", "slow"): 50.0,
    ("predict", ""): 2.0,
    ("score", ""): 1.0,
    ("cohort", ""): 5.0,
}


def test_a_stage_waits_for_the_longest_chain_behind_it() -> None:
    stages = plan()
    ways = longest_way(stages, TIMES)
    assert [ways[stage.fingerprint] for stage in stages] == [58.0, 4.0, 53.0, 3.0, 3.0, 1.0]


def test_of_two_stages_that_could_begin_the_one_with_the_longer_way_does() -> None:
    stages = plan()
    ready = ReadyStages(stages, longest_way(stages, TIMES), lambda stage, outcome: True)
    begun = []
    while ready.are_left:
        stage = ready.next()
        assert stage is not None
        begun.append(f"{stage.kind} {stage.label}")
        ready.settle(stage, "done")
    assert begun[:3] == ["cohort records", "expert slow", "expert quick"]
    assert len(begun) == 6


def test_what_needs_a_failed_stage_is_told_without_an_outcome() -> None:
    stages, told = plan(), {}

    def done(stage: StageNode, outcome: object) -> bool:
        told[f"{stage.kind} {stage.label}"] = outcome
        return outcome == "done"

    ready = ReadyStages(stages, longest_way(stages, TIMES), done)
    while (stage := ready.next()) is not None:
        ready.settle(stage, "failed" if stage.label == "slow" else "done")
    assert not ready.are_left
    assert told["expert slow"] == "failed"
    assert told["predict slow"] is told["score both"] is None
    assert told["predict quick"] == "done"


def test_times_are_read_from_the_store(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    for label, took in (("quick", 1.0), ("slow", 40.0)):
        stage = node("expert", label)
        store.begin(stage, anew=False)
        store.commit(stage, {"seconds": took})
    (tmp_path / "expert" / "broken").mkdir()
    (tmp_path / "expert" / "broken" / "manifest.json").write_text("{")
    times = measured_times(tmp_path, ["expert", "never"])
    assert times == {("expert", "quick"): 1.0, ("expert", "slow"): 40.0, ("expert", ""): 20.5}
    never = node("sft", "one")
    assert longest_way([never], times)[never.fingerprint] > longest_way([node("score", "one")], times).popitem()[1]
