"""The README's examples do what it says, word for word."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eagbench_plugins.datasets.eicu.tables import EVENTS, PATIENT
from tests.conftest import ROOT, Finished

README = (ROOT / "README.md").read_text()


def example(name: str) -> str:
    """The code block behind `<!-- example: name -->`."""
    [block] = re.findall(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", README, flags=re.S)
    return block


def test_the_first_benchmark_runs(tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]) -> None:
    (tmp_path / "first.yaml").write_text(example("benchmark"))
    env = {"EAGBENCH_PHYSIONET2012_ROOT": str(physionet_root), "EAGBENCH_STORE": str(tmp_path / "store")}
    commands = [line.partition("#")[0].strip() for line in example("shell").splitlines()]
    for command in filter(None, commands):
        program, *arguments = shlex.split(command)
        assert program == "eagbench"
        done = run_command(*arguments, env=env, cwd=tmp_path)
        assert done.code == 0, f"{command}\n{done.err}"
    assert (tmp_path / "runs" / "first" / "report.html").is_file()


def test_the_python_examples_run(tmp_path: Path, physionet_root: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", page, flags=re.S)
    assert [name for name, _ in blocks] == ["run", "tables", "figures", "list"]
    (tmp_path / "first.yaml").write_text(example("benchmark") + "profiles: {quick: {seeds: [0]}}\n")
    checks = (
        "assert list(table.index) == ['logistic_regression', 'small_trees']\nassert len(worst) == 5 == len(best) + 3"
    )
    env = {
        **os.environ,
        "EAGBENCH_PHYSIONET2012_ROOT": str(physionet_root),
        "EAGBENCH_STORE": str(tmp_path / "store"),
        "MPLBACKEND": "Agg",
    }
    code = "\n".join([*(code for _, code in blocks), checks])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "roc.pdf").is_file()


def test_the_first_plugin_is_short_and_works(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]
) -> None:
    code = example("plugin")
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 20
    package = tmp_path / "package"
    (package / "my_package").mkdir(parents=True)
    (package / "my_package" / "__init__.py").write_text("")
    (package / "my_package" / "plugin.py").write_text(code)
    (package / "pyproject.toml").write_text(example("pyproject"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(package)], check=True, timeout=120)
    env = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])),
        "EAGBENCH_STORE": str(tmp_path / "store"),
    }
    assert "log_loss" in run_command("plugins", "list", env=env).out
    benchmark = tmp_path / "first.yaml"
    benchmark.write_text(example("benchmark").replace("brier, ece]", "{name: log_loss, clip: 0.001}]"))
    root = f"data.root={physionet_root}"  # as the README says it, without the variable
    done = run_command("run", benchmark, "--set", root, "--seeds", "0", "--out", tmp_path / "out", env=env)
    assert done.code == 0, done.err
    rows = [line.split(",") for line in (tmp_path / "out" / "results.csv").read_text().splitlines()]
    values = [float(row[12]) for row in rows if row[11] == "log_loss"]
    assert values
    assert all(0 < value < 2 for value in values)


def test_the_conformance_example_is_the_third_partys_own_file() -> None:
    """test_third_party.py runs that file."""
    [block] = re.findall(
        r"<!-- example: conformance -->\n```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.S
    )
    file = ROOT / "tests" / "third_party" / "eagbench_example" / "tests" / "test_conformance.py"
    assert block in file.read_text()


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_benchmark_can_be_planned(
    path: Path, physionet_root: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eagbench.config.loading import load_benchmark
    from eagbench.execution.store import Store
    from eagbench.planning.make_plan import make_plan
    from eagbench.registry.plugins import load_registry

    # Planning hashes the files of a large policy and does not open them.
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"")
    monkeypatch.setenv("EAGBENCH_MODEL", str(model))
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "smollm2").symlink_to(model)
    monkeypatch.setenv("EAGBENCH_POLICIES", str(tmp_path / "policies"))
    # Planning looks at eICU's tables by their headers.
    eicu = tmp_path / "eicu"
    eicu.mkdir()
    for table in (PATIENT, *EVENTS.values()):
        columns = table.columns if table.offset is None else (table.offset, *table.columns)
        (eicu / table.file).write_text(",".join(columns) + "\n")
    for dataset, root in {
        "PHYSIONET2012": physionet_root,
        "TJH": shared_data / "tjh",
        "ICU_DEMO": shared_data / "icu-demo",
        "EICU": eicu,
    }.items():
        monkeypatch.setenv(f"EAGBENCH_{dataset}_ROOT", str(root))
    monkeypatch.delenv("EAGBENCH_MIMIC4_ROOT", raising=False)
    for profile in (None, *load_benchmark(path).benchmark.profiles):
        plan = make_plan(load_benchmark(path, profile=profile), load_registry(), Store.open(tmp_path))
        assert plan.cells


def test_files_named_in_the_docs_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_no_path_of_a_machine_and_no_package_index_is_committed() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    pattern = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+|work)/|https?://[^\s\"']*(?:pypi|/simple)\b")
    offenders = []
    for name in files:
        path = ROOT / name
        if path.suffix in {".py", ".toml", ".yaml", ".md", ".txt", ".j2", ".css"} and path != Path(__file__).resolve():
            offenders.extend(f"{name}: {m.group()}" for m in pattern.finditer(path.read_text()))
    assert not offenders
