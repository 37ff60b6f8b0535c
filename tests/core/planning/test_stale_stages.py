"""What must be computed again after a change of the code, on a copy of the code and one small run with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

BENCHMARK = """\
name: stale
data: {{name: tjh, root: "{root}", window_hours: 24}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
policy: {{name: tiny, steps: 200, hidden_dim: 64, layers: 2}}
record_text: {{values: quantile, periods: 1, instructions: short}}
answer: expectation
reference_expert: lightgbm
methods:
  - lightgbm
  - name: eag_rl
    expert: lightgbm
    search: {{name: expert_mcts, simulations: 2}}
    token_budget: 200
    max_new_tokens: 96
    max_training_cases: 16
    sft: {{steps: 2}}
    policy_optimisation: {{steps: 1, cases: 2, group_size: 2, passes: 2, mini_batches: 1}}
conditions: [clean, {{name: missing_values, severity: [0.2]}}]
seeds: [0]
metrics: [auroc, brier]
intervals: {{resamples: 100}}
"""
STAGE_II = {"policy_optimisation", "predict eag_rl", "score eag_rl"}
BOTH_STAGES = {"trajectories", "sft", *STAGE_II}


class CodeCopy:
    """The code in a folder of its own, and a finished run with it."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.folder, self.code = folder, folder / "code"
        for package in ("eagbench", "plugins/eagbench_plugins"):
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, self.code / Path(package).name, ignore=ignore)
        (folder / "benchmark.yaml").write_text(BENCHMARK.format(root=data / "tjh"))
        self.call("run", "--out", str(folder / "out"), "--quiet")

    def call(self, command: str, *arguments: str) -> str:
        """Runs a command with the copy."""
        environment = os.environ | {
            "PYTHONPATH": str(self.code),
            "PYTHONDONTWRITEBYTECODE": "1",
            "EAGBENCH_STORE": str(self.folder / "store"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
        }
        line = [sys.executable, "-m", "eagbench", command, "benchmark.yaml", "--limit", "100", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, cwd=self.folder, env=environment, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def to_do(self) -> set[str]:
        """Kinds of the stages that a plan would compute, with the method for those that every method has."""
        lines = [line.split() for line in self.call("plan").splitlines() if "  to do" in line]
        return {f"{kind} {label.rstrip(',')}" if kind in {"predict", "score"} else kind for _, kind, label, *_ in lines}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> CodeCopy:
    return CodeCopy(tmp_path_factory.mktemp("stale"), shared_data)


@pytest.fixture
def edited(copy: CodeCopy) -> Callable[[str, Callable[[str], str]], CodeCopy]:
    """Changes files of the copy, and puts them back."""
    before: dict[Path, str | None] = {}

    def edit(name: str, change: Callable[[str], str]) -> CodeCopy:
        path = copy.code / name
        before.setdefault(path, path.read_text(encoding="utf-8") if path.exists() else None)
        changed = change(before[path] or "")
        assert changed != before[path]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(changed, encoding="utf-8")
        return copy

    yield edit  # type: ignore[misc]
    for path, text in before.items():
        if text is None:
            path.unlink()
            if path.parent.suffix == ".dist-info":
                path.parent.rmdir()
        else:
            path.write_text(text, encoding="utf-8")


def test_a_docstring_of_a_reward_changes_nothing(edited) -> None:
    file = "eagbench_plugins/eagrl/rewards/eag.py"
    assert edited(file, lambda text: text.replace('"""', '"""In other words. ', 1)).to_do() == set()


def test_a_comment_in_a_search_changes_nothing(edited) -> None:
    file = "eagbench_plugins/eagrl/searches/mcts.py"
    assert edited(file, lambda text: f"# A comment.\n{text}\n# Another.\n").to_do() == set()


def test_a_new_file_in_datasets_changes_nothing(edited) -> None:
    file = "eagbench_plugins/datasets/another_source.py"
    assert edited(file, lambda text: "import numpy\n\nROWS = 3\n").to_do() == set()


def test_another_trl_is_trained_with_anew_and_nothing_else_is(edited) -> None:
    metadata = "Metadata-Version: 2.1\nName: trl\nVersion: 99.0\n"
    copy = edited("trl-99.0.dist-info/METADATA", lambda text: metadata)
    assert copy.to_do() == {"sft", *STAGE_II}


def test_a_constant_of_the_reward_counts_in_both_stages(edited) -> None:
    """No import of a stage names the reward: the benchmark does."""
    file = "eagbench_plugins/eagrl/rewards/eag.py"
    assert edited(file, lambda text: text.replace("(1.0, 0.1)", "(1.0, 0.2)")).to_do() == BOTH_STAGES


def test_a_factor_of_the_vocabulary_changes_every_cohort(edited) -> None:
    found = edited("eagbench/vocabulary/concepts.yaml", lambda text: text.replace("factor: ", "factor: 1", 1)).to_do()
    assert {"cohort", "split", "expert", *BOTH_STAGES} <= found
