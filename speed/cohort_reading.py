"""Measure the peak memory and the CPU of LightGBM, trained and evaluated on a large cohort, beside another revision.

    python speed/cohort_reading.py [--base REVISION] [--cases 25000] [--workers 1] [--rounds 1] [--here-only]

Records of the generated hospital (1,500 patients) are stored N times over under other ids, each number off by 2 %
at random, as the finished cohort of both sides. Then the sides take turns in `eagbench run --workers W`: split,
training, clean and five perturbations, scores, report. Memory is the peak of the summed PSS of the process tree, looked
at every 0.2 s; CPU is user and system time of all processes. The sides have to leave the same results.csv. Writing the
cohort is not measured.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from measured import Table, add_json, write
from process_cost import cost_of
from revisions import ROOT, environment_of, worktree

BENCHMARK = """\
name: cohort_reading
data: {name: mimic4, root: synthetic, task: in_hospital_mortality, window_hours: 48, synthetic_patients: 1500}
split: {train: 0.7, tuning: 0.1, held_out: 0.2, seed: 0}
methods: [lightgbm]
conditions:
  - clean
  - {name: feature_order_positional, severity: [1.0]}
  - {name: missing_values, severity: [0.3]}
  - {name: gaussian_noise, severity: [0.5]}
  - {name: time_jitter, severity: [3]}
  - {name: sex_age_removed, severity: [1.0]}
subgroups: {by: [sex, age]}
metrics: [auroc, auprc, brier, ece]
intervals: {resamples: 200}
seeds: [0]
"""
GROUP_VALUES = 2_000_000


def fill(benchmark: Path, records: Path, n_cases: int) -> None:
    """Store `n_cases` cases as the cohort of a benchmark. Runs in the environment of a side.

    Args:
        benchmark: Its file; $EAGBENCH_STORE says where to store.
        records: Folder of a stored cohort.
        n_cases: How many cases to make of its cases.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eagbench.config.loading import load_benchmark
    from eagbench.execution.store import Store
    from eagbench.planning.make_plan import make_plan
    from eagbench.registry.plugins import load_registry

    store = Store.open(Path(os.environ["EAGBENCH_STORE"]))
    plan = make_plan(load_benchmark(benchmark), load_registry(), store)
    node = next(node for node in plan.nodes if node.kind == "cohort")
    out = store.begin(node, anew=True)
    for name in ("cases.parquet", "labels.parquet"):
        table = pq.read_table(records / name)
        copies = range(-(-n_cases // len(table)))
        made = [table.slice(0, n_cases - copy * len(table)) for copy in copies]
        for column in {"case_id", "patient_id"} & {*table.column_names}:
            ids = [[f"{value}-{copy:04d}" for value in part[column].to_pylist()] for copy, part in enumerate(made)]
            at = table.column_names.index(column)
            made = [part.set_column(at, column, pa.array(new)) for part, new in zip(made, ids, strict=True)]
        pq.write_table(pa.concat_tables(made), out / name)
    _write_measurements(records / "measurements.parquet", out, n_cases, len(table))
    shutil.copy(records / "cohort.json", out)
    store.commit(node, {"seconds": 0.0, "peak_memory_mb": 0.0, "costs": {}, "patients_sha256": {}, "finished": ""})


def _write_measurements(path: Path, out: Path, n_cases: int, n_records: int) -> None:
    """Write row groups of whole cases, a copy of all records after the other."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    owner = table["case"].to_numpy()
    per_group = max(1, GROUP_VALUES // (table.num_columns * max(1, len(owner) // n_records)))  # cases
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(out / path.name, table.schema, compression="zstd") as writer:
        for first in range(0, n_cases, n_records):
            here = min(n_records, n_cases - first)
            columns = [pa.array((owner + first).astype(np.int32)), table["time"]]
            for column in table.columns[2:]:
                values = column.to_numpy()
                columns.append(pa.array((values * (1 + 0.02 * rng.standard_normal(len(values)))).astype(np.float32)))
            copy = pa.table(columns, names=table.column_names)
            for start in range(0, here, per_group):
                low, high = np.searchsorted(owner, [start, min(here, start + per_group)]).tolist()
                writer.write_table(copy.slice(low, high - low), row_group_size=max(1, high - low))


def records_of(python: Path, benchmark: Path, work: Path, env: dict[str, str]) -> Path:
    """Generate the hospital and read its records; return the cohort's folder."""
    store = work / "store_of_records"
    command = [str(python), "-m", "eagbench", "run", str(benchmark), "--limit", "400", "--out", str(work / "records")]
    cost_of(command, {**env, "EAGBENCH_STORE": str(store)}, work / "records.txt")
    return next(path for path in (store / "cohort").iterdir() if path.is_dir())


def main() -> None:
    """Measure the sides in turns, and print memory, CPU and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="efb7e96", help="the other revision")
    parser.add_argument("--cases", type=int, default=25_000)
    parser.add_argument("--workers", type=int, default=1, help="processes of the executor `local`")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--here-only", action="store_true", help="do not measure the other revision")
    parser.add_argument("--records", type=Path, help="folder of a stored cohort to multiply, instead of a new one")
    parser.add_argument("--work", type=Path, help="a folder for stores and runs; else a temporary one")
    add_json(parser)
    args = parser.parse_args()
    with ExitStack() as stack:
        work = (args.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))).absolute()
        work.mkdir(parents=True, exist_ok=True)
        benchmark = work / "benchmark.yaml"
        benchmark.write_text(BENCHMARK)
        trees = {"here": ROOT}
        if not args.here_only:
            trees = {args.base: stack.enter_context(worktree(args.base, work / "tree")), **trees}
        env = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(work / "cache")}
        env.pop("PYTHONPATH", None)
        pythons = {side: environment_of(tree, work / f"venv_{side}") for side, tree in trees.items()}
        records = args.records or records_of(pythons["here"], benchmark, work, env)
        found: dict[str, list[tuple[float, float]]] = {side: [] for side in trees}
        for number in range(args.rounds):
            for side, python in pythons.items():
                own = {**env, "EAGBENCH_STORE": str(work / f"store_{side}_{number}")}
                made = [str(python), __file__, "--fill", str(benchmark), str(records), str(args.cases)]
                subprocess.run(made, env=own, check=True)
                out = work / f"run_{side}_{number}"
                run = [str(python), "-m", "eagbench", "run", str(benchmark), "--workers", str(args.workers)]
                cost = cost_of([*run, "--out", str(out)], own, work / f"{side}_{number}.txt")
                found[side].append((cost.memory, cost.cpu))
                first = work / f"run_{next(iter(trees))}_0" / "results.csv"
                if not filecmp.cmp(out / "results.csv", first, shallow=False):
                    sys.exit(f"{out}/results.csv is not {first}")
    medians = {side: [statistics.median(column) for column in zip(*rows, strict=True)] for side, rows in found.items()}
    for side, rows in found.items():
        memory, cpu = ([f"{value:.2f}" for value in column] for column in zip(*rows, strict=True))
        print(f"{side:<10} {args.cases} cases: peak {', '.join(memory)} GB, CPU {', '.join(cpu)} s")
    rows_of_sides = [[side, args.cases, *row] for side, row in medians.items()]
    write(args.json, Table(("side", "cases", "memory, GB", "CPU, s"), rows_of_sides, "Medians of the rounds."))
    if args.base in medians:
        ratios = [base / here for base, here in zip(medians[args.base], medians["here"], strict=True)]
        print(f"base / here: memory {ratios[0]:.2f}, CPU {ratios[1]:.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--fill"]:
        fill(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main()
