"""A sweep killed before sweep.json is written, its database in its folder: its command goes on, others are refused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Finished
from tests.core.sweep.test_sweep_errors import BENCHMARK, SWEEP
from tests.reliability.command import hooked


def test_a_sweep_killed_at_its_beginning_goes_on(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished], cli: Callable[..., Finished]
) -> None:
    (tmp_path / "small.yaml").write_text(BENCHMARK.format(root=physionet_root))
    sweep, out = tmp_path / "sweep.yaml", tmp_path / "out"
    sweep.write_text(SWEEP)
    storage = f"sqlite:///{out}/study.db"
    env = {
        "EAGBENCH_STORE": str(tmp_path / "store"),
        **hooked(),
    }
    arguments = ("sweep", sweep, "--out", out, "--storage", storage, "--trials", 1, "--quiet")

    # The folder is made, the marker opened and renamed; SQLite is not seen by the hook; then sweep.json is opened.
    killed = run_command(*arguments, env={**env, "INTERRUPT_PLACE": str(out), "INTERRUPT_AT": "5"})
    assert killed.code == -signal.SIGKILL, killed
    assert (out / "study.db").is_file()
    assert not (out / "sweep.json").exists()

    unread = cli("report", out)
    assert unread.code == 2
    assert "this sweep was not finished" in unread.err
    assert "run the same `eagbench sweep` command again" in unread.err
    sweep.write_text(SWEEP.replace("name: tuned", "name: another"))
    other = run_command(*arguments, env=env)
    assert other.code == 2
    assert "the folder holds the sweep 'tuned', not 'another'" in other.err

    sweep.write_text(SWEEP)
    done = run_command(*arguments, env=env)
    assert done.code == 0, done.err
    assert {p.name for p in out.iterdir() if not p.name.startswith(".sweep.json.")} == {
        "best.yaml", "log.jsonl", "report.html", "study.db", "sweep.json", "trials.csv",
    }  # fmt: skip
