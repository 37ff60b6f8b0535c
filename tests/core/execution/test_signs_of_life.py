"""Where no bar can be drawn, a long stage says at regular times how far it is; so do stages in other processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from eagbench.contracts.stage_counts import StageCounts, count_tokens, counted_progress, counting, report_loss
from eagbench.execution.signs_of_life import Lines, Pace, Silent


def test_a_line_says_step_loss_speed_and_time_left() -> None:
    counts = StageCounts("sft answers only, seed 0")
    pace = Pace(counts, now=0.0)
    assert pace.line(30.0) == "    sft answers only, seed 0: for 30 s"
    counts.label, counts.total = "fine-tune", 100
    assert pace.line(60.0) == "    sft answers only, seed 0: fine-tune 0 of 100"
    counts.done, counts.tokens, counts.loss = 5, 3000, 0.54321
    # 5 steps since the look at 30 s, 3,000 tokens since the beginning.
    assert pace.line(90.0) == (
        "    sft answers only, seed 0: fine-tune 5 of 100, loss 0.5432, 33 tokens/s, about 19 min left"
    )


def test_the_rate_moves_with_the_stage() -> None:
    counts = StageCounts("search", label="search", total=1000)
    pace = Pace(counts, now=0.0)
    for look in range(1, 11):  # a step in ten seconds
        counts.done = 3 * look
        pace.line(30.0 * look)
    for look in range(11, 31):  # then one in a second
        counts.done += 30
        line = pace.line(30.0 * look)
    assert counts.done == 630
    assert line.endswith("about 6 min left")


def test_a_step_that_takes_many_looks_counts_down() -> None:
    counts = StageCounts("trajectories", label="search", total=4)
    pace = Pace(counts, now=0.0)
    pace.line(30.0)
    counts.done = 1
    assert pace.line(600.0).endswith("search 1 of 4, about 30 min left")
    lines = [pace.line(600.0 + 30 * look) for look in range(1, 21)]
    assert lines[-1].endswith("search 1 of 4, about 20 min left")


def test_another_loop_has_a_pace_of_its_own() -> None:
    counts = StageCounts("predict", label="answer", total=10, done=9)
    pace = Pace(counts, now=0.0)
    pace.line(30.0)
    counts.label, counts.done, counts.total = "attention", 0, 2
    assert pace.line(60.0) == "    predict: attention 0 of 2"
    counts.done = 1
    assert pace.line(90.0) == "    predict: attention 1 of 2, about 1 min left"
    counts.label, counts.done, counts.total = "", 0, None
    assert pace.line(7290.0) == "    predict: for 2 h 2 min"


def test_loops_are_counted_and_so_is_the_one_around_them() -> None:
    seen = []
    with counting("ensemble") as counts:
        for outer in counted_progress(range(2), "members", 2):
            assert (counts.label, counts.done, counts.total) == ("members", outer, 2)
            for inner in counted_progress(iter("ab"), "epochs"):
                seen.append((counts.label, counts.done, counts.total, inner))
        count_tokens(3)
        count_tokens(4)
        report_loss(0.5)
    assert seen == [("epochs", 0, None, "a"), ("epochs", 1, None, "b")] * 2
    assert (counts.tokens, counts.loss, counts.label) == (7, 0.5, "")


def test_outside_of_a_stage_nothing_is_counted() -> None:
    count_tokens(3)
    report_loss(0.5)
    assert list(counted_progress(range(3), "fit", 3)) == [0, 1, 2]


def test_lines_come_within_a_step_and_end_with_the_stage(capfd: pytest.CaptureFixture[str]) -> None:
    with Lines(0.05).of("expert gru, seed 0") as progress:
        for step in progress(range(2), "epochs", 2):
            if step == 1:
                time.sleep(0.5)
    written = capfd.readouterr().err.splitlines()
    assert len(written) >= 2
    assert written[-1].startswith("    expert gru, seed 0: epochs 1 of 2")
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


def test_a_stage_that_fails_writes_no_more(capfd: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        with Lines(0.05).of("stage") as progress:
            for _ in progress(range(2), "fit", 2):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    capfd.readouterr()
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


def test_a_short_stage_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with Lines(30.0).of("stage") as progress:
        list(progress(range(2), "fit", 2))
    with Silent().of("stage") as progress:
        assert list(progress(range(2), "fit", 2)) == [0, 1]
    assert capfd.readouterr().err == ""


BENCHMARK = """
name: signs
data: {{name: physionet2012, root: "{root}", window_hours: 24}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
policy: {{name: tiny, steps: 60, hidden_dim: 32, intermediate_dim: 32, layers: 1}}
record_text: {{values: quantile, periods: 1, instructions: short}}
methods: [{{name: sft, sft: {{steps: 30}}}}]
metrics: [auroc]
intervals: {{resamples: 100}}
"""
# The time between lines is a constant, so a run of a few seconds needs another one.
COMMAND = """
from eagbench.execution import signs_of_life
signs_of_life.SECONDS_BETWEEN_LINES = 0.2
from eagbench.cli.main import program
program()
"""


def stderr_of(path: Path, root: Path, *options: str, env: Mapping[str, str] | None = None) -> list[str]:
    """Run the benchmark with a store of its own, and return what it wrote about stages under way."""
    path.write_text(BENCHMARK.format(root=root))
    command = [sys.executable, "-c", COMMAND, "run", str(path), "--out", str(path.parent / "out"), *options]
    environment = {**os.environ, **(env or {}), "EAGBENCH_STORE": str(path.parent / "store")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("    ")]


def assert_alive(lines: Sequence[str]) -> None:
    assert any("pre-train" in line for line in lines), lines
    trained = [line for line in lines if "fine-tune" in line]
    assert trained, lines
    assert re.match(r"    sft answers only, seed 0: fine-tune \d+ of 30", trained[-1])
    assert any(re.search(r"loss \d.*, [\d,.]+ tokens/s, about \d+ s left", line) for line in lines), lines


@pytest.mark.parametrize("options", [(), ("--workers", "2")])
def test_a_run_into_a_file_shows_its_long_stages(
    options: tuple[str, ...], physionet_root: Path, tmp_path: Path
) -> None:
    assert_alive(stderr_of(tmp_path / "signs.yaml", physionet_root, *options))


def test_quiet_shows_none(physionet_root: Path, tmp_path: Path) -> None:
    assert stderr_of(tmp_path / "signs.yaml", physionet_root, "--quiet") == []


@pytest.mark.slow  # each stage imports PyTorch in a process of its own
def test_so_do_the_processes_of_a_third_partys_executor(
    third_party: dict[str, str], physionet_root: Path, tmp_path: Path
) -> None:
    options = ("--executor", "fresh_processes", "--executor-option", "processes=1")
    assert_alive(stderr_of(tmp_path / "signs.yaml", physionet_root, *options, env=third_party))
