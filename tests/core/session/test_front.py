"""`eagbench.run` from Python: what the command does, with the same files, errors and imports."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import eagbench
from tests.conftest import ROOT, Finished
from tests.credentialed_data import open_paths, write_benchmark, write_private

TABLES = ("results.csv", "robustness.csv", "comparisons.csv", "predictions/small_trees.parquet")


def test_python_and_the_command_write_the_same_files(
    in_session: Path, tmp_path: Path, run_command: Callable[..., Finished]
) -> None:
    """Also where the script loaded numerical libraries with many threads before."""
    code = (
        "import os\n"
        "for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS'): os.environ.pop(name, None)\n"
        "import numpy, torch, eagbench\n"
        "limits = {name: os.environ.get(name) for name in ('OMP_NUM_THREADS', 'MKL_NUM_THREADS')}\n"
        "n_threads = torch.get_num_threads()\n"
        f"run = eagbench.run('first.yaml', out={str(tmp_path / 'python')!r}, fresh=True, quiet=True)\n"
        "assert torch.get_num_threads() == n_threads, torch.get_num_threads()\n"
        "assert {name: os.environ.get(name) for name in limits} == limits\n"
        "print(run.folder)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "python")
    command = run_command("run", "first.yaml", "--out", tmp_path / "command", "--fresh", "--quiet")
    assert command.code == 0, command.err
    for name in TABLES:
        assert (tmp_path / "python" / name).read_bytes() == (tmp_path / "command" / name).read_bytes(), name


def test_options_mean_what_the_commands_mean(in_session: Path, tmp_path: Path) -> None:
    run = eagbench.run(
        "first.yaml",
        out=tmp_path / "out",
        profile="quick",
        set={"methods.small_trees.num_leaves": 5, "intervals.resamples": 200, "description": "010"},
        limit=200,
        quiet=True,
    )
    assert run.manifest["profile"] == "quick"
    assert run.manifest["seeds"] == [0]
    assert run.manifest["benchmark"]["description"] == "010"
    assert [method["params"].get("num_leaves") for method in run.manifest["methods"]] == [None, 5]
    assert run.stamp == "LIMITED TO 200 PATIENTS. PROFILE quick."
    assert eagbench.run("first.yaml", out=tmp_path / "seeds", seeds=[1], limit=200, quiet=True).manifest["seeds"] == [1]


def test_progress_goes_to_stderr_as_the_commands(
    in_session: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eagbench.run("first.yaml", out=tmp_path / "out")
    said = capsys.readouterr()
    assert said.out == ""
    assert "of them in the store" in said.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "quik"}, "there is no profile 'quik'"),
        ({"set": {"methods.trees.num_leaves": 5}}, "no item here is called 'trees'"),
        ({"set": {"intervals.level": float("nan")}}, "is no value of a benchmark"),
        ({"limit": 0}, "0 patients are none"),
        ({"executor": "slrum"}, "there is no executor called 'slrum'"),
        ({"stage_timeout": "soon"}, "write it in seconds"),
    ],
)
def test_mistakes_are_user_errors(in_session: Path, tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(eagbench.UserError, match=message):
        eagbench.run("first.yaml", out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_failed_cells_are_named_and_the_rest_is_there(
    in_session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no trees today")

    monkeypatch.setattr("eagbench_plugins.experts.gradient_boosting.LightGBM.fit", fail)
    run = eagbench.run("first.yaml", out=tmp_path / "out", profile="quick", fresh=True, quiet=True)
    assert set(run.failed["method"]) == {"small_trees"}
    assert run.failed["reason"].str.contains("no trees today").all()
    assert set(run.cases["method"]) == {"logistic_regression"}
    for shown in (str(run), run._repr_html_()):
        assert "no trees today" in shown
    labels = [text.get_text() for text in run.plot("roc").get_legend().get_texts()]
    assert labels[0].startswith("logistic_regression, AUROC 0.")
    assert labels[1] == "small_trees: no answers"


def test_only_a_finished_run_can_be_opened(tmp_path: Path, session_folder: Path) -> None:
    with pytest.raises(eagbench.UserError, match="not a run folder"):
        eagbench.open_run(tmp_path)
    (tmp_path / ".eagbench-run").write_text('{"benchmark": "first"}')
    with pytest.raises(eagbench.UserError, match="not finished"):
        eagbench.open_run(tmp_path)
    assert eagbench.open_run(session_folder / "runs" / "first").name == "first"


def test_a_credentialed_run_is_private_and_its_display_shows_no_patient(tmp_path: Path, store_folder: Path) -> None:
    private = write_private(tmp_path / "data")
    umask = os.umask(0)
    try:
        run = eagbench.run(write_benchmark(tmp_path / "b.yaml", private), out=tmp_path / "run", quiet=True)
        assert os.umask(0) == 0
    finally:
        os.umask(umask)
    assert open_paths(run.folder) == []
    assert private.found_in(run._repr_html_() + str(run) + repr(run)) == []
    assert set(run.cases["case_id"]) <= set(private.stays)


def test_importing_eagbench_loads_nothing_heavy() -> None:
    code = "import sys; before = set(sys.modules); import eagbench; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert {name.partition(".")[0] for name in done.stdout.split()} <= {"eagbench"}


def test_the_stub_names_what_the_package_gives() -> None:
    stub = ast.parse((ROOT / "eagbench" / "__init__.pyi").read_text())
    named = {
        alias.asname: node.module for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert named == eagbench._PLACES
    assert set(named) <= set(dir(eagbench))
    for name, module in named.items():
        assert getattr(eagbench, name) is getattr(sys.modules[module], name)
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = eagbench.runn


PLUGIN = """\
from eagbench.api import MetricTraits, StrictParams, hookimpl


class Share:
    name = "share"
    traits = MetricTraits(better="neither")

    class Params(StrictParams):
        pass

    def __init__(self, params):
        self.params = params

    def __call__(self, scored, weights):
        return weights @ (scored.probability > 0.5) / weights.sum(axis=1)


@hookimpl
def register_metrics(register):
    register(Share)
"""


def test_edited_code_is_refused_until_python_begins_again(session_folder: Path, tmp_path: Path) -> None:
    """Old code under the hash of the new file, or the reverse, would put a wrong number into the store."""
    site = tmp_path / "site"
    info = site / "shares-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shares\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[eagbench]\nshares = shares\n")
    (site / "shares.py").write_text(PLUGIN)
    code = (
        "import pathlib, eagbench\n"
        "options = {'set': {'metrics': ['auroc', 'share']}, 'limit': 200, 'seeds': [0], 'quiet': True}\n"
        f"benchmark, out = {str(session_folder / 'first.yaml')!r}, {str(tmp_path / 'out')!r}\n"
        "first = eagbench.run(benchmark, out=out, **options)\n"
        "again = eagbench.run(benchmark, out=out, **options)\n"
        "assert first.results.equals(again.results)\n"
        f"file = pathlib.Path({str(site / 'shares.py')!r})\n"
        "file.write_text(file.read_text().replace('0.5', '0.25'))\n"
        "try:\n"
        "    eagbench.run(benchmark, out=out, **options)\n"
        "except eagbench.UserError as error:\n"
        "    print(error)\n"
    )
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
        "EAGBENCH_STORE": str(tmp_path / "store"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, env=env)
    assert done.returncode == 0, done.stderr
    assert "edited after this Python had imported it" in done.stdout
    assert "shares.py" in done.stdout
    assert "restart the kernel" in done.stdout
