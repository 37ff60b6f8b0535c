"""Measure memory, time and disk of generating a MIMIC-IV-shaped hospital and making its cohort, on two revisions.

    python speed/cohort_memory.py [--admissions 1500 6000] [--density mimic] [--base REVISION | none] [--repeats 1]
                                  [--pyhealth] [--minutes 20]

For each size both sides take turns, each stage in a process of its own: `source` writes the files as .csv.gz, `cohort`
reads the files that the working tree wrote. Memory is the summed PSS of the process and all its children, the most of
samples every 0.2 s; disk is what they wrote (`wchar`), scratch files included; CPU time includes children. The stored
cohorts of both sides are compared value by value. A base without `synthetic_density` makes no source of that density.

With --pyhealth, PyHealth's own MIMIC-IV data set and its task of in-hospital mortality take their turn on the same
files, with one worker and an empty cache. They read laboratory values only, and a stay is another one: their first 48
hours begin with the admission. After --minutes they are stopped, and larger sizes go on without them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from measured import Table, add_json, write
from process_cost import Cost, cost_of
from revisions import ROOT, environment_of, worktree

ADMISSIONS_PER_PATIENT = 1.4
OURS = "working tree"
PYHEALTH = "PyHealth's task"
_COLUMNS = ("admissions", "density", "stage", "side", "memory, GB", "CPU, ms each", "wall, ms each", "written, GB")
_NOTE = "Medians of the repeats; memory is the most of the process and its children (PSS); ms for each admission."


def main() -> None:
    """Measure both sides, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--admissions", type=int, nargs="+", default=[1500, 6000])
    parser.add_argument("--density", choices=["sparse", "mimic"], default="sparse")
    parser.add_argument("--base", default="HEAD", help="the revision to compare with; `none` for no other")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--pyhealth", action="store_true", help="measure PyHealth's own task, too")
    parser.add_argument("--minutes", type=float, default=20, help="that PyHealth may take")
    add_json(parser)
    parser.add_argument("--child", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child is not None:
        (_pyhealth if args.child["stage"] == PYHEALTH else _stage)(**args.child)
        return
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        folder = Path(place)
        sides = {}
        if args.base != "none":
            base = stack.enter_context(worktree(args.base, folder / "tree"))
            sides[args.base] = environment_of(base, folder / "base")
        sides[OURS] = environment_of(ROOT, folder / "ours")
        rows: list[list[str | int | float]] = []
        seconds = 60 * args.minutes if args.pyhealth else 0.0
        for admissions in sorted(args.admissions):
            found = _size(sides, (admissions, args.density, args.repeats), seconds, folder / str(admissions))
            if not any(row[3] == PYHEALTH for row in found):
                seconds = 0.0  # it did not end, and won't at a larger size
            rows += found
    write(args.json, Table(_COLUMNS, rows, _NOTE))


def _size(
    sides: Mapping[str, Path], size: tuple[int, str, int], pyhealth_seconds: float, folder: Path
) -> list[list[str | int | float]]:
    """Measure both stages of one size on all sides, alternately; return a row for each.

    Args:
        sides: The Python of each revision.
        size: Admissions, density, repeats.
        pyhealth_seconds: How long PyHealth may take; 0 leaves it out.
        folder: For sources and cohorts.
    """
    admissions, density, repeats = size
    patients = round(admissions / ADMISSIONS_PER_PATIENT)
    given = {"patients": patients, "density": density}
    costs: dict[tuple[str, str], list[Cost]] = {}
    for number in range(repeats):
        source = folder / f"{number}"
        for side in reversed(list(sides)):
            if side == OURS or density == "sparse":
                out = source if side == OURS else folder / f"{number}-base"
                cost = _measured(sides[side], {**given, "stage": "source", "out": str(out)})
                costs.setdefault((side, "source"), []).append(cost)
        for side, python in sides.items():
            out = folder / f"{number}-{'ours' if side == OURS else 'base'}-cohort"
            told = {**given, "stage": "cohort", "source": str(source), "out": str(out)}
            costs.setdefault((side, "cohort"), []).append(_measured(python, told))
        if pyhealth_seconds:
            told = {"stage": PYHEALTH, "source": str(source), "out": str(folder / f"{number}-pyhealth")}
            try:
                cost = _measured(sides[OURS], told, pyhealth_seconds)
                costs.setdefault((PYHEALTH, "cohort"), []).append(cost)
            except TimeoutError as error:
                print(f"{admissions:>7} admissions, {PYHEALTH}: {error}", flush=True)
                pyhealth_seconds = 0.0
                costs.pop((PYHEALTH, "cohort"), None)
        if len(sides) > 1:
            _compare(*(folder / f"{number}-{side}-cohort" for side in ("base", "ours")))
    for (side, stage), of_side in sorted(costs.items(), key=lambda item: item[0][1], reverse=True):
        _print(f"{admissions:>7} admissions, {density:<6} {stage:<6} {side[:15]:<16}", of_side, admissions)
    for stage in ("source", "cohort"):
        for (side, name), theirs in costs.items():
            if name == stage and side != OURS:
                label = f"{admissions:>7} admissions, {density:<6} {stage:<6} {side} / ours"
                _print_ratios(label, theirs, costs[OURS, stage])
    return [[admissions, density, stage, side, *_medians(of, admissions)] for (side, stage), of in costs.items()]


def _measured(python: Path, given: Mapping[str, Any], most_seconds: float = math.inf) -> Cost:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "0"}
    environment.pop("PYTHONPATH", None)
    Path(given["out"]).mkdir(parents=True)
    environment["LITDATA_DISABLE_VERSION_CHECK"] = "1"  # PyHealth's litdata would ask PyPI
    command = [str(python), __file__, "--child", json.dumps(given)]
    return cost_of(command, environment, Path(f"{given['out']}.txt"), most_seconds)


