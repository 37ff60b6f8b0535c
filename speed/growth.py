"""Measure how the cost of a run grows with patients, conditions, methods and seeds, and estimate a large grid from it.

    python speed/growth.py [--patients 1500 6000 25000 100000] [--conditions 5 10 25] [--methods 2 6 20] [--seeds 1 3 9]

Each run is `eagbench run` on `mimic4`'s generated hospital (48 hours), logistic regressions and LightGBM by turns, in a
store of its own; one thread, one process. Seconds are wall time, so nothing else may run. In the first series the
number of patients grows and the hospital is generated anew each time. In the other series it is the smallest one,
whose source, cohort and split are there already.
A slope is that of a straight line by least squares through the logarithms: 1 is proportional, 2 quadratic.

The estimate for --stays x --grid is made of the seconds of stages: each kind's line against the number of cases, at
--stays cases, times the number of stages; and what a run takes beside its stages, by its line against the number of
cells. For policies on a GPU give --policy FILE, what speed/large_policy_step.py printed on one: an answer takes as many
tokens as one did there, at the rate there, which includes reading the prompts and scoring what was written. Eight GPUs
are taken to divide the answers evenly.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from measured import Table, Value, add_json, machine, write
from process_cost import Cost, cost_of

ROOT = Path(__file__).resolve().parents[1]
HELD_OUT = 0.2
# How many times the largest cohort that was measured an estimate may have.
FARTHEST = 10
BENCHMARK = """\
name: growth
data: {{name: mimic4, root: synthetic, task: in_hospital_mortality, window_hours: 48, synthetic_patients: {patients}}}
split: {{train: 0.7, tuning: 0.1, held_out: {held_out}, seed: 0}}
methods:
{methods}
conditions: [{conditions}]
metrics: [auroc, auprc, brier, ece]
intervals: {{resamples: 1000}}
seeds: [{seeds}]
"""
# The kinds of stages that the estimate needs, and how it speaks of them.
STAGES: Mapping[str, str] = {
    "cohort": "making the cohort",
    "expert": "training a method",
    "predict": "predicting the held-out cases in a condition",
    "score": "scoring them",
}
FACTORS = ("patients", "conditions", "methods", "seeds")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was measured.

    Attributes:
        size: Its patients, conditions, methods and seeds.
        cases: Cases of its cohort.
        cost: What the process cost.
        seconds: Of its stages, by kind, of those that were computed.
    """

    size: Mapping[str, int]
    cases: int
    cost: Cost
    seconds: Mapping[str, Sequence[float]]

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.size["conditions"] * self.size["methods"] * self.size["seeds"]

    def each(self, kind: str) -> float:
        """Return the mean seconds of a stage of a kind; of many without the first, which imports what all need."""
        seconds = self.seconds[kind]
        return statistics.mean(seconds if kind in ("cohort", "expert") else seconds[1:] or seconds)

    @property
    def besides(self) -> float:
        """Seconds beside its stages: imports, planning, tables, report."""
        return self.cost.wall - sum(map(sum, self.seconds.values()))


