"""Measure what checking the store adds to a resumed run of 466 stages, side by side with the checks off.

    python speed/store_checks.py [--rounds 11] [--first]

Both sides take turns with the same store (PhysioNet 2012, --limit 300, the benchmark of cached_work.py). Only this
script can switch the checks off: it replaces them in the process of one side. It prints user and system time and wall
time of the whole process, the median of the rounds' ratios with their quartiles, and the time inside the checks. With
--first, the first run is also measured without bringing its stages to the disk. Needs the open data
(../shared/data, or DATA=FOLDER).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cached_work import BENCHMARK, ROOT

SIDES = ("checks on", "checks off")


def child(side: str, arguments: list[str]) -> None:
    """Run the command line as one of the sides, and print the CPU seconds inside the checks."""
    from eagbench.cli.main import main
    from eagbench.execution.store import Store

    spent = [0.0]

    def timed(function: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object) -> object:
            begun = time.thread_time()
            try:
                return function(*given)
            finally:
                spent[0] += time.thread_time() - begun

        return call

    if side == "checks off":
        Store.damage = lambda *_: ()  # type: ignore[method-assign,assignment]
    elif side == "checks on":
        Store.damage = timed(Store.damage)  # type: ignore[method-assign,assignment]
    elif side == "no sync":
        os.fsync = lambda _: None  # type: ignore[assignment]
    sys.argv = ["eagbench", *arguments]
    try:
        main()
    finally:
        print(f"in the checks: {spent[0]:.4f}")


def measure(side: str, arguments: list[str], env: dict[str, str]) -> tuple[float, float, float]:
    """Run one side and return its CPU seconds, wall seconds, and CPU seconds inside the checks."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, __file__, "--child", side, *arguments]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - begun, float(done.stdout.rsplit("in the checks: ", 1)[1])


def main() -> None:
    """Measure both sides and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--first", action="store_true")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    data = Path(os.environ.get("DATA", ROOT.parent / "shared" / "data"))
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        benchmark = work / "cached_work.yaml"
        benchmark.write_text(BENCHMARK.format(root=data.resolve()))
        env = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0", "XDG_CACHE_HOME": str(work / "cache")}
        run = ["run", str(benchmark), "--limit", "300", "--quiet", "--out", str(work / "out")]
        for side in ("sync", "no sync") if arguments.first else ("sync",):
            cpu, wall, _ = measure(side, run, {**env, "EAGBENCH_STORE": str(work / side)})
            print(f"first run, {side:<8} {cpu:6.1f} s of CPU, {wall:6.1f} s", flush=True)
        env["EAGBENCH_STORE"] = str(work / "sync")
        found: dict[str, list[tuple[float, float, float]]] = {side: [] for side in SIDES}
        for number in range(rounds):
            for side in SIDES if number % 2 else SIDES[::-1]:
                found[side].append(measure(side, run, env))
    for side in SIDES:
        cpu, wall, inside = (statistics.median(column) for column in zip(*found[side], strict=True))
        print(f"{side:<11} {cpu:6.2f} s of CPU, {wall:6.2f} s, {inside:.3f} s of CPU inside the checks")
    for place, what in enumerate(("CPU", "wall")):
        ratios = [on[place] / off[place] for on, off in zip(*found.values(), strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{what}: on / off {middle:.3f} (quartiles {low:.3f} to {high:.3f}, {rounds} rounds)")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        main()
