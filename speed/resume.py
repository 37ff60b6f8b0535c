"""Measure what a resumed run costs per stage when the store holds every stage, compared with another revision.

    python speed/resume.py [--base REVISION] [--rounds 5] [--methods 8 80]

Each method is a logistic regression with another penalty on TJH (--limit 100), under 25 conditions with five training
seeds: 125 cells, each predicted and scored, so 80 methods are 10,000 cells and about 20,400 stages. One whole run of
the larger grid fills the store of each side; the smaller grid is a part of it. The sides then run both grids in turns,
each into a run folder of its own that it writes anew. The slope between the two is what a further stage costs, and the
rest is imports and planning. Times are user and system time of the whole process. Needs the open data
(../shared/data, or DATA=FOLDER).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from cached_work import cpu_seconds
from measured import Table, add_json, write
from revisions import ROOT, worktree

BENCHMARK = """\
name: resume
data: {{name: tjh, root: '{root}/tjh'}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
methods:
{methods}
conditions:
  - clean
  - {{name: missing_values, severity: [{severities}]}}
metrics: [auroc, auprc, brier, ece]
seeds: [0, 1, 2, 3, 4]
"""
SEVERITIES = 24


def benchmark_of(n_methods: int, data: Path) -> str:
    """Write a benchmark with so many methods."""
    methods = [
        f"  - {{name: logistic_regression, as: lr{i}, inverse_penalty: {0.01 * (i + 1):.2f}}}" for i in range(n_methods)
    ]
    severities = ", ".join(f"{0.02 * (i + 1):.2f}" for i in range(SEVERITIES))
    return BENCHMARK.format(root=data.resolve(), methods="\n".join(methods), severities=severities)


def main() -> None:
    """Measure both revisions and print the slopes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="efb7e96", help="the other revision")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--methods", type=int, nargs=2, default=(8, 80), metavar=("SMALL", "LARGE"))
    add_json(parser)
    arguments = parser.parse_args()
    data = Path(os.environ.get("DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        for n_methods in arguments.methods:
            (work / f"{n_methods}.yaml").write_text(benchmark_of(n_methods, data))
        with worktree(arguments.base, work / "tree") as tree:
            found = measure(work, {arguments.base: tree, "here": ROOT}, arguments.methods, arguments.rounds)
    write(arguments.json, found)


def measure(work: Path, trees: dict[str, Path], sizes: tuple[int, int], rounds: int) -> Table:
    """Fill both stores, measure in turns, and print; return the table."""
    environments = {side: environment(work, side, tree) for side, tree in trees.items()}
    stages: dict[int, int] = {}
    for side, tree in trees.items():
        seconds = cpu_seconds(command(work, sizes[1], side), tree, environments[side])
        print(f"{side:<10} filling the store {seconds:7.1f} s of CPU", flush=True)
    found: dict[tuple[str, int], list[float]] = {(side, n): [] for side in trees for n in sizes}
    for number in range(rounds):
        for side in list(trees) if number % 2 else list(trees)[::-1]:
            for n in sizes:
                shutil.rmtree(work / f"out_{side}_{n}", ignore_errors=True)  # written anew each time
                found[side, n].append(cpu_seconds(command(work, n, side), trees[side], environments[side]))
                stages[n] = n_stages(work / f"out_{side}_{n}")
            print(side, *(f"{stages[n]} stages {found[side, n][-1]:.2f} s" for n in sizes), flush=True)
    small, large = sizes
    rows = []
    for side in trees:
        pairs = zip(found[side, small], found[side, large], strict=True)
        slopes = [1000 * (b - a) / (stages[large] - stages[small]) for a, b in pairs]
        low, middle, high = statistics.quantiles(slopes, n=4) if rounds > 1 else slopes * 3
        rest = statistics.median(found[side, small]) - middle * stages[small] / 1000
        print(f"{side:<10} {middle:.2f} ms a stage (quartiles {low:.2f} to {high:.2f}), and {rest:.1f} s besides")
        rows.append([side, stages[small], stages[large], middle, low, high, rest])
    columns = ("side", "stages", "and", "a further stage, ms", "lower quartile", "upper quartile", "besides, s")
    return Table(columns, rows, f"CPU time, every stage stored; {rounds} rounds.")


def environment(work: Path, side: str, tree: Path) -> dict[str, str]:
    """Return the environment of one side: its code, and a store and a cache of its own."""
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "GOMP_SPINCOUNT": "0",
        "EAGBENCH_STORE": str(work / f"store_{side}"),
        "XDG_CACHE_HOME": str(work / f"cache_{side}"),
        "PYTHONPATH": os.pathsep.join(map(str, (tree, tree / "plugins"))),
    }
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # as users run it
    return env


def command(work: Path, n_methods: int, side: str) -> list[str]:
    """Return the command line of a run."""
    run = [sys.executable, "-m", "eagbench", "run", str(work / f"{n_methods}.yaml"), "--limit", "100", "--quiet"]
    return [*run, "--out", str(work / f"out_{side}_{n_methods}")]


def n_stages(folder: Path) -> int:
    """Count the stages of a run, all of which were in the store."""
    statuses = [json.loads(line)["status"] for line in (folder / "log.jsonl").read_text().splitlines()]
    if set(statuses) != {"reused"}:
        sys.exit(f"the store does not hold every stage: {', '.join(sorted(set(statuses)))}")
    return len(statuses)


if __name__ == "__main__":
    main()
