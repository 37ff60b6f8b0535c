"""The example packages are short, keep their contracts, and their benchmarks run."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Finished

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.is_dir())
# Where a benchmark's table shows the component.
ROW = {"shock_index": "method", "copied_forward": "condition"}


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The examples, installed by pip beside the environment; the variables that add them."""
    root = tmp_path_factory.mktemp("examples")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(root / "site"), *map(str, EXAMPLES)], check=True, timeout=300)
    paths = [str(root / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "EAGBENCH_STORE": str(root / "store")}


@pytest.mark.parametrize("package", EXAMPLES, ids=lambda path: path.name)
def test_it_is_short(package: Path) -> None:
    [plugin] = package.glob("eagbench_*/plugin.py")
    assert len([line for line in plugin.read_text().splitlines() if line.strip()]) < 80


@pytest.mark.slow
@pytest.mark.parametrize("package", EXAMPLES, ids=lambda path: path.name)
def test_its_tests_pass_and_its_benchmark_puts_a_row_into_a_table(
    package: Path, env: dict[str, str], run_command: Callable[..., Finished], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tested = subprocess.run(
        command,
        cwd=package,
        env={**os.environ, **env, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    done = run_command("run", package / "benchmark.yaml", "--out", tmp_path / "run", env=env)
    assert done.code == 0, done.err + done.out
    with (tmp_path / "run" / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["seed"] == "0" and row["status"] == "ok"]
    column = ROW.get(package.name)
    assert any(column is None or row[column] == package.name for row in rows)
