"""The examples of README, docs and CONTRIBUTING do what the text says, word for word."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from eagbench_plugins.datasets.eicu.tables import EVENTS, PATIENT
from tests.conftest import ROOT, Finished
from tests.local_server import LocalServer, Reply, message

DOCS = ROOT / "docs"
MARKED = re.compile(r"<!-- example: ([\w-]+) -->\n```\w+\n(.*?)```", flags=re.S)
# Pages that say what to type; elsewhere a block may be a fragment.
TYPED = [ROOT / "README.md", DOCS / "quick_start.md", DOCS / "tutorial.md", *sorted((DOCS / "how_to").glob("*.md"))]


def examples(page: str) -> dict[str, str]:
    """The code blocks of a page that `<!-- example: name -->` names."""
    return dict(MARKED.findall((ROOT / page).read_text()))


def commands(block: str) -> Iterator[list[str]]:
    """The arguments of each command in a block; all are eagbench's."""
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "eagbench", line
            yield words[1:]


def type_all(block: str, run_command: Callable[..., Finished], folder: Path, **env: str) -> list[Finished]:
    """Run each command of a block in a folder; none may fail."""
    env = {"EAGBENCH_STORE": str(folder / "store"), **env}
    finished = []
    for arguments in commands(block):
        finished.append(run_command(*arguments, env=env, cwd=folder))
        assert finished[-1].code == 0, f"{arguments}\n{finished[-1].err}"
    return finished


def test_the_benchmark_of_the_readme_runs(tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    page = examples("README.md")
    (tmp_path / "two.yaml").write_text(page["readme"])
    type_all(page["readme-shell"], run_command, tmp_path)
    assert (tmp_path / "runs" / "two" / "report.html").is_file()
    assert "trees" in (tmp_path / "runs" / "two" / "comparisons.csv").read_text()


def test_the_first_benchmark_runs(tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]) -> None:
    page = examples("docs/quick_start.md")
    (tmp_path / "first.yaml").write_text(page["benchmark"])
    type_all(page["shell"], run_command, tmp_path, EAGBENCH_PHYSIONET2012_ROOT=str(physionet_root))
    assert (tmp_path / "runs" / "first" / "report.html").is_file()


