"""Several processes on one storage: exactly as many finished trials as asked for, whoever dies in between."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from eagbench.sweep.claims import Claims, finished
from eagbench.sweep.folder import load_study
from eagbench.sweep.storage import open_storage
from tests.conftest import Finished

QUEUE = [({"default": True}, {"x": 0.5}), ({"fixed": 0}, {"x": 0.25})]


class Process:
    """What one process has: a storage of its own, and claims on it."""

    def __init__(self, folder: Path, wanted: int, lease_seconds: float = 60, storage: str = "study.journal") -> None:
        self.storage = open_storage(storage, folder)
        self.study = optuna.create_study(study_name="s", storage=self.storage, load_if_exists=True)
        self.claims = Claims(self.storage, "s", wanted, QUEUE, lease_seconds)

    def complete(self, trial_id: int) -> None:
        trial = optuna.Trial(self.study, trial_id)
        self.study.tell(trial, trial.suggest_float("x", 0, 1))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_processes_that_take_turns_never_finish_more_than_asked(
    tmp_path_factory: pytest.TempPathFactory, wanted: int, seed: int
) -> None:
    """Three processes claim, finish, or fall silent in any order."""
    folder, draw = tmp_path_factory.mktemp("turns"), random.Random(seed)
    processes = [Process(folder, wanted) for _ in range(3)]
    running: list[tuple[Process, int]] = []
    for _ in range(200):
        if processes[0].claims.all_done():
            break
        if running and draw.random() < 0.5:
            owner, trial_id = running.pop(draw.randrange(len(running)))
            if draw.random() < 0.3:
                owner.claims.fail(trial_id, "lost", "as if its lease had run out")
            else:
                owner.complete(trial_id)
        else:
            owner = draw.choice(processes)
            if (claim := owner.claims.next()) is not None:
                running.append((owner, claim.trial_id))
    trials = processes[0].study.get_trials(deepcopy=False)
    assert finished(trials) + sum(t.state == TrialState.RUNNING for t in trials) <= wanted
    lost = [t.number for t in trials if t.user_attrs.get("failure") == "lost"]
    retried = [t.user_attrs["origin"]["retry_of"] for t in trials if "retry_of" in t.user_attrs["origin"]]
    assert len(retried) == len(set(retried))
    assert set(retried) <= set(lost)
    # The queue comes first and in order, each item once.
    queued = [t.user_attrs["origin"] for t in trials if t.user_attrs["origin"] in ({"default": True}, {"fixed": 0})]
    assert queued == [origin for origin, _ in QUEUE][: len(queued)]


def test_the_queue_decides_the_first_parameters(tmp_path: Path) -> None:
    process = Process(tmp_path, 3)
    for _ in range(3):
        claim = process.claims.next()
        assert claim is not None
        process.complete(claim.trial_id)
    assert [trial.params["x"] for trial in process.study.trials[:2]] == [0.5, 0.25]
    assert process.claims.next() is None
    assert process.claims.all_done()


def test_a_lease_that_is_not_renewed_is_void_and_its_parameters_are_tried_again(tmp_path: Path) -> None:
    silent, watchful = Process(tmp_path, 1), Process(tmp_path, 1, lease_seconds=0.4)
    lost = silent.claims.next()
    assert lost is not None
    optuna.Trial(silent.study, lost.trial_id).suggest_float("x", 0, 1)
    retry, deadline = None, time.monotonic() + 60
    while retry is None:
        retry = watchful.claims.next()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    watchful.complete(retry.trial_id)
    first, second = watchful.study.trials
    assert (first.state, first.user_attrs["failure"]) == (TrialState.FAIL, "lost")
    assert second.user_attrs["origin"] == {"retry_of": 0}
    assert second.params == first.params == {"x": 0.5}
    # The silent process wakes up: its result is refused.
    with pytest.raises((ValueError, optuna.exceptions.UpdateFinishedTrialError)):
        silent.study.tell(0, 0.9)


def test_a_renewed_lease_holds(tmp_path: Path) -> None:
    busy, watchful = Process(tmp_path, 1, lease_seconds=0.4), Process(tmp_path, 1, lease_seconds=20)
    claim = busy.claims.next()
    assert claim is not None
    with busy.claims.renewed(claim):
        renewals = 0
        deadline = time.monotonic() + 60
        while renewals < 3:
            assert watchful.claims.next() is None
            renewals = watchful.study.trials[0].user_attrs["lease"]["renewals"]
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert watchful.study.trials[0].state == TrialState.RUNNING


def test_a_trial_that_takes_its_process_with_it_is_not_tried_for_ever(tmp_path: Path) -> None:
    process = Process(tmp_path, 1)
    origins = []
    for _ in range(5):
        claim = process.claims.next()
        assert claim is not None
        origins.append(process.study.trials[claim.number].user_attrs["origin"])
        process.claims.fail(claim.trial_id, "lost", "killed for memory")
    assert origins == [{"default": True}, {"retry_of": 0}, {"retry_of": 1}, {"fixed": 0}, {"retry_of": 3}]


def _race(folder: Path, storage: str, wanted: int) -> None:
    process = Process(folder, wanted, storage=storage)
    while not process.claims.all_done():
        if (claim := process.claims.next()) is not None:
            process.complete(claim.trial_id)


@pytest.mark.parametrize("kind", ["journal", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_processes_that_race_finish_exactly_as_many_as_asked(tmp_path: Path, kind: str) -> None:
    storage = "study.journal" if kind == "journal" else f"sqlite:///{tmp_path}/study.db"
    study = Process(tmp_path, 7, storage=storage).study  # the tables are made before the race
    context = multiprocessing.get_context("spawn")
    racers = [context.Process(target=_race, args=(tmp_path, storage, 7)) for _ in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(240)
        assert racer.exitcode == 0
    trials = study.trials
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == 7
    assert {trial.user_attrs.get("failure") for trial in trials if trial.state != TrialState.COMPLETE} <= {"surplus"}
    assert sum(trial.user_attrs["origin"] == {"default": True} for trial in trials if trial.values) == 1


BENCHMARK = """\
name: small
data: {{name: physionet2012, root: {root}}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2}}
methods: [logistic_regression, {{name: concare, epochs: 6, patience: 6, hidden_dim: 8, periods: 4}}]
metrics: [auroc]
"""
SWEEP = """\
name: killed
benchmark: small.yaml
space:
  methods.concare.learning_rate: {float: [0.001, 0.01], log: true}
