"""Measure the CPU seconds of `eagbench report` on a run, compared with another revision.

    python speed/report_page.py RUN [--base REVISION] [--rounds 5]

Each side works on a copy of the run folder of its own, in turn. Times are user and system time of the whole process,
imports included; the ratio is that of the medians.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from cached_work import cpu_seconds
from revisions import ROOT, environment_of, worktree


def main() -> None:
    """Measure both revisions in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--base", default="fffb9b0", help="the other revision")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        with worktree(args.base, work / "tree") as tree:
            commands: dict[str, list[str]] = {}
            found: dict[str, list[float]] = {}
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(work / "cache")}
            environment.pop("PYTHONPATH", None)
            for side, place in ((args.base, tree), ("here", ROOT)):
                copy = shutil.copytree(args.run, work / f"run_{side}")
                python = environment_of(place, work / f"venv_{side}")
                commands[side] = [str(python), "-m", "eagbench", "report", str(copy)]
                cpu_seconds(commands[side], work, environment)
                found[side] = []
            for _ in range(args.rounds):
                for side, command in commands.items():
                    found[side].append(cpu_seconds(command, work, environment))
    seconds = {side: statistics.median(values) for side, values in found.items()}
    for side, value in seconds.items():
        print(f"{side:<10} {value:6.2f} s of CPU ({min(found[side]):.2f} to {max(found[side]):.2f})")
    print(f"ratio {seconds['here'] / seconds[args.base]:.2f}")


if __name__ == "__main__":
    main()
