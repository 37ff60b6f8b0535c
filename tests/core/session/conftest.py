"""One small run on real records, which these tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

BENCHMARK = """\
name: first
data: {{name: physionet2012, root: '{root}', window_hours: 48}}
split: {{train: 0.7, tuning: 0.1, held_out: 0.2}}
methods:
  - logistic_regression
  - {{name: lightgbm, as: small_trees, num_leaves: 7}}
conditions:
  - clean
  - {{name: missing_values, severity: [0.3, 0.5]}}
seeds: [0, 1]
metrics: [auroc, auprc, brier]
profiles:
  quick: {{seeds: [0]}}
"""

os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session")
def session_folder(shared_folder: Path, physionet_root: Path) -> Path:
    """A folder with `first.yaml`, its store, and its finished run in `runs/first`, made by `eagbench.run`."""
    import eagbench

    folder = shared_folder / "session"
    with FileLock(shared_folder / "session.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("EAGBENCH_STORE", str(folder / "store"))
        if not (folder / "runs" / "first" / "report.html").is_file():
            folder.mkdir(exist_ok=True)
            (folder / "first.yaml").write_text(BENCHMARK.format(root=physionet_root))
            eagbench.run(folder / "first.yaml", out=folder / "runs" / "first", quiet=True)
    return folder


@pytest.fixture
def in_session(session_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder as the working folder, with its store."""
    monkeypatch.chdir(session_folder)
    monkeypatch.setenv("EAGBENCH_STORE", str(session_folder / "store"))
    return session_folder
