"""Trackers: who hears of numbers while a run goes on, and the rule that credentialed data stay on the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eagbench.errors import UserError
from eagbench.plan import Plan
from eagbench.registry import load_registry


def start_trackers(plan: Plan, folder: Path) -> list[Any]:
    """Makes and starts the benchmark's trackers.

    Raises:
        UserError: A tracker would send numbers of credentialed records off the machine.
    """
    started = []
    for i, use in enumerate(plan.trackers):
        tracker = load_registry().create("tracker", use.name, {**use.params, **use.locations})
        if tracker.leaves_machine and plan.access == "credentialed":
            raise UserError(
                f"the tracker '{use.name}' sends numbers to another machine, and the data are credentialed",
                where=plan.loaded.place("trackers", i),
                mend="remove the tracker, or use one that writes to this machine",
            )
        tracker.start(plan.loaded.benchmark.name, folder)
        started.append(tracker)
    return started
