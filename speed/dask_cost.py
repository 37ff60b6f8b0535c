"""Measure what Dask adds to a stage, and what two workers of Dask gain on two cores.

    GOMP_SPINCOUNT=0 python speed/dask_cost.py [--stages 200] [--sleep 0.2] [--rounds 3] [--real 8] [--work FOLDER]

The first part computes stages that only sleep, on four workers of a cluster of this machine, through the executor
`dask`. Against none: a quarter of the sleeps is what no scheduler can beat. Prints the milliseconds per stage that a
worker is kept from sleeping, (seconds - ideal) x workers / stages. The first stages, by which processes start, are not
counted.

The second part computes independent stages of real work (LightGBM on random numbers, one thread each), in turns in this
process, on two workers of `dask`, in two of `local`, and in two bare processes without a scheduler: what the machine
itself gains by its second core. Prints how much faster these are than this process, by round. Run it where nobody else
uses the cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from distributed import LocalCluster
from measured import Table, Value, add_json, write

from eagbench.api import Executor
from eagbench.contracts.stages import StageNode, StageOutputs
from eagbench.execution.executors.dask import Dask
from eagbench.execution.executors.local import Local
from eagbench.execution.executors.worker import stage_begins
from eagbench.execution.threads import limited_threads, use_one_thread


@dataclass(frozen=True, slots=True)
class Compute:
    """Stands for the runner: a stage sleeps, or trains trees.

    Attributes:
        folder: A folder that all processes see.
    """

    folder: Path

    def __call__(self, node: StageNode) -> object:
        """Do what the stage's parameters say."""
        stage_begins()
        if node.kind == "sleep":
            time.sleep(float(node.params["seconds"]))
        else:
            with limited_threads(1):
                train(int(node.params["rows"]), int(node.params["number"]))
        return "done"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=200, help="that sleep")
    parser.add_argument("--sleep", type=float, default=0.2, help="seconds of each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--real", type=int, default=8, help="stages of real work")
    parser.add_argument("--rows", type=int, default=40_000, help="of a stage of real work: about 3 s")
    parser.add_argument("--work", type=Path, default=None, help="folder for what processes share")
    add_json(parser)
    args = parser.parse_args()
    use_one_thread()
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        compute = Compute(Path(work))
        rows = [sleeping(compute, args.stages, args.sleep, args.rounds)]
        rows += real(compute, args.real, args.rows, args.rounds)
    write(args.json, Table(("what", "median", "rounds"), rows))


def sleeping(compute: Compute, n: int, seconds: float, rounds: int) -> Sequence[Value]:
    """Print what a sleeping stage costs on four workers; return the row."""
    workers, costs = 4, []
    with cluster_of(workers) as cluster:
        for _ in range(rounds):
            warm = [node("sleep", -i, seconds=seconds) for i in range(1, 2 * workers + 1)]
            counted = [node("sleep", i, seconds=seconds) for i in range(n)]
            took = timed_after(Dask(Dask.Params(scheduler=cluster.scheduler_address)), warm, counted, compute)
            costs.append((took - n * seconds / workers) * workers / n * 1000)
    shown = ", ".join(f"{cost:.1f}" for cost in costs)
    median = statistics.median(costs)
    what = f"{n} stages that sleep {seconds:g} s on {workers} workers"
    print(f"{what}: {median:.1f} ms a stage ({shown})")
    return f"{what}: ms a stage beside its sleep", median, shown


def real(compute: Compute, n: int, rows: int, rounds: int) -> list[Sequence[Value]]:
    """Print how much faster two workers are than this process; return a row for each kind."""
    counted = [node("train", i, rows=rows) for i in range(n)]
    warm = [node("train", -i, rows=100) for i in range(1, 5)]
    gains: dict[str, list[float]] = {"bare processes": [], "workers of dask": [], "workers of local": []}
    with cluster_of(2) as cluster:
        for _ in range(rounds):
            alone = timed_after(Local(Local.Params()), warm, counted, compute)
            on_dask = timed_after(Dask(Dask.Params(scheduler=cluster.scheduler_address)), warm, counted, compute)
            in_two = timed_after(Local(Local.Params(workers=2)), warm, counted, compute)
            bare = in_bare_processes(n, rows)
            gains["bare processes"].append(alone / bare)
            gains["workers of dask"].append(alone / on_dask)
            gains["workers of local"].append(alone / in_two)
            print(f"this process {alone:.1f} s, dask {on_dask:.1f} s, local {in_two:.1f} s, bare {bare:.1f} s")
    results: list[Sequence[Value]] = []
    for name, found in gains.items():
        shown, what = ", ".join(f"{gain:.2f}" for gain in found), f"{n} stages of real work, two {name}"
        print(f"{what}: {statistics.median(found):.2f} times as fast ({shown})")
        results.append((f"{what}: times as fast as one", statistics.median(found), shown))
    return results


def cluster_of(workers: int) -> LocalCluster:
    """Start a cluster on this machine."""
    return LocalCluster(
        n_workers=workers, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
    )  # fmt: skip


def node(kind: str, number: int, **params: float) -> StageNode:
    """Make a stage."""
    return StageNode(kind, f"{kind} {number}", "nowhere:nothing", {"number": number, **params}, {}, code="1")


def timed_after(
    executor: Executor, warm: Sequence[StageNode], counted: Sequence[StageNode], compute: Callable[..., object]
) -> float:
    """Compute all stages, and return the seconds from the end of the warm ones to the end of the last."""
    ends: dict[str, float] = {}
    behind = [behind_all(n, warm) for n in counted]

    def done(stage: StageNode, outcome: object) -> bool:
        if outcome != "done":
            raise RuntimeError(f"{stage.label}: {outcome}")
        ends[stage.fingerprint] = time.perf_counter()
        return True

    # Not until `execute` returns, which waits for its processes to leave.
    executor.execute([*warm, *behind], compute, done)  # type: ignore[arg-type]
    return max(ends.values()) - max(ends[n.fingerprint] for n in warm)


def in_bare_processes(n: int, rows: int) -> float:
    """Return the seconds in which two processes train all the trees, once both have imported what they need."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(train, [(100, -i) for i in range(4)], chunksize=2)
        began = time.perf_counter()
        pool.starmap(train, [(rows, i) for i in range(n)], chunksize=1)
        return time.perf_counter() - began


def behind_all(stage: StageNode, warm: Sequence[StageNode]) -> StageNode:
    """Make the same stage need the warm ones, so that it begins when all processes run."""
    return replace(stage, inputs={"warm": StageOutputs(tuple(warm))})


def train(rows: int, seed: int) -> None:
    """Train trees on random numbers with one thread."""
    import lightgbm

    rng = np.random.default_rng(abs(seed))
    features = rng.normal(size=(rows, 40))
    labels = (features[:, 0] + rng.normal(size=rows) > 0).astype(int)
    params = {"objective": "binary", "num_threads": 1, "verbose": -1, "num_leaves": 31}
    lightgbm.train(params, lightgbm.Dataset(features, labels), num_boost_round=60)


if __name__ == "__main__":
    import dask_cost  # by its name, by which workers find `Compute`

    dask_cost.main()