def main() -> None:
    """Measure all series, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[1500, 6000, 25_000, 100_000])
    parser.add_argument("--conditions", type=int, nargs="+", default=[5, 10, 25])
    parser.add_argument("--methods", type=int, nargs="+", default=[2, 6, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 9])
    parser.add_argument("--stays", type=int, default=94_000, help="cases of the estimate")
    parser.add_argument("--grid", type=int, nargs=2, default=(20, 25), metavar=("METHODS", "CONDITIONS"))
    parser.add_argument("--policy", type=Path, metavar="FILE", help="what speed/large_policy_step.py printed on a GPU")
    parser.add_argument("--work", type=Path, help="a folder for stores and runs; else a temporary one")
    add_json(parser)
    args = parser.parse_args()
    for factor in FACTORS:
        least = 2 if factor == "methods" else 1  # so that every run has a method of each kind
        if min(getattr(args, factor)) < least or len(set(getattr(args, factor))) < 2:
            parser.error(f"--{factor} takes two or more different numbers, from {least} on")
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        runs = measured({factor: sorted(set(getattr(args, factor))) for factor in FACTORS}, Path(work))
    tables = [table_of_runs(runs), table_of_slopes(runs), estimate(runs, args.stays, args.grid, args.policy)]
    for table in tables:
        print(f"\n{table.title}\n" + "\n".join("  ".join(map(_shown, row)) for row in [table.columns, *table.rows]))
        print(table.note)
    write(args.json, *tables)


def measured(sizes: Mapping[str, Sequence[int]], work: Path) -> list[tuple[str, Run]]:
    """Measure a run for every size of every factor, the others at their smallest; return each with its factor."""
    smallest = {factor: of_factor[0] for factor, of_factor in sizes.items()}
    runs: list[tuple[str, Run]] = []
    for factor in FACTORS:
        for number in sizes[factor]:
            folder = work / f"{factor}_{number}"
            folder.mkdir()
            if factor != "patients":
                first = work / f"patients_{smallest['patients']}" / "store"
                for kind in ("source", "cohort", "split"):
                    shutil.copytree(first / kind, folder / "store" / kind)
            runs.append((factor, measure({**smallest, factor: number}, folder)))
            print(f"{factor} {number}: {runs[-1][1].cost.cpu:.1f} s of CPU", flush=True)
            if factor != "patients" or number != smallest["patients"]:
                shutil.rmtree(folder)
    return runs


def measure(size: Mapping[str, int], folder: Path) -> Run:
    """Run the benchmark of a size in a process of its own."""
    benchmark = folder / "growth.yaml"
    benchmark.write_text(benchmark_of(size))
    store = folder / "store"
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", "EAGBENCH_STORE": str(store)}
    env["PYTHONPATH"] = os.pathsep.join(map(str, (ROOT, ROOT / "plugins")))
    command = [sys.executable, "-m", "eagbench", "run", str(benchmark), "--quiet", "--out", str(folder / "out")]
    cost = cost_of(command, env, folder / "log.txt")
    seconds: dict[str, list[float]] = {}
    with (folder / "out" / "costs.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["status"] == "computed":
                seconds.setdefault(row["kind"], []).append(float(row["seconds"]))
    cases = next(store.glob("cohort/*/cases.parquet"))
    return Run(size, pq.ParquetFile(cases).metadata.num_rows, cost, seconds)


def benchmark_of(size: Mapping[str, int]) -> str:
    """Write a benchmark with so many methods, conditions and seeds."""
    methods = [
        f"  - {{name: logistic_regression, as: lr{i}, inverse_penalty: {0.01 * (i + 1):.2f}}}"
        if i % 2 == 0
        else f"  - {{name: lightgbm, as: trees{i}, learning_rate: {0.02 + 0.001 * i:.3f}}}"
        for i in range(size["methods"])
    ]
    missing = [f"{0.5 * (i + 1) / size['conditions']:.4f}" for i in range(size["conditions"] - 1)]
    conditions = ["clean", *([f"{{name: missing_values, severity: [{', '.join(missing)}]}}"] if missing else [])]
    return BENCHMARK.format(
        patients=size["patients"],
        held_out=HELD_OUT,
        methods="\n".join(methods),
        conditions=", ".join(conditions),
        seeds=", ".join(map(str, range(size["seeds"]))),
    )


def line(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, Callable[[float], float]]:
    """Fit a straight line through the logarithms by least squares; return its slope and what it says of a size."""
    slope, start = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope), lambda size: float(np.exp(start + slope * np.log(size)))


def of_factor(runs: Sequence[tuple[str, Run]], factor: str) -> list[Run]:
    """Return the runs of a series."""
    return [run for name, run in runs if name == factor]


def stage_line(runs: Sequence[tuple[str, Run]], kind: str) -> tuple[float, Callable[[float], float]]:
    """Fit the mean seconds of a stage of a kind against the number of cases."""
    series = of_factor(runs, "patients")
    return line([run.cases for run in series], [run.each(kind) for run in series])


def table_of_runs(runs: Sequence[tuple[str, Run]]) -> Table:
    """Return a row for every run."""
    rows: list[list[Value]] = [
        [
            *(run.size[factor] for factor in FACTORS),
            run.cases,
            sum(map(len, run.seconds.values())),
            run.cost.cpu,
            run.cost.wall,
            run.cost.memory,
        ]
        for _, run in runs
    ]
    columns = (*FACTORS, "cases", "stages computed", "CPU, s", "wall, s", "memory, GB")
    note = "Memory is the most of the process and its children (PSS)."
    return Table(columns, rows, note, "What each run cost")


def table_of_slopes(runs: Sequence[tuple[str, Run]]) -> Table:
    """Return the slopes on a log scale."""
    rows: list[list[Value]] = []

    def add(against: str, what: str, sizes: Sequence[float], slope: float) -> None:
        rows.append([against, what, f"{min(sizes):,} to {max(sizes):,}", slope, 2**slope])

    series = of_factor(runs, "patients")
    cases = [run.cases for run in series]
    add("cases", "CPU time of the run", cases, line(cases, [run.cost.cpu for run in series])[0])
    add("cases", "most memory of the run", cases, line(cases, [run.cost.memory for run in series])[0])
    for kind, what in STAGES.items():
        add("cases", what, cases, stage_line(runs, kind)[0])
    for factor in FACTORS[1:]:
        series = of_factor(runs, factor)
        sizes = [run.size[factor] for run in series]
        add(factor, "CPU time of the run", sizes, line(sizes, [run.cost.cpu for run in series])[0])
    columns = ("against", "what", "from", "slope", "doubled, times")
    note = (
        "Slopes on a log scale, by least squares: 1 is proportional. What a run costs however small it is (imports, "
        "planning, report) makes them smaller."
    )
    return Table(columns, rows, note, "How it grows")


def estimate(runs: Sequence[tuple[str, Run]], stays: int, grid: tuple[int, int], policy: Path | None) -> Table:
    """Estimate what a grid of methods and conditions costs."""
    methods, conditions = grid
    title = f"{stays:,} stays, {methods} methods, {conditions} conditions, one seed"
    largest = max(run.cases for run in of_factor(runs, "patients"))
    if stays > FARTHEST * largest:
        said = f"Not estimated: the largest cohort that was measured has {largest:,} cases, too few to tell."
        return Table(("what",), [], said, title)
    counts = {"cohort": 1, "expert": methods, "predict": methods * conditions, "score": methods * conditions}
    rows: list[list[Value]] = []
    for kind, what in STAGES.items():
        each = stage_line(runs, kind)[1](stays)
        rows.append([what, counts[kind], each, counts[kind] * each / 3600])
    small = [run for factor, run in runs if factor != "patients"]
    per_cell, start = np.polyfit([run.cells for run in small], [run.besides for run in small], 1)
    besides = max(0.0, float(start + per_cell * counts["score"]))
    rows.append(["beside the stages (imports, planning, tables, report)", 1, besides, besides / 3600])
    hours = sum(float(row[3]) for row in rows if isinstance(row[3], float))
    shared = hours - rows[0][3] - rows[-1][3]  # type: ignore[operator]
    cores = machine()["cores"]
    assert isinstance(cores, int)
    rows.append(["**in all, one process with one thread**", None, None, hours])
    rows.append([f"in all, {cores} processes (divided evenly)", None, None, hours - shared + shared / cores])
    rows += _on_gpus(stays, counts["predict"], policy)
    beyond = "Extrapolated" if stays > largest else "Interpolated"
    note = (
        f"{beyond}: the largest cohort that was measured has {largest:,} cases. Methods are as those measured, half "
        "logistic regressions and half LightGBM; the hospital is generated, its records sparser than MIMIC-IV's. "
        "Several processes and several GPUs were not measured here."
    )
    return Table(("what", "times", "seconds each", "hours"), rows, note, title)


def _on_gpus(stays: int, stages: int, policy: Path | None) -> list[list[Value]]:
    """Estimate the same grid of methods that ask a policy."""
    if policy is None:
        said = "the same with methods that ask a policy, one GPU and eight: not measured (no GPU; see --policy)"
        return [[said, None, None, None]]
    found: Mapping[str, Any] = json.loads(policy.read_text(encoding="utf-8"))
    rates = found["policy_optimisation"]["generated_tokens_per_second"]
    tokens = found["policy_optimisation"]["tokens_per_answer"]
    seconds = tokens / statistics.median(rates[1:] or rates)  # the first step warms up
    answers = round(stays * HELD_OUT) * stages
    on = f"{found['shape']} on {found['device']}, {tokens:g} tokens an answer"
    return [
        [f"answers of a policy ({on}), {gpus} GPU{'s' * (gpus > 1)}", answers, seconds, answers * seconds / gpus / 3600]
        for gpus in (1, 8)
    ]


def _shown(value: Value) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else f"{value}"


if __name__ == "__main__":
    main()
