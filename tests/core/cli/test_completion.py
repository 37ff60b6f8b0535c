"""Completion of `--set`, asked for as a shell asks: through the script that `--show-completion` prints."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = """\
name: first
data: {name: physionet2012, root: data}
methods:
  - logistic_regression
  - {name: lightgbm, as: small_trees, num_leaves: 7}
conditions:
  - clean
  - {name: missing_values, severity: [0.3, 0.5]}
metrics: [auroc]
profiles:
  quick:
    methods: [{name: lightgbm, as: tiny_trees}]
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the command, and a benchmark."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "first.yaml").write_text(BENCHMARK)
    command = folder / "eagbench"
    command.write_text(f"#!{sys.executable}\nfrom eagbench.cli.main import program\n\nprogram()\n")
    command.chmod(0o755)
    return folder


def in_bash(program: Path, *words: str) -> list[str]:
    """What bash offers for the last word, which it breaks at `=` as it breaks all."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    broken: list[str] = []
    for word in ("eagbench", *words):
        name, equals, value = word.partition("=")
        broken += [name, *([equals] if equals else []), *([value] if value else [])]
    array = " ".join(f"'{word}'" for word in broken)
    script = (
        "source <(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 eagbench --show-completion bash)\n"
        f"COMP_WORDS=({array})\nCOMP_CWORD={len(broken) - 1}\n"
        '_eagbench_completion eagbench\nprintf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    env = {**os.environ, "PATH": f"{program}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(program / "cache")}
    done = subprocess.run(
        ["bash", "-c", script], cwd=program, env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


SET = ("run", "first.yaml", "--set")


def test_keys_of_the_benchmark(program: Path) -> None:
    assert {"methods.", "seeds=", "policy=", "data.", "data=", "recalibrate=", "threads="} <= set(
        in_bash(program, *SET, "")
    )
    assert "record_text.values=" in in_bash(program, *SET, "record_t")


def test_labels_and_parameters(program: Path) -> None:
    labels = [
        "methods.logistic_regression.",
        "methods.logistic_regression=",
        "methods.small_trees.",
        "methods.small_trees=",
    ]
    assert in_bash(program, *SET, "methods.") == labels
    offered = in_bash(program, *SET, "methods.small_trees.")
    assert {"methods.small_trees.num_leaves=", "methods.small_trees.num_threads="} <= set(offered)
    assert in_bash(program, *SET, "methods.small_trees.num_l") == [
        "methods.small_trees.num_leaves=",
        "methods.small_trees.num_leaves=7",
    ]
    quick = in_bash(program, "run", "--profile", "quick", "first.yaml", "--set", "methods.")
    assert quick == ["methods.tiny_trees.", "methods.tiny_trees="]
    assert "conditions.missing_values.severity=" in in_bash(program, *SET, "conditions.missing_values.")


def test_values_after_the_sign(program: Path) -> None:
    """Bash replaces what stands behind the sign only."""
    assert in_bash(program, *SET, "intervals.auroc=") == ["logit", "percentile"]
    assert in_bash(program, *SET, "intervals.auroc=p") == ["percentile"]
    assert in_bash(program, *SET, "recalibrate=") == ["true", "false"]
    assert in_bash(program, *SET, "methods.small_trees.num_leaves=") == ["7"]
    assert "tiny" in in_bash(program, *SET, "policy=")
    assert in_bash(program, *SET, "seeds=1", "--set", "recalibrate=f") == ["false"]


def test_what_is_not_there_offers_nothing(program: Path) -> None:
    assert in_bash(program, *SET, "methods.no_such.") == []
    assert in_bash(program, *SET, "intervals.nothing=") == []
    assert "methods=" in in_bash(program, "run", "no_such.yaml", "--set", "methods")


def test_parameters_of_a_data_set(program: Path) -> None:
    offered = in_bash(program, "data", "check", "physionet2012", "--set", "")
    assert in_bash(program, "data", "describe", "physionet2012", "--set", "") == offered
    assert "methods.small_trees." in in_bash(program, "data", "describe", "first.yaml", "--set", "methods.")
    assert {"root=", "window_hours="} <= set(offered)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_word_whole(program: Path, shell: str) -> None:
    env = {
        **os.environ,
        "XDG_CACHE_HOME": str(program / "cache"),
        "_EAGBENCH_COMPLETE": f"complete_{shell}",
        "_TYPER_COMPLETE_ARGS": "eagbench run first.yaml --set methods.small_trees.num_l",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [str(program / "eagbench")], cwd=program, env=env, capture_output=True, text=True, timeout=120, check=True
    )
    assert "methods.small_trees.num_leaves=7" in done.stdout
