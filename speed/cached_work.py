"""Measure the CPU seconds of commands whose stages are all in the store, compared with another revision.

    python speed/cached_work.py [--base REVISION] [--rounds 5]

The sides take turns, each with its own store, filled beforehand. The commands are `eagbench run` with 466 stages of
trees and logistic regression (PhysioNet 2012, --limit 300, 43 conditions, five folds), and `eagbench plugins list`
compared with a typer program that prints one line. Times are user and system time of the whole process, the median of
the rounds. Needs the open data (../shared/data, or DATA=FOLDER).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from revisions import ROOT, environment_of, worktree

BENCHMARK = """\
name: cached_work
data: {{name: physionet2012, root: '{root}/physionet2012', window_hours: 48}}
split: {{folds: 5, seed: 0}}
methods: [lightgbm, logistic_regression]
conditions:
  - clean
  - {{name: feature_order, severity: [0.2, 0.4, 0.6, 1.0]}}
  - {{name: feature_order_positional, severity: [0.2, 0.4, 0.6, 1.0]}}
  - {{name: missing_values, severity: [0.1, 0.2, 0.3, 0.4, 0.5]}}
  - {{name: missing_by_value, severity: [0.1, 0.3, 0.5]}}
  - {{name: missing_features, severity: [0.1, 0.3, 0.5]}}
  - {{name: missing_visits, severity: [0.1, 0.5, 0.9]}}
  - {{name: last_hours_removed, severity: [6, 12, 24]}}
  - {{name: gaussian_noise, severity: [0.25, 0.5, 1.0]}}
  - {{name: outliers, severity: [0.02, 0.05, 0.1]}}
  - {{name: decimal_slips, severity: [0.02, 0.05, 0.1]}}
  - {{name: time_jitter, severity: [1, 3, 6]}}
  - {{name: coarser_sampling, severity: [4, 12]}}
  - {{name: unit_change_unlabelled, severity: [0.4, 1.0]}}
  - {{name: sex_age_removed, severity: [1.0]}}
metrics: [auroc, auprc, brier, ece]
intervals: {{resamples: 1000}}
seeds: [0]
"""
TYPER = """\
import typer

app = typer.Typer(add_completion=False)


@app.command()
def say():
    typer.echo("a line")


app()
"""


def cpu_seconds(command: list[str], cwd: Path, env: dict[str, str]) -> float:
    """Run a command and return its CPU seconds, including its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure both revisions and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="a7a2053", help="the other revision")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    data = Path(os.environ.get("DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        with worktree(arguments.base, work / "tree") as tree:
            measure(work, {arguments.base: tree, "here": ROOT}, data, arguments.rounds)


def measure(work: Path, trees: dict[str, Path], data: Path, rounds: int) -> None:
    """Fill both stores, measure in turns, and print."""
    benchmark = work / "cached_work.yaml"
    benchmark.write_text(BENCHMARK.format(root=data.resolve()))
    (work / "empty.py").write_text(TYPER)
    lines, environments, pythons = {}, {}, {}
    for side, tree in trees.items():
        pythons[side] = str(environment_of(tree, work / f"venv_{side}"))
        environments[side] = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GOMP_SPINCOUNT": "0",
            "EAGBENCH_STORE": str(work / f"store_{side}"),
            "XDG_CACHE_HOME": str(work / f"cache_{side}"),
        }
        run = [pythons[side], "-m", "eagbench", "run", str(benchmark), "--limit", "300", "--quiet"]
        lines[side] = {
            "run": [*run, "--out", str(work / f"out_{side}")],
            "plugins list": [pythons[side], "-m", "eagbench", "plugins", "list"],
            "empty typer": [pythons[side], str(work / "empty.py")],
        }
        environments[side].pop("PYTHONDONTWRITEBYTECODE", None)  # as users run it
        for line in lines[side].values():
            cpu_seconds(line, tree, environments[side])
            cpu_seconds(line, tree, environments[side])
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name in ("run", "plugins list", "empty typer"):
            for side, tree in trees.items():
                found.setdefault((name, side), []).append(cpu_seconds(lines[side][name], tree, environments[side]))
    seconds = {key: statistics.median(values) for key, values in found.items()}
    for (name, side), value in seconds.items():
        print(f"{name:<13} {side:<10} {value:6.2f} s of CPU")
    base, here = trees
    print(f"a cached run takes 1/{seconds['run', base] / seconds['run', here]:.1f} of the CPU time of {base}")
    for side in trees:
        ratio = seconds["plugins list", side] / seconds["empty typer", side]
        print(f"plugins list at {side}: {ratio:.1f} times an empty typer program")


if __name__ == "__main__":
    main()