def _compare(base: Path, ours: Path) -> None:
    """Refuse cohorts that differ in a value, a label or a line of their provenance."""
    for name in ("cases.parquet", "measurements.parquet", "labels.parquet"):
        with pq.ParquetFile(base / name) as first, pq.ParquetFile(ours / name) as second:
            columns = first.schema_arrow.names
            same = columns == second.schema_arrow.names and all(
                _bytes(first, column) == _bytes(second, column) for column in columns
            )
        if not same:
            raise SystemExit(f"{name} differs")
    if json.loads((base / "cohort.json").read_text()) != json.loads((ours / "cohort.json").read_text()):
        raise SystemExit("cohort.json differs")
    print("the cohorts are equal", flush=True)


def _bytes(file: pq.ParquetFile, column: str) -> bytes:
    """Return a column's values, NaN included, so that they can be compared to the bit."""
    values = file.read([column]).column(0)
    if pa.types.is_string(values.type):
        return "\n".join(values.to_pylist()).encode()
    found: bytes = values.combine_chunks().to_numpy(zero_copy_only=False).tobytes()
    return found


def _print(label: str, costs: list[Cost], admissions: int) -> None:
    memory, cpu, wall, disk = _medians(costs, admissions)
    print(
        f"{label} {memory:5.2f} GB, an admission {cpu:6.2f} ms of CPU, {wall:7.2f} ms of wall time; "
        f"written {disk:5.2f} GB",
        flush=True,
    )


def _medians(costs: list[Cost], admissions: int) -> tuple[float, float, float, float]:
    """Return GB of memory, ms of CPU and of wall time an admission, and GB written."""
    memory, cpu, wall, disk = (statistics.median(getattr(c, name) for c in costs) for name in Cost.__slots__)
    return memory, cpu * 1000 / admissions, wall * 1000 / admissions, disk


def _print_ratios(label: str, theirs: list[Cost], ours: list[Cost]) -> None:
    """Print theirs / ours, the median of the turns and their range."""
    words = []
    for name in Cost.__slots__:
        ratios = [getattr(a, name) / max(getattr(b, name), 1e-9) for a, b in zip(theirs, ours, strict=True)]
        spread = f" ({min(ratios):.1f} to {max(ratios):.1f})" if len(ratios) > 1 else ""
        words.append(f"{name} {statistics.median(ratios):.1f}x{spread}")
    print(f"{label}: {', '.join(words)}", flush=True)


def _stage(stage: str, patients: int, density: str, out: str, source: str | None = None) -> None:
    """Run one stage in this process."""
    from eagbench.api import StageRun
    from eagbench.stages import cohort
    from eagbench_plugins.datasets.mimic4.dataset import Mimic4
    from eagbench_plugins.datasets.mimic4.params import Mimic4Params

    given: dict[str, Any] = {} if density == "sparse" or stage == "cohort" else {"synthetic_density": density}
    dataset = Mimic4(Mimic4Params(root="synthetic", synthetic_patients=patients, **given))
    run = StageRun({}, {} if source is None else {"source": Path(source)}, 0, Path(out), component=dataset)
    (cohort.generate if stage == "source" else cohort.load)(run)


def _pyhealth(stage: str, source: str, out: str) -> None:
    """Read the files and make the samples as PyHealth does."""
    from pyhealth.datasets import MIMIC4EHRDataset
    from pyhealth.tasks import InHospitalMortalityMIMIC4

    dataset = MIMIC4EHRDataset(root=source, tables=["labevents"], cache_dir=out, num_workers=1)
    print(stage, len(dataset.set_task(InHospitalMortalityMIMIC4(), num_workers=1)), "samples")


if __name__ == "__main__":
    main()
