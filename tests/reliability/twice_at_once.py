"""Two equal runs at once, with one store, into one run folder or into two: each ends like an undisturbed run."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from pathlib import Path

from tests.conftest import SHARED_DATA
from tests.reliability.command import Command
from tests.reliability.interrupted_writing import BENCHMARK
from tests.reliability.rows import Row
from tests.reliability.run_folders import differences

SMALL, FULL = 2, 20
_LONGEST_DELAY = 3.0
_LONGEST_HEAD_START = 0.4  # about as long as the writing takes


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Run as many pairs, half of them into one folder, with one or two workers each."""
    benchmark = folder / "pair.yaml"
    benchmark.write_text(BENCHMARK.format(root=SHARED_DATA / "tjh"))
    alone = folder / "alone"
    alone.mkdir()
    command = _start(benchmark, alone, alone / "out", 1)
    assert command.wait() == 0, (alone / "printed").read_text()
    draw = random.Random(seed)
    rows = []
    for fault, n, is_one in [
        ("two equal runs at once into one folder", times // 2, True),
        ("two equal runs at once into two folders", times - times // 2, False),
    ]:
        lost = [
            entry
            for i in range(n)
            for entry in _pair(benchmark, alone / "out", folder / f"{is_one}_{i}", draw, is_one=is_one)
        ]
        rows.append(Row(fault, n, "both ended with the bytes of a run alone, each stage computed once", tuple(lost)))
    # All is stored: nothing but the writing is left, and both begin it within moments.
    lost = [entry for i in range(times) for entry in _writers(benchmark, alone, folder / f"writers_{i}", draw)]
    rows.append(
        Row("two equal runs of stored stages write one folder", times, "it is that of a run alone", tuple(lost))
    )
    return rows


def _writers(benchmark: Path, alone: Path, out: Path, draw: random.Random) -> list[str]:
    commands = []
    for _ in range(2):
        commands.append(_start(benchmark, alone, out, 1))
        time.sleep(draw.uniform(0, _LONGEST_HEAD_START))
    lost = [f"a run ended with {code}" for command in commands if (code := command.wait()) != 0]
    if lost:
        return lost
    # Whatever one of them removed is missing in the manifest, too.
    return [f"differs: {name}" for name in differences(out, alone / "out")]


def _pair(benchmark: Path, alone: Path, folder: Path, draw: random.Random, *, is_one: bool) -> list[str]:
    folder.mkdir()
    outs = [folder / "first", folder / ("first" if is_one else "second")]
    first = _start(benchmark, folder, outs[0], draw.choice([1, 2]))
    # Half of them start together, the others while the first one computes.
    time.sleep(draw.choice([0.0, draw.uniform(0, _LONGEST_DELAY)]))
    second = _start(benchmark, folder, outs[1], draw.choice([1, 2]))
    lost = []
    for command in (first, second):
        code = command.wait()
        if code != 0:
            lost.append(f"a run ended with {code}: {(folder / 'printed').read_text()[-300:]}")
        lost += command.orphans()
    if lost:
        return lost
    lost = [f"differs: {name}" for out in sorted(set(outs)) for name in differences(out, alone)]
    lost += [f"left behind: {path.name}" for path in folder.glob("store/*/*.partial")]
    return lost + [f"computed {n} times: {stage}" for stage, n in _computed(outs).items() if n > 1]


def _computed(outs: list[Path]) -> Counter[str]:
    logs = [json.loads(line) for out in set(outs) for line in (out / "log.jsonl").read_text().splitlines()]
    return Counter(entry["stage"] for entry in logs if entry["status"] == "computed")


def _start(benchmark: Path, folder: Path, out: Path, workers: int) -> Command:
    arguments = ["run", benchmark, "--out", out, "--workers", workers, "--quiet"]
    return Command(*arguments, store=folder / "store", printed=folder / "printed")
