"""What no stage may do beside its work: change what it was given, or report costs that are no numbers."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from eagbench.contracts.rules import ContractError
from eagbench.contracts.stages import StageNode
from eagbench.execution.stage_files import MANIFEST
from eagbench.execution.store import Store

_Files = Mapping[str, tuple[int, int]]  # size and time of change by path


@contextmanager
def unchanged_inputs(node: StageNode, store: Store) -> Iterator[None]:
    """Find out whether a stage changes or removes files of the stages before it.

    A stage that was damaged is removed from the store, so that nothing else is made of it: what needs it fails, and the
    next run computes it again.

    Raises:
        ContractError: It does.
    """
    before = {up.fingerprint: (up, _files(store.folder(up))) for up in node.upstream() if store.is_complete(up)}
    try:
        yield
    finally:
        damaged = [(up, changed) for up, files in before.values() if (changed := _changed(files, store.folder(up)))]
        for up, _ in damaged:
            (store.folder(up) / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(store.folder(up), ignore_errors=True)
    if damaged:
        up, changed = damaged[0]
        raise ContractError(
            node.function.partition(":")[2],
            "inputs",
            f"it changed or removed {', '.join(changed)} of the stage {up.kind} '{up.label}', which the next run "
            "computes again",
        )


def _files(folder: Path) -> _Files:
    """Return the size and time of every file below a folder; nothing of a folder that is gone."""
    found, waiting = {}, [""]
    while waiting:
        below = waiting.pop()
        with suppress(FileNotFoundError), os.scandir(f"{folder}/{below}") as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{below}{entry.name}/")
                else:
                    stat = entry.stat(follow_symlinks=False)
                    found[f"{below}{entry.name}"] = (stat.st_size, stat.st_mtime_ns)
    return found


def _changed(before: _Files, folder: Path) -> list[str]:
    """List files that are gone or others than before; none if another run has put a whole new stage there."""
    now = _files(folder)
    if MANIFEST in now and now[MANIFEST] != before[MANIFEST]:
        return []
    return sorted(name for name, state in before.items() if now.get(name) != state)


def checked_costs(costs: Mapping[Any, Any]) -> dict[str, float]:
    """Return a stage's costs as Python's own numbers.

    Raises:
        ContractError: They are not finite numbers by name.
    """
    found = {}
    for name, amount in costs.items():
        value = amount.item() if isinstance(amount, np.number) else amount
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (isinstance(name, str) and is_number):
            raise ContractError("add_cost", repr(name), f"{amount!r} is not a finite number")
        found[name] = value
    return found
