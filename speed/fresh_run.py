"""Measure the CPU seconds of scoring, comparing and writing a run of 476 stages, compared with another revision.

    python speed/fresh_run.py [--base REVISION] [--rounds 5] [--data tjh] [--limit N]

Two experts, 39 conditions, three seeds: 234 cells of 800 cases (PhysioNet 2012). Both sides take turns, each with its
own store. One whole run fills it, in a process that makes up the answers: experts are fitted on 200 cases, answer at
random, and see unchanged records, since neither matters here and each takes minutes. Before each round the finished
`score` stages and the run folder are moved away, so that `eagbench run` plans, scores every cell, compares, and writes
tables and report; nothing is trained or predicted. Times are user and system time of the whole process, imports
included. Needs the open data (../shared/data, or DATA=FOLDER).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from cached_work import cpu_seconds
from measured import Table, add_json, write
from revisions import ROOT, worktree

BENCHMARK = """\
name: fresh_run
data: {{name: {data}, root: '{root}/{data}'}}
split: {{train: 0.7, tuning: 0.1, held_out: 0.2, seed: 0}}
methods: [lightgbm, logistic_regression]
conditions:
  - clean
  - {{name: feature_order, severity: [0.2, 0.4, 0.6, 1.0]}}
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
  - {{name: time_shuffle, severity: [1.0]}}
  - {{name: time_shuffle_before_last, severity: [1.0]}}
  - {{name: sex_age_removed, severity: [1.0]}}
comparisons: {{method: lightgbm, metric: auroc}}
metrics: [auroc, auprc, brier, ece]
seeds: [0, 1, 2]
"""


def child(arguments: list[str]) -> None:
    """Run the command line with answers that are made up."""
    import numpy as np

    from eagbench.cli.main import main
    from eagbench.contracts.records import Cases, FloatArray, TrainingData
    from eagbench.execution import resolve
    from eagbench_plugins.experts.gradient_boosting import LightGBM
    from eagbench_plugins.experts.logistic_regression import LogisticRegression

    def answers(self: object, cases: Cases) -> FloatArray:
        del self
        draws.append(len(draws))
        return np.random.default_rng(len(draws)).random(len(cases))

    def on_few(fit: Any) -> Any:
        return lambda self, data, run: fit(self, TrainingData(data.train.select(range(200)), data.tuning), run)

    draws: list[int] = []
    resolve._perturbed = lambda cases, *_: cases  # type: ignore[assignment]
    for expert in (LightGBM, LogisticRegression):
        expert.fit = on_few(expert.fit)  # type: ignore[method-assign]
        expert.predict = answers  # type: ignore[method-assign]
    sys.argv = ["eagbench", *arguments]
    main()


def main() -> None:
    """Measure both revisions and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="efb7e96", help="the other revision")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", default="physionet2012", help="physionet2012 or tjh")
    parser.add_argument("--limit", help="patients to take; all by default")
    add_json(parser)
    arguments = parser.parse_args()
    data = Path(os.environ.get("DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        benchmark = work / "fresh_run.yaml"
        benchmark.write_text(BENCHMARK.format(data=arguments.data, root=data.resolve()))
        given = [str(benchmark), "--quiet", *(["--limit", arguments.limit] if arguments.limit else [])]
        with worktree(arguments.base, work / "tree") as tree:
            found = measure(work, {arguments.base: tree, "here": ROOT}, given, arguments.rounds)
    write(arguments.json, found)


def measure(work: Path, trees: dict[str, Path], given: list[str], rounds: int) -> Table:
    """Fill both stores, measure in turns, and print; return the table."""
    environments, lines = {}, {}
    for side, tree in trees.items():
        environments[side] = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "GOMP_SPINCOUNT": "0",
            "EAGBENCH_STORE": str(work / f"store_{side}"),
            "XDG_CACHE_HOME": str(work / f"cache_{side}"),
        }
        environments[side]["PYTHONPATH"] = os.pathsep.join(map(str, (tree, tree / "plugins")))
        environments[side].pop("PYTHONDONTWRITEBYTECODE", None)  # as users run it
        lines[side] = [sys.executable, "-m", "eagbench", "run", *given, "--out", str(work / f"out_{side}")]
        fill = [sys.executable, __file__, "--child", *lines[side][3:]]
        print(f"{side:<10} filling the store {cpu_seconds(fill, tree, environments[side]):6.1f} s of CPU", flush=True)
    found: dict[str, list[float]] = {side: [] for side in trees}
    for number in range(rounds):
        for side in list(trees) if number % 2 else list(trees)[::-1]:
            # Moved, not removed: ext4 looks for inodes that were not freed lately, which takes the new files' CPU time.
            (work / f"store_{side}" / "score").rename(work / f"score_{side}_{number}")
            (work / f"out_{side}").rename(work / f"out_{side}_{number}")
            found[side].append(cpu_seconds(lines[side], trees[side], environments[side]))
            print(f"{side:<10} {found[side][-1]:6.2f} s of CPU", flush=True)
    ratios = [base / here for base, here in zip(*found.values(), strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4) if rounds > 1 else [ratios[0]] * 3
    for side, seconds in found.items():
        print(f"{side:<10} {statistics.median(seconds):6.2f} s of CPU, median")
    print(f"base / here {middle:.2f} (quartiles {low:.2f} to {high:.2f}, {rounds} rounds)")
    rows = [[side, statistics.median(seconds)] for side, seconds in found.items()]
    said = f"Medians. Base / here: {middle:.2f}, quartiles {low:.2f} to {high:.2f} of {rounds} rounds."
    return Table(("side", "CPU, s"), rows, said)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
