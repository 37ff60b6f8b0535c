"""A sweep on a real PostgreSQL server: several processes, one of which is killed, and a password that nobody sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import psycopg
import pytest
from optuna.trial import TrialState

from eagbench.errors import UserError
from eagbench.sweep.storage import open_storage, shown
from tests.core.sweep.postgres import PASSWORD, Server, server
from tests.core.sweep.test_sweep_errors import BENCHMARK, SWEEP

TRIALS = 8


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with server() as started:
        yield started


def start(sweep: Path, out: Path, store: Path, postgres: Server) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "eagbench", "sweep", str(sweep), "--out", str(out), "--limit", "250"]
    env = {**os.environ, "EAGBENCH_STORE": str(store), "SWEEP_STORAGE": postgres.url()}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_four_processes_finish_the_trials_when_one_is_killed(
    tmp_path: Path, physionet_root: Path, postgres: Server
) -> None:
    (tmp_path / "small.yaml").write_text(BENCHMARK.format(root=physionet_root))
    sweep = tmp_path / "sweep.yaml"
    text = SWEEP.replace("trials: 2", f"trials: {TRIALS}").replace("name: tuned", "name: raced")
    sweep.write_text(text + "storage: ${SWEEP_STORAGE}\n")
    processes = [start(sweep, tmp_path / f"out{i}", tmp_path / "store", postgres) for i in range(4)]
    victim = processes[1]
    storage = open_storage(postgres.url(), tmp_path)
    deadline = time.monotonic() + 300
    while not _runs_a_trial(storage, victim.pid):
        assert victim.poll() is None, victim.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    victim.send_signal(signal.SIGKILL)
    said = [process.communicate(timeout=500) for process in processes]
    codes = [process.returncode for process in processes]
    assert codes[:1] + codes[2:] == [0, 0, 0], said
    assert victim.returncode == -signal.SIGKILL
    trials = optuna.load_study(study_name="raced", storage=storage).get_trials()
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == TRIALS
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert "lost" in {trial.user_attrs.get("failure") for trial in trials}  # and tried again
    assert not _files_with(PASSWORD, tmp_path)
    assert not any(PASSWORD in text for output in said for text in output)
    assert f"{TRIALS} of {TRIALS} trials finished" in said[0][0]


def _runs_a_trial(storage: optuna.storages.BaseStorage, pid: int) -> bool:
    try:
        study_id = storage.get_study_id_from_name("raced")
    except KeyError:
        return False
    trials = storage.get_all_trials(study_id, deepcopy=False)
    return any(t.state == TrialState.RUNNING and t.user_attrs.get("lease", {}).get("pid") == pid for t in trials)


def _files_with(word: str, folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def test_a_wrong_password_is_not_repeated(postgres: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the database can't be opened") as refused:
        open_storage(postgres.url("wrong-horse-battery"), tmp_path)
    assert "wrong-horse" not in refused.value.message
    assert f"postgresql://tester:***@127.0.0.1:{postgres.port}/postgres" in refused.value.message


def test_a_record_without_the_password_is_opened_with_that_of_the_environment(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    open_storage(shown(postgres.url()), tmp_path)


@pytest.mark.slow
def test_processes_that_begin_together_make_one_set_of_tables(postgres: Server, tmp_path: Path) -> None:
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE together")
    code = (
        "import sys; from pathlib import Path; from eagbench.sweep.storage import open_storage, open_study\n"
        "sys.stdin.readline()\n"
        "open_study(open_storage(sys.argv[1], Path()), 'one', ['maximize'], 'f', 'here')"
    )
    url = postgres.url().removesuffix("/postgres") + "/together"
    command = [sys.executable, "-c", code, url]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stderr=pipe, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    assert len(open_storage(url, tmp_path).get_all_studies()) == 1
