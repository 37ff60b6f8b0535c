"""A run needs the packages that its stages import, and no other; an absent one is named before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Finished

HIDE = """\
import importlib.metadata
import sys

HIDDEN = {"captum", "trl", "pyhealth"}
sys.modules.update(dict.fromkeys(HIDDEN))
real = importlib.metadata.Distribution.from_name.__func__


def from_name(cls, name):
    if name in HIDDEN:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(cls, name)


importlib.metadata.Distribution.from_name = classmethod(from_name)
importlib.metadata.packages_distributions = lambda: {}
"""


@pytest.fixture
def hidden(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which captum, trl and pyhealth can't be imported and are not installed."""
    folder = tmp_path / "hide"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "EAGBENCH_STORE": str(tmp_path / "store")}


def test_trees_run_without_captum_trl_and_pyhealth(
    tmp_path: Path, physionet_root: Path, run_command: Callable[..., Finished], hidden: dict[str, str]
) -> None:
    data = f"data: {{name: physionet2012, root: '{physionet_root}'}}"
    text = f"name: trees\n{data}\nmethods: [lightgbm]\nseeds: [0]\nmetrics: [auroc]\n"
    (tmp_path / "trees.yaml").write_text(text)
    done = run_command("run", "trees.yaml", "--limit", "200", "--out", "out", env=hidden, cwd=tmp_path)
    assert done.code == 0, done.err
    assert (tmp_path / "out" / "report.html").is_file()


@pytest.mark.parametrize(
    ("data", "methods", "message"),
    [
        (
            "{name: mimic4, root: synthetic}",
            "[{name: concare}]",
            "a.yaml:3: the expert 'concare' needs captum, pyhealth",
        ),
        ("{name: physionet2012, root: 'ROOT'}", "[{name: gru}]", "a.yaml:3: the expert 'gru' needs captum"),
    ],
)
def test_an_absent_package_is_named_while_planning(
    tmp_path: Path,
    physionet_root: Path,
    run_command: Callable[..., Finished],
    hidden: dict[str, str],
    data: str,
    methods: str,
    message: str,
) -> None:
    data = data.replace("ROOT", str(physionet_root))
    (tmp_path / "a.yaml").write_text(f"name: a\ndata: {data}\nmethods: {methods}\nseeds: [0]\nmetrics: [auroc]\n")
    done = run_command("plan", "a.yaml", env=hidden, cwd=tmp_path)
    assert done.code == 2
    assert message in done.err
    assert "pip install" in done.err
