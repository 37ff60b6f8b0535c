"""Plugins that misbehave: each fails its own cells alone, by name, and no number of the others changes.

A benchmark with two good methods and two good metrics runs alone, and then once for each variant with a bad component
first. The variants share the cohort and its split; everything else is computed beside the bad component, in the same
process or by the same workers.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.reliability.misbehaviours import Variant, variants
from tests.reliability.rows import Row

SMALL, FULL = 8, 60
ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests" / "third_party" / "eagbench_misbehaving"
DATA = ROOT.parent / "shared" / "data" / "tjh"
MARK = "EAGBENCH_VARIANT"  # in the environment of a run and of all that it starts
_SHARED_KINDS = ("cohort", "split", "record_text", "policy", "content")
_ORPHAN_SECONDS = 10.0
_GOOD_METHODS = ("logistic_regression", "lightgbm")
_GOOD_METRICS = ("auroc", "brier")
_BENCHMARK = """\
name: {name}
data: {data}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3, seed: 0}}
policy: {policy}
record_text: {{values: quantile, periods: 1, instructions: short}}
methods: [{methods}logistic_regression, {{name: lightgbm, n_estimators: 10}}]
metrics: [{metrics}auroc, brier]
conditions: [{conditions}clean]
trackers: [{trackers}]
intervals: {{resamples: 100}}
seeds: [0]
"""
_TINY = "{name: tiny, steps: 20, hidden_dim: 64, layers: 2}"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    Attributes:
        code: Its exit code.
        said: Its stdout and stderr.
        numbers: The numbers of good methods by good metrics.
        orphans: Processes that outlived it.
    """

    code: int
    said: str
    numbers: dict[tuple[str, ...], tuple[str, ...]]
    orphans: int


class Bench:
    """Runs the benchmark with what is added to it.

    Args:
        folder: Where everything is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        facts = folder / "site" / "eagbench_misbehaving-0.3.dist-info"
        facts.mkdir(parents=True)
        (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: eagbench-misbehaving\nVersion: 0.3\n")
        (facts / "entry_points.txt").write_text("[eagbench]\nmisbehaving = eagbench_misbehaving.plugin\n")
        self._first = folder / "first"

    def run(self, name: str, variant: Variant | None) -> Ended:
        """Run it once, on a store that holds the cohort and its split alone."""
        place = self._folder / name
        place.mkdir()
        store = place / "store"
        if variant is None:
            store = self._first
        else:
            for kind in _SHARED_KINDS:
                if (self._first / kind).is_dir():
                    shutil.copytree(self._first / kind, store / kind)
        added = {} if variant is None else variant.added
        values = {
            **dict.fromkeys(("methods", "metrics", "conditions", "trackers"), ""),
            "policy": _TINY,
            "data": f"{{name: tjh, root: '{DATA}'}}",
            **added,
        }
        (place / "b.yaml").write_text(_BENCHMARK.format(name=name.replace("-", "_"), **values))
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(
                [str(self._folder / "site"), str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            "EAGBENCH_STORE": str(store),
            MARK: f"{self._folder}/{name}",
            **({} if variant is None else variant.environment),
        }
        command = [sys.executable, "-m", "eagbench", "run", "b.yaml", "--limit", "150", "--out", "out"]
        with (place / "said").open("w") as said:
            done = subprocess.run(
                [*command, *(() if variant is None else variant.options)],
                cwd=place,
                env=environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                timeout=300,
                check=False,
            )
        orphans = _orphans(environment[MARK])
        shutil.rmtree(place / "store", ignore_errors=True)
        return Ended(done.returncode, (place / "said").read_text(errors="replace"), _numbers(place / "out"), orphans)


def _orphans(mark: str) -> int:
    """Count the processes of a run that are alive some seconds after its end, and end them."""

    def alive() -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    deadline = time.monotonic() + _ORPHAN_SECONDS
    while (left := alive()) and time.monotonic() < deadline:
        time.sleep(0.5)
    for process in left:
        process.kill()
    return len(left)


def _numbers(folder: Path) -> dict[tuple[str, ...], tuple[str, ...]]:
    if not (folder / "results.csv").is_file():
        return {}
    with (folder / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    good = [
        row
        for row in rows
        if row["method"] in _GOOD_METHODS and row["metric"] in _GOOD_METRICS and row["condition"] == "clean"
    ]
    keys = ("method", "seed", "condition", "metric", "calibration", "subgroup")
    return {
        tuple(row[key] for key in keys): tuple(value for key, value in row.items() if key != "benchmark")
        for row in good
    }


def lost(variant: Variant, expected: Ended, ended: Ended) -> Iterator[str]:
    """Say what is wrong with how a variant's run ended."""
    if ended.code != variant.code:
        yield f"{variant.name}: exit code {ended.code}, not {variant.code}: {ended.said.strip().splitlines()[-1:]}"
    if variant.code < 2:
        changed = [key for key, value in expected.numbers.items() if ended.numbers.get(key) != value]
        if changed:
            yield f"{variant.name}: {len(changed)} of {len(expected.numbers)} numbers of others are not as before"
    if variant.code:
        wanted = ("eagbench-misbehaving", variant.hook, *variant.says)
        missing = [part for part in wanted if part not in ended.said]
        if missing:
            yield f"{variant.name}: the message does not name {', '.join(missing)}"
    if ended.orphans:
        yield f"{variant.name}: {ended.orphans} processes are alive {_ORPHAN_SECONDS:g} s after the end"


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Run so many variants, each once; beyond all of them, again."""
    bench = Bench(folder)
    expected = bench.run("good", None)
    assert expected.code == 0, expected.said
    every = list(variants())
    chosen = [every[i % len(every)] for i in range(times)]
    random.Random(seed).shuffle(chosen)
    losses: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for i, variant in enumerate(chosen):
        ended = bench.run(f"variant-{i}", variant)
        counts[variant.group] = counts.get(variant.group, 0) + 1
        losses.setdefault(variant.group, []).extend(lost(variant, expected, ended))
    return [
        Row(
            f"a plugin {group}" if not group.startswith("in ") else f"a fault {group}",
            n,
            _HAPPENED,
            tuple(losses[group]),
        )
        for group, n in sorted(counts.items())
    ]


_HAPPENED = "its cells failed, with package, component, hook and call; all other numbers as without it"
