"""Who works on a stage, with real processes: one that stops is taken over from, and what it made late is not used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eagbench.contracts.stages import StageNode, StageRun
from eagbench.execution import lease
from eagbench.execution.store import Store

HOLDER = """\
import json, sys
from pathlib import Path
from eagbench.contracts.stages import no_progress
from eagbench.execution import lease, process_identity
from eagbench.execution.computing import compute_stage
from eagbench.execution.store import Store
from tests.core.execution.test_lease import stage

lease.LEASE_SECONDS = {seconds}
if {elsewhere!r}:  # as on another machine, whose processes are not seen here
    process_identity._place = lambda: {elsewhere!r}
outcome = compute_stage(stage(), Store.open(Path({store!r})), fresh=False, progress=no_progress)
print(json.dumps([outcome.status, outcome.reason, outcome.details]))
"""


def stage() -> StageNode:
    return StageNode("slow", "one", "tests.core.execution.test_lease:write_steps", {}, {}, code="c")


def write_steps(run: StageRun) -> None:
    """Count to a number in checkpoints, wait for leave to go on, and say who did it."""
    begun = run.checkpoints / "begun.json"
    steps = json.loads(begun.read_text()) if begun.exists() else []
    begun.write_text(json.dumps([*steps, os.getpid()]))
    while not (run.out.parent / "go").exists():
        time.sleep(0.02)
    (run.out / "by.json").write_text(json.dumps([*steps, os.getpid()]))


class Holder:
    """A process that computes the stage."""

    def __init__(self, store: Path, seconds: float, elsewhere: str) -> None:
        code = HOLDER.format(store=str(store), seconds=seconds, elsewhere=elsewhere)
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    def status(self) -> str:
        said, _ = self.process.communicate(timeout=120)
        status, reason, details = json.loads(said)
        assert reason is None, details
        return str(status)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Holder]]:
    holders: list[Holder] = []

    def started(seconds: float = 60.0, elsewhere: str = "") -> Holder:
        holders.append(Holder(tmp_path, seconds, elsewhere))
        return holders[-1]

    yield started
    for holder in holders:
        holder.process.kill()
        holder.process.communicate()


def wait_for(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def begun_by(store: Path, process: Holder) -> list[Path]:
    files = (store / "slow").glob("*.partial*/checkpoints/begun.json")
    return [file for file in files if (text := file.read_text()) and process.process.pid in json.loads(text)]


def made_by(store: Path) -> list[int]:
    [file] = (store / "slow").glob("*/by.json")
    return list(json.loads(file.read_text()))


def litter(store: Path) -> list[str]:
    finished = {stage().fingerprint, f"{stage().fingerprint}.checked", "go"}
    return [path.name for path in (store / "slow").iterdir() if path.name not in finished]


def test_who_sleeps_past_the_lease_discards_what_it_made(tmp_path: Path, start: Callable[..., Holder]) -> None:
    asleep = start(seconds=1.0)
    wait_for(lambda: begun_by(tmp_path, asleep))
    asleep.process.send_signal(signal.SIGSTOP)
    other = start(seconds=1.0)
    wait_for(lambda: begun_by(tmp_path, other))
    assert len(list((tmp_path / "slow").glob("*.partial*"))) == 2  # each its own
    (tmp_path / "slow" / "go").touch()
    assert other.status() == "computed"
    manifest = Store(tmp_path).manifest(stage())
    asleep.process.send_signal(signal.SIGCONT)
    assert asleep.status() == "reused"
    assert made_by(tmp_path) == [asleep.process.pid, other.process.pid]  # went on from a copy of its checkpoints
    assert Store(tmp_path).manifest(stage()) == manifest
    assert Store(tmp_path).is_whole(stage())
    assert litter(tmp_path) == []


def test_who_wakes_up_while_the_other_still_computes_waits_for_it(tmp_path: Path, start: Callable[..., Holder]) -> None:
    asleep = start(seconds=1.0)
    wait_for(lambda: begun_by(tmp_path, asleep))
    asleep.process.send_signal(signal.SIGSTOP)
    other = start(seconds=1.0)
    wait_for(lambda: begun_by(tmp_path, other))
    other.process.send_signal(signal.SIGSTOP)  # and does not finish before the first has come to its end
    (tmp_path / "slow" / "go").touch()
    asleep.process.send_signal(signal.SIGCONT)
    wait_for(lambda: not (tmp_path / "slow" / f"{stage().fingerprint}.partial").exists())  # it has discarded its own
    other.process.send_signal(signal.SIGCONT)
    assert sorted([asleep.status(), other.status()]) == ["computed", "reused"]
    assert Store(tmp_path).is_whole(stage())
    assert litter(tmp_path) == []


def test_a_killed_holder_is_followed_at_once_and_its_checkpoints_are_used(
    tmp_path: Path, start: Callable[..., Holder]
) -> None:
    killed = start()  # its lease would last a minute
    wait_for(lambda: begun_by(tmp_path, killed))
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    (tmp_path / "slow" / "go").touch()
    began = time.monotonic()
    next_one = start()
    assert next_one.status() == "computed"
    assert time.monotonic() - began < lease.LEASE_SECONDS
    assert made_by(tmp_path) == [killed.process.pid, next_one.process.pid]
    assert litter(tmp_path) == []


def test_a_holder_killed_on_another_machine_is_followed_when_its_lease_is_over(
    tmp_path: Path, start: Callable[..., Holder]
) -> None:
    killed = start(seconds=2.0, elsewhere="node17")
    wait_for(lambda: begun_by(tmp_path, killed))
    killed.process.send_signal(signal.SIGKILL)
    killed.process.wait()
    (tmp_path / "slow" / "go").touch()
    next_one = start(seconds=2.0)
    assert next_one.status() == "computed"
    assert made_by(tmp_path) == [killed.process.pid, next_one.process.pid]
    assert litter(tmp_path) == []


def test_of_processes_that_begin_together_one_computes(tmp_path: Path, start: Callable[..., Holder]) -> None:
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / "go").touch()
    statuses = [holder.status() for holder in [start(), start(), start()]]
    assert sorted(statuses) == ["computed", "reused", "reused"]
    assert len(made_by(tmp_path)) == 1
    assert litter(tmp_path) == []


def test_of_processes_that_wait_for_a_lease_that_lapses_one_takes_over(
    tmp_path: Path, start: Callable[..., Holder]
) -> None:
    asleep = start(seconds=1.0)
    wait_for(lambda: begun_by(tmp_path, asleep))
    asleep.process.send_signal(signal.SIGSTOP)
    (tmp_path / "slow" / "go").touch()
    statuses = [holder.status() for holder in [start(seconds=1.0), start(seconds=1.0), start(seconds=1.0)]]
    assert sorted(statuses) == ["computed", "reused", "reused"]
    assert len(made_by(tmp_path)) == 2


def test_a_lease_is_judged_by_the_clock_of_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is an hour ahead of the file server's takes nothing over."""
    monkeypatch.setattr("time.time", lambda: tmp_path.stat().st_mtime + 3600)
    holder = lease.Holder("other", "x.partial", 60.0, {"place": "elsewhere", "pid": 1, "started": 0.0})
    place, now = tmp_path / "x.lease", [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    place.write_text("{}")
    with lease._Watch(tmp_path / "x", "me") as watch:
        assert not watch.has_lapsed(place, holder)
        touched = place.stat().st_mtime - 61
        os.utime(place, (touched, touched))
        assert not watch.has_lapsed(place, holder)  # seen so for the first time
        now[0] = 16.0
        assert watch.has_lapsed(place, holder)
        place.touch()  # renewed
        assert not watch.has_lapsed(place, holder)


def test_a_lease_without_words_whose_maker_died_is_over_soon(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    (tmp_path / "slow").mkdir()
    (tmp_path / "slow" / f"{stage().fingerprint}.lease").touch()
    with store.lock(stage()):
        assert store.is_locked(stage())
    assert not store.is_locked(stage())


def test_threads_of_a_process_hold_a_stage_one_after_the_other(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def hold(number: int) -> None:
        for _ in range(40):
            with lease.leased(tmp_path / "stage"):
                inside.append(number)
                time.sleep(0)  # lets another thread in, if one can
                most.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        for call in [pool.submit(hold, number) for number in range(8)]:
            call.result()
    assert set(most) == {1}
    assert not list(tmp_path.glob("stage*"))