def test_the_python_examples_run(tmp_path: Path, physionet_root: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    blocks = re.findall(r"<!-- example: (\w+) -->\n```python\n(.*?)```", page, flags=re.S)
    assert [name for name, _ in blocks] == ["run", "tables", "figures", "list"]
    (tmp_path / "first.yaml").write_text(
        examples("docs/quick_start.md")["benchmark"] + "profiles: {quick: {seeds: [0]}}\n"
    )
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


@pytest.mark.slow
def test_the_tutorial_ends_with_its_figure(tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    text = (DOCS / "tutorial.md").read_text()
    page = examples("docs/tutorial.md")
    (tmp_path / "robust.yaml").write_text(page["robust"])
    type_all(page["robust-shell"], run_command, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", page["figure"]],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "<svg" in (tmp_path / "robust.svg").read_text()[:1000]
    # The numbers that the text reads out of the table.
    lines = (tmp_path / "runs" / "robust" / "robustness.csv").read_text().splitlines()
    rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
    [row] = [
        row
        for row in rows
        if (row["summary"], row["metric"], row["condition"]) == ("degradation", "auroc", "missing_values")
        and (float(row["severity"] or 0), row["method"], row["baseline"]) == (0.5, "mine", "logistic_regression")
    ]
    said = re.sub(r"\s+", " ", text)
    value, low, high, detectable = (
        f"{float(row[key]):.3f}" for key in ("value", "ci_low", "ci_high", "smallest_detectable")
    )
    assert f"The difference is {value} ({low} to {high})." in said
    assert f"`smallest_detectable`: {detectable}." in said


def test_own_data_are_read_as_the_page_says(tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    page = examples("docs/how_to/own_data.md")
    own = tmp_path / "data" / "own"
    own.mkdir(parents=True)
    (own / "events.csv").write_text(page["events"])
    (own / "outcomes.csv").write_text(page["outcomes"])
    [checked] = type_all(page["check"], run_command, tmp_path)
    assert "creatinine" in checked.out
    assert "cases 2" in checked.out
    rest = "name: own\nmethods: [logistic_regression]\nmetrics: [auroc]\n"
    (tmp_path / "own.yaml").write_text(page["own"] + rest)
    type_all("eagbench plan own.yaml", run_command, tmp_path)


def test_runs_are_compared_as_the_page_says(tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    page = examples("docs/how_to/compare.md")
    (tmp_path / "two.yaml").write_text(page["compare"])
    *_, compared = type_all(page["compare-shell"], run_command, tmp_path)
    assert "trees" in compared.out
    assert (tmp_path / "comparison.csv").is_file()


def test_a_served_model_is_asked_as_the_page_says(tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    page = examples("docs/how_to/served_model.md")
    (tmp_path / "served.yaml").write_text(page["served"])

    def reply(_: object, count: int) -> Reply:
        return Reply(message(content=f"<think>Lactate.</think><answer>0.{count % 9 + 1}</answer>"))

    server = LocalServer(reply)
    try:
        type_all(page["served-shell"], run_command, tmp_path, EAGBENCH_SERVER=server.url)
    finally:
        server.close()
    assert server.requests
    rows = (tmp_path / "runs" / "served" / "results.csv").read_text().splitlines()
    assert [row for row in rows if ",served," in row and ",auroc," in row and row.endswith(",ok")]


def test_own_words_are_asked_as_the_page_says(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]
) -> None:
    page = examples("docs/how_to/prompt.md")
    (tmp_path / "my_prompt.yaml").write_text(page["words"])
    data = f"data: {{name: physionet2012, root: {physionet_root}}}\npolicy: {{name: tiny}}\nmetrics: [auroc]\n"
    (tmp_path / "words.yaml").write_text("name: words\n" + data + page["asks"])
    own, styled = type_all(page["shell"], run_command, tmp_path)
    assert own.out == styled.out
    assert own.out.startswith("You help an intensive care physician.\n\nSex: ")
    assert "Out of 100 patients like this one, how many will die" in own.out
    assert own.out.rstrip().endswith("If you comment, comment in English, after the answer.")


def test_the_conditions_of_the_robustness_page_run(tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    benchmark = (
        "name: robust\ndata: {name: mimic4, root: synthetic, window_hours: 48}\n"
        "methods: [{name: logistic_regression}]\nmetrics: [auroc]\n"
    )
    (tmp_path / "robust.yaml").write_text(benchmark + examples("docs/how_to/robustness.md")["conditions"])
    type_all("eagbench run robust.yaml --limit 300", run_command, tmp_path)


def test_the_store_is_checked_as_the_page_says(tmp_path: Path, run_command: Callable[..., Finished]) -> None:
    from eagbench.execution.store import Store

    Store.open(tmp_path / "store")
    checked, examined = type_all(examples("docs/how_to/long_runs.md")["store"], run_command, tmp_path)
    assert str(tmp_path / "store") in checked.out + examined.out


def test_the_job_of_the_cluster_page_is_planned(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]
) -> None:
    page = examples("docs/how_to/slurm.md")
    (tmp_path / "first.yaml").write_text(examples("docs/quick_start.md")["benchmark"])
    (tmp_path / "cluster.yaml").write_text(page["cluster"])
    [planned] = type_all(page["slurm-plan"], run_command, tmp_path, EAGBENCH_PHYSIONET2012_ROOT=str(physionet_root))
    assert "8 times this job:" in planned.out
    assert "#SBATCH -t 12:00:00" in planned.out
    assert "source /shared/venv/bin/activate" in planned.out


@pytest.mark.slow
def test_a_dask_cluster_computes_as_the_page_says(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    block = examples("docs/how_to/slurm.md")["dask"].replace("HOST", "127.0.0.1").replace("8786", str(port))
    lines = block.replace("--nworkers 4", "").splitlines()
    scheduler, worker, run = (shlex.split(line, comments=True) for line in lines)
    (tmp_path / "first.yaml").write_text(examples("docs/quick_start.md")["benchmark"])
    env = {**os.environ, "DASK_DISTRIBUTED__DASHBOARD__LINK": "", "EAGBENCH_PHYSIONET2012_ROOT": str(physionet_root)}
    program = str(Path(sys.executable).with_name("dask"))
    started = [
        subprocess.Popen([program, *words[1:], "--no-dashboard"], env=env, stderr=subprocess.DEVNULL, cwd=tmp_path)
        for words in (scheduler, worker)
    ]
    try:
        env_of_run = {"EAGBENCH_STORE": str(tmp_path / "store"), "EAGBENCH_PHYSIONET2012_ROOT": str(physionet_root)}
        arguments = (*run[1:], "--seeds", "0", "--limit", "300")
        done = run_command(*arguments, env=env_of_run, cwd=tmp_path)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(60)
    assert done.code == 0, done.err
    assert "run folder:" in done.out


def test_the_first_plugin_is_short_and_works(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished]
) -> None:
    page = examples("docs/how_to/plugin.md")
    code = page["plugin"]
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 20
    package = tmp_path / "package"
    (package / "my_package").mkdir(parents=True)
    (package / "my_package" / "__init__.py").write_text("")
    (package / "my_package" / "plugin.py").write_text(code)
    (package / "pyproject.toml").write_text(page["pyproject"])
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(tmp_path / "site"), str(package)], check=True, timeout=120)
    env = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])),
        "EAGBENCH_STORE": str(tmp_path / "store"),
    }
    assert "log_loss" in run_command("plugins", "list", env=env).out
    benchmark = tmp_path / "first.yaml"
    first = examples("docs/quick_start.md")["benchmark"]
    benchmark.write_text(first.replace("brier, ece]", "{name: log_loss, clip: 0.001}]"))
    root = f"data.root={physionet_root}"  # as the page says it, without the variable
    done = run_command("run", benchmark, "--set", root, "--seeds", "0", "--out", tmp_path / "out", env=env)
    assert done.code == 0, done.err
    rows = [line.split(",") for line in (tmp_path / "out" / "results.csv").read_text().splitlines()]
    values = [float(row[12]) for row in rows if row[11] == "log_loss"]
    assert values
    assert all(0 < value < 2 for value in values)


