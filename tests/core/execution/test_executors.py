"""The core's executor, and how one is chosen on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench.execution.executors.local import Local
from eagbench.testing import ExecutorConformance
from tests.conftest import Finished

Cli = Callable[..., Finished]


class TestInThisProcess(ExecutorConformance):
    component = Local


class TestInWorkerProcesses(ExecutorConformance):
    component = Local
    params = {"workers": 2}  # noqa: RUF012


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--executor", "slurm"), "--executor: there is no executor called 'slurm'"),
        (("--executor-option", "nodes=3"), "--executor-option nodes=3: unknown key 'nodes'"),
        (("--executor-option", "workers=0"), "'workers': input should be greater than or equal to 1, not 0"),
        (("--executor-option", "workers"), "--executor-option takes key=value"),
    ],
)
def test_a_wrong_executor_is_refused_before_anything_runs(
    cli: Cli, tmp_path: Path, store_folder: Path, options: tuple[str, ...], message: str
) -> None:
    file = tmp_path / "a.yaml"
    data = "{name: mimic4, root: synthetic, synthetic_patients: 10}"
    file.write_text(f"name: a\ndata: {data}\nmethods: [lightgbm]\nseeds: [0]\nmetrics: [auroc]\n")
    done = cli("run", file, "--out", tmp_path / "out", *options)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()
