"""A small data set that counts as credentialed, whose ids and values can be found again wherever they turn up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.conftest import Finished

BENCHMARK = """\
name: guarded
data:
  name: long_csv
  root: '{root}'
  time: hours
  window_hours: 24
  task: in_hospital_mortality
  outcome: die before leaving the hospital
  variables: {{Puls: {{concept: heart_rate, unit: beats/min}}, Kreatinin: {{concept: creatinine, unit: mg/dL}}}}
  groups: {{ward: [north, south]}}
split: {{train: 0.6, tuning: 0.2, held_out: 0.2, seed: 0}}
policy: {{name: tiny, steps: 60, hidden_dim: 32, layers: 1}}
record_text: {{values: raw, periods: 1, instructions: short}}
methods: [{methods}]
conditions: [clean]
metrics: [auroc, brier]
seeds: [0]
intervals: {{resamples: 100}}
{more}
"""


@dataclass(frozen=True, slots=True)
class Private:
    """What may stand nowhere outside: ids of stays and patients, and values as the files have them."""

    root: Path
    stays: tuple[str, ...]
    patients: tuple[str, ...]
    values: tuple[str, ...]

    def found_in(self, text: str) -> list[str]:
        """Return what a text holds of it."""
        words = set(re.findall(r"[A-Za-z0-9][A-Za-z0-9.]*[A-Za-z0-9]", text))
        return sorted(words & {*self.stays, *self.patients, *self.values})

    def found_in_files(self, paths: Iterable[Path]) -> list[str]:
        """Return file and finding for all that files hold of it."""
        return [
            f"{path.name}: {word}"
            for path in paths
            if path.is_file()
            for word in self.found_in(path.read_text(encoding="utf-8", errors="replace"))
        ]


def write_private(root: Path, n: int = 240, seed: int = 0) -> Private:
    """Write `events.csv` and `outcomes.csv`: stays with two measurements a variable, which tell the outcome."""
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    stays = tuple(f"Zst{i:04d}q" for i in range(n))
    patients = tuple(f"Zpa{i:04d}w" for i in range(n))
    events, outcomes, values = ["patient_id,stay_id,time,variable,value"], ["stay_id,outcome,age,sex,ward"], []
    for stay, patient in zip(stays, patients, strict=True):
        risk = rng.normal()
        for variable, level in (("Puls", 85 + 12 * risk), ("Kreatinin", 1.6 + 0.3 * risk)):
            for time in (1, 7):
                value = f"{level + rng.normal() * 0.1:.4f}"
                events.append(f"{patient},{stay},{time},{variable},{value}")
                values.append(value)
        outcome = int(rng.random() < 1 / (1 + np.exp(-1.5 * risk)))
        age, sex, ward = 40 + int(rng.integers(40)), "FM"[rng.integers(2)], ("north", "south")[rng.integers(2)]
        outcomes.append(f"{stay},{outcome},{age},{sex},{ward}")
    (root / "events.csv").write_text("\n".join(events) + "\n")
    (root / "outcomes.csv").write_text("\n".join(outcomes) + "\n")
    return Private(root, stays, patients, tuple(value for value in values if len(value) >= 6))


def write_benchmark(path: Path, private: Private, methods: str = "logistic_regression", more: str = "") -> Path:
    """Write a benchmark on it."""
    path.write_text(BENCHMARK.format(root=private.root, methods=methods, more=more))
    return path


def open_paths(folder: Path) -> list[str]:
    """List whatever in a folder, itself included, others may read, write or enter."""
    paths = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    return [f"{path}: {path.stat().st_mode & 0o777:o}" for path in paths if path.stat().st_mode & 0o077]


def command(*arguments: object, folder: Path, site: Path | None = None, **variables: str) -> subprocess.Popen[str]:
    """Start the command line in a process of its own with the widest umask, its store and its caches in `folder`."""
    paths = [*filter(None, [os.environ.get("PYTHONPATH")]), *([] if site is None else [str(site)])]
    env = {
        **os.environ,
        "EAGBENCH_STORE": str(folder / "store"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "PYTHONPATH": os.pathsep.join(paths),
        **variables,
    }
    words = [sys.executable, "-m", "eagbench", *map(str, arguments)]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, cwd=folder, umask=0
    )


def eagbench(*arguments: object, folder: Path, site: Path | None = None, **variables: str) -> Finished:
    """Run it to its end."""
    process = command(*arguments, folder=folder, site=site, **variables)
    out, err = process.communicate(timeout=900)
    return Finished(process.returncode, out, err)