objectives: [{metric: auroc}]
trials: 4
"""


@pytest.mark.slow
def test_a_killed_process_costs_no_trial(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]
) -> None:
    """Two commands on one journal; one gets a real SIGKILL within a trial."""
    (tmp_path / "small.yaml").write_text(BENCHMARK.format(root=physionet_root))
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    out, store = tmp_path / "out", tmp_path / "store"
    environment = {**os.environ, "EAGBENCH_STORE": str(store)}
    command = [sys.executable, "-m", "eagbench", "sweep", str(tmp_path / "sweep.yaml"), "--out", str(out)]
    victim, other = (
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    )
    killed: int | None = None
    deadline = time.monotonic() + 500
    while killed is None:
        assert time.monotonic() < deadline
        assert victim.poll() is None
        time.sleep(0.05)
        # A journal is read as it grows; before the study is in it there is nothing to ask.
        if (out / "sweep.json").is_file() and (out / "study.journal").is_file():
            mine = [
                trial
                for trial in load_study(out).get_trials(deepcopy=False, states=[TrialState.RUNNING])
                if trial.user_attrs["lease"]["pid"] == victim.pid and trial.params
            ]
            killed = mine[0].number if mine else None
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert other.wait(500) == 0

    trials = load_study(out).trials
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(done) == 4
    assert all(trial.values and trial.params and trial.user_attrs["steps"] for trial in done)
    assert trials[killed].state == TrialState.FAIL
    assert trials[killed].user_attrs["failure"] == "lost"
    [retry] = [trial for trial in trials if trial.user_attrs["origin"] == {"retry_of": killed}]
    assert retry.params == trials[killed].params
    # The same command goes on to what is asked for, and does nothing where all is done.
    again = run_command("sweep", tmp_path / "sweep.yaml", "--out", out, env={"EAGBENCH_STORE": str(store)})
    assert again.code == 0, again.err
    assert len(load_study(out).trials) == len(trials)
    sums = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert (sums["finished"], sums["wanted"]) == (4, 4)


@pytest.mark.slow
def test_jobs_share_the_trials(tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]) -> None:
    network = "concare, epochs: 6, patience: 6, hidden_dim: 8, periods: 4"
    small_trees = BENCHMARK.format(root=physionet_root).replace(network, "lightgbm, n_estimators: 20")
    (tmp_path / "small.yaml").write_text(small_trees)
    sweep = SWEEP.replace("concare", "lightgbm").replace("0.001, 0.01", "0.01, 0.1")
    (tmp_path / "sweep.yaml").write_text(sweep)
    out = tmp_path / "out"
    done = run_command(
        "sweep", tmp_path / "sweep.yaml", "--out", out, "--jobs", 2, env={"EAGBENCH_STORE": str(tmp_path / "store")}
    )
    assert done.code == 0, done.err
    trials = load_study(out).trials
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(complete) == 4
    assert all(trial.values and trial.user_attrs["steps"] for trial in complete)
    assert (out / "best.yaml").is_file()
