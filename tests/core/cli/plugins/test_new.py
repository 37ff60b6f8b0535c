"""`plugins new` writes packages that can be installed, keep their contract and put a row into a table."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eagbench.config.loading import load_benchmark
from eagbench.registry.listing import KINDS
from eagbench.registry.plugins import check_component
from tests.conftest import Finished

Cli = Callable[..., Finished]


def loaded(path: Path) -> Any:
    """The module at a path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_component_and_a_benchmark(kind: str, cli: Cli, tmp_path: Path) -> None:
    written = cli("plugins", "new", kind, "ward_round", "--out", tmp_path / "made")
    assert written.code == 0, written.err
    package = tmp_path / "made" / "eagbench_ward_round"
    component = loaded(package / "plugin.py").WardRound
    assert component.name == "ward_round"
    check_component(component, kind)
    for file in filter(Path.is_file, (tmp_path / "made").rglob("*")):
        assert "my_component" not in file.read_text()
        assert "KIND" not in file.read_text()
    benchmark = load_benchmark(tmp_path / "made" / "benchmark.yaml").resolved()
    assert kind == "executor" or "ward_round" in str({**benchmark, "name": ""})
    assert ("--executor ward_round" in written.out) == (kind == "executor")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("experts", "ward_round"), "choices: dataset, expert"),
        (("expert", "WardRound"), "write it in snake_case"),
        (("expert", "class"), "can't be the name"),
        (("expert", "../up"), "can't be the name"),
        (("expert", "lightgbm"), "the expert 'lightgbm' of eagbench has that name"),
        (("metric", "plugins"), "a package eagbench_plugins is installed"),
        (("expert", "ward_round", "--out", "."), "exists already"),
    ],
)
def test_what_can_not_be_written_is_said(
    arguments: tuple[str, ...], complaint: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = cli("plugins", "new", *arguments)
    assert refused.code == 2
    assert complaint in refused.err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def packages(
    tmp_path_factory: pytest.TempPathFactory, run_command: Callable[..., Finished]
) -> tuple[Path, dict[str, str]]:
    """A new package of each kind, installed by pip beside the environment; the variables that add them."""
    root = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        assert run_command("plugins", "new", kind, f"try_{kind}", "--out", root / kind).code == 0
    target = root / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), *(str(root / kind) for kind in KINDS)], check=True, timeout=300)
    paths = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return root, {"PYTHONPATH": os.pathsep.join(paths), "EAGBENCH_STORE": str(root / "store")}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_own_tests_pass_at_once(kind: str, packages: tuple[Path, dict[str, str]]) -> None:
    root, env = packages
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=root / kind, env={**os.environ, **env}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_benchmark_puts_a_row_into_a_table(
    kind: str, packages: tuple[Path, dict[str, str]], run_command: Callable[..., Finished]
) -> None:
    root, env = packages
    executor = ("--executor", "try_executor") if kind == "executor" else ()
    done = run_command("run", "benchmark.yaml", "--out", "run", *executor, env=env, cwd=root / kind)
    assert done.code == 0, done.err + done.out
    with (root / kind / "run" / "results.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["seed"] == "0" and row["status"] == "ok"]
    column = {"expert": "method", "method": "method", "metric": "metric", "perturbation": "condition"}.get(kind)
    assert any(column is None or row[column] == f"try_{kind}" for row in rows)
    if kind == "tracker":
        assert list((root / kind / "run").rglob("numbers.jsonl"))
