"""Files of finished stages changed, cut off, removed or appended to, and then one condition more: no number changes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from eagbench.execution.stage_checks import hashed_damage
from eagbench.execution.store import Store
from tests.reliability.rows import Row

SMALL, FULL = 5, 60

# All records are drawn at random.
BENCHMARK = """\
name: damaged_store
data:
  name: long_csv
  root: {root}
  events: events.csv
  outcomes: outcomes.csv
  time: hours
  task: in_hospital_mortality
  outcome: die
  access: open
  citation: drawn at random
  variables:
    HR: {{concept: heart_rate, unit: bpm}}
    K: {{concept: potassium, unit: mmol/L}}
  static: {{age: age}}
split: {{train: 0.5, tuning: 0.2, held_out: 0.3}}
methods: [logistic_regression, {{name: lightgbm, n_estimators: 5}}]
conditions: [clean{more}]
comparisons: {{method: lightgbm, metric: brier}}
recalibrate: true
metrics: [auroc, brier]
intervals: {{resamples: 100}}
"""
MORE = ", {name: missing_values, severity: [0.3]}"
_N_CASES = 120
# How long a run took and when it was written stands in these; all else is the same to the byte.
_TIMED = {"costs.csv", "log.jsonl", "manifest.json", "report.html"}


def measure(times: int, seed: int, folder: Path) -> list[Row]:
    """Damage one file of one stage as often, and run the benchmark with one more condition each time."""
    draw = random.Random(seed)
    _write_records(folder, draw)
    for name, more in (("small", ""), ("more", MORE)):
        (folder / f"{name}.yaml").write_text(BENCHMARK.format(root=folder, more=more))
    _run(folder, "more", "undisturbed")
    _run(folder, "small", "store")
    finished = set(Store.existing(folder / "store").finished())
    faults = list(_FAULTS)
    lost: dict[str, list[str]] = {fault: [] for fault in faults}
    counts = dict.fromkeys(faults, 0)
    for number in range(times):
        fault = faults[number % len(faults)]
        counts[fault] += 1
        lost[fault] += _damage_and_run(folder, finished, fault, draw)
    what = "the stage was named, put aside and computed again; the same bytes as undisturbed"
    return [Row(f"a file of a finished stage {fault}", counts[fault], what, tuple(lost[fault])) for fault in faults]


def _write_records(folder: Path, draw: random.Random) -> None:
    events, outcomes = ["patient_id,stay_id,time,variable,value"], ["stay_id,outcome,age"]
    for case in range(_N_CASES):
        died = int(case % 4 == 0)
        outcomes.append(f"{case},{died},{draw.randint(20, 90)}")
        for hour in range(6):
            events.append(f"{case},{case},{hour},HR,{draw.gauss(80 + 20 * died, 10):.0f}")
            events.append(f"{case},{case},{hour},K,{draw.gauss(4, 0.4):.1f}")
    (folder / "events.csv").write_text("\n".join(events) + "\n")
    (folder / "outcomes.csv").write_text("\n".join(outcomes) + "\n")


def _run(folder: Path, benchmark: str, store: str) -> subprocess.CompletedProcess[str]:
    out = folder / f"out_{store}"
    return subprocess.run(
        [sys.executable, "-m", "eagbench", "run", str(folder / f"{benchmark}.yaml"), "--out", str(out)],
        env={**os.environ, "EAGBENCH_STORE": str(folder / store)},
        capture_output=True,
        text=True,
        check=store == "undisturbed",
    )


def _damage_and_run(folder: Path, finished: set[Path], fault: str, draw: random.Random) -> list[str]:
    """Damage a file of the small benchmark's stages, and say what went wrong when the condition was added."""
    store = Store.existing(folder / "store")
    for stage in (*(path for path in store.finished() if path not in finished), *store.put_aside_earlier()):
        shutil.rmtree(stage)
    stage = draw.choice(sorted(finished))
    path = draw.choice(sorted(p for p in stage.rglob("*") if p.is_file() and p.stat().st_size))
    _FAULTS[fault](path, draw)
    damaged = path.read_bytes() if path.exists() else None
    done = _run(folder, "more", "store")
    place = f"{stage.parent.name}/{path.relative_to(stage)}, {fault}"
    if done.returncode:
        return [f"{place}: ended with {done.returncode}: {done.stderr[-300:]}"]
    lost = []
    if f"stage {stage.parent.name} " not in done.stderr or f"{path.relative_to(stage)} " not in done.stderr:
        lost.append(f"{place}: not named")
    aside = stage.with_name(f"{stage.name}.damaged-1") / path.relative_to(stage)
    if (aside.read_bytes() if aside.exists() else None) != damaged or not aside.parent.is_dir():
        lost.append(f"{place}: not put aside as it was")
    lines = [json.loads(line) for line in (folder / "out_store" / "log.jsonl").read_text().splitlines()]
    if [line["stage"] for line in lines if "damage" in line and line["status"] == "computed"] != [stage.name]:
        lost.append(f"{place}: not computed again, or not it alone")
    if any(hashed_damage(found) for found in store.finished()):
        lost.append(f"{place}: still damaged")
    if _bytes(folder / "out_store") != _bytes(folder / "out_undisturbed"):
        lost.append(f"{place}: other results")
    return lost


def _bytes(run: Path) -> dict[str, bytes]:
    found = {path.relative_to(run).as_posix(): path for path in run.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if name not in _TIMED}


def _change(path: Path, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1
    path.write_bytes(content)


def _cut_off(path: Path, draw: random.Random) -> None:
    os.truncate(path, draw.randrange(path.stat().st_size))


def _append(path: Path, draw: random.Random) -> None:
    with path.open("ab") as stream:
        stream.write(draw.choice([b"0", b"}", b"x" * 1000]))


def _remove(path: Path, draw: random.Random) -> None:
    del draw
    path.unlink()


_FAULTS: dict[str, Callable[[Path, random.Random], None]] = {
    "changed in one bit": _change,
    "cut off": _cut_off,
    "appended to": _append,
    "removed": _remove,
}
