"""In which order stages that could begin now should begin: those with the longest way to the end behind them first."""

from __future__ import annotations

import json
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eagbench.contracts.stages import StageNode
from eagbench.execution.stage_files import MANIFEST

# Seconds of a stage that was never timed in this store; only how they compare with each other matters.
_UNTIMED = {
    "source": 60.0, "cohort": 30.0, "policy": 60.0, "trajectories": 300.0, "sft": 300.0, "policy_optimisation": 900.0,
    "expert": 20.0, "salience": 10.0, "predict": 10.0, "reread": 60.0,
}  # fmt: skip
_OTHERS = 2.0
_READ = 100  # the newest of a kind

Times = Mapping[tuple[str, str], float]


def longest_way(nodes: Sequence[StageNode], times: Times) -> dict[str, float]:
    """Find for each stage how long it and the longest chain of stages behind it take.

    Args:
        nodes: The stages, each after those that it needs.
        times: Seconds by kind and label, and by kind with an empty label.

    Returns:
        Seconds by fingerprint.
    """
    ways: dict[str, float] = {}
    behind: dict[str, float] = defaultdict(float)
    for node in reversed(nodes):
        guess = times.get((node.kind, ""), _UNTIMED.get(node.kind, _OTHERS))
        way = times.get((node.kind, node.label), guess) + behind[node.fingerprint]
        ways[node.fingerprint] = way
        for up in node.upstream():
            behind[up.fingerprint] = max(behind[up.fingerprint], way)
    return ways


def measured_times(folder: Path, kinds: Iterable[str]) -> dict[tuple[str, str], float]:
    """Read what the newest stages of some kinds took, from their manifests in a store.

    Args:
        folder: The store.
        kinds: Kinds of stages.

    Returns:
        The median of seconds by kind and label, and by kind with an empty label.
    """
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kind in {*kinds}:
        for manifest in _newest(folder / kind):
            try:
                facts = json.loads(manifest.read_bytes())
                label, seconds = str(facts["label"]), float(facts["seconds"])
            except (OSError, ValueError, KeyError, TypeError):
                continue  # unfinished, damaged, or just put aside
            found[kind, label].append(seconds)
            found[kind, ""].append(seconds)
    return {what: statistics.median(seconds) for what, seconds in found.items()}


def _newest(folder: Path) -> list[Path]:
    """List the manifests of the stages that were finished last."""
    try:
        with os.scandir(folder) as entries:
            stages = [(entry.stat().st_mtime, entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        return []
    return [Path(path, MANIFEST) for _, path in sorted(stages, reverse=True)[:_READ]]