def test_every_block_to_type_is_an_example_that_a_test_runs() -> None:
    tests = Path(__file__).read_text()
    for page in TYPED:
        text = page.read_text()
        blocks = re.findall(r"(<!-- example: [\w-]+ -->\n)?```(\w+)\n(\w*)", text)
        for marker, language, first_word in blocks:
            assert marker or first_word == "make", f"{page.name}: a block of {language} that no test runs"
        for name in examples(str(page.relative_to(ROOT))):
            assert f'["{name}"]' in tests, f"{page.name}: no test runs {name}"


def test_commands_in_the_docs_are_commands() -> None:
    import typer

    from eagbench.cli.main import app

    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))):
        blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.S)
        lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
        written = [line for line in lines if line.startswith("eagbench ")]
        written += re.findall(r"`(eagbench [^`]+)`", page.read_text())
        for line in written:
            words = shlex.split(re.sub(r"\s+", " ", line), comments=True)[1:]
            command = typer.main.get_command(app)
            while words and hasattr(command, "commands") and words[0] in command.commands:
                command = command.commands[words.pop(0)]
            place = f"{page.name}: {line}"
            assert not (hasattr(command, "commands") and words and words[0][0].islower()), place
            known = {option for parameter in getattr(command, "params", ()) for option in parameter.opts} | {"--help"}
            assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, place


def test_the_conformance_example_is_the_third_partys_own_file() -> None:
    """test_third_party.py runs that file."""
    block = examples("CONTRIBUTING.md")["conformance"]
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

    # Planning hashes the files of a large policy and reads the weights' headers alone.
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    save_file({"weight": np.zeros(1, np.float32)}, model / "model.safetensors")
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
