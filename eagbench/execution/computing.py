"""Compute one stage, or reuse it: its inputs, its function, what it leaves, and how it ended."""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eagbench.contracts.rules import ContractError, check_files
from eagbench.contracts.stages import StageNode, StageRun
from eagbench.errors import UserError, is_stop
from eagbench.execution.executors.worker import stage_begins
from eagbench.execution.failures import (
    answerable_stage,
    plain_user_error,
    reason_of,
    under_way_file,
)
from eagbench.execution.full_disk import DiskFullError, as_disk_full
from eagbench.execution.process_identity import this_process
from eagbench.execution.processes import check_not_stopped, end_with_parent
from eagbench.execution.resolve import read_stages, resolve, training_patients
from eagbench.execution.same_code import check_same_code
from eagbench.execution.signs_of_life import Signs
from eagbench.execution.stage_conduct import checked_costs, unchanged_inputs
from eagbench.execution.store import Store, enumerated
from eagbench.execution.threads import limited_threads
from eagbench.execution.under_way import under_way
from eagbench.execution.written_secrets import refuse_written_secrets
from eagbench.prompting.answer_cache import FOLDER as RESPONSES
from eagbench.prompting.answer_cache import ResponseCache, answering_from
from eagbench.registry.blame import handed_out
from eagbench.registry.containment import contained, separate_streams
from eagbench.registry.plugins import load_registry


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a stage ended.

    Attributes:
        status: `computed`, `reused`, `failed`, `skipped` because a stage before it failed, or `not_needed` because the
            store already holds everything made from it, though not the stage itself, or not whole.
        seconds: Time spent in this run.
        facts: The stage's manifest, if it finished.
        reason: Why it failed, in one line.
        details: The traceback.
        error: The exception, if the user can fix it.
        damage: What was damaged of the stage in the store, and where that is now.
        disk_full: Why nothing more can be written, if that is what failed: it ends the run.
    """

    status: str
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    details: str | None = None
    error: UserError | None = None
    damage: str | None = None
    disk_full: DiskFullError | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the store holds the stage's files."""
        return self.status in {"computed", "reused"}


@dataclass(frozen=True, slots=True)
class Compute:
    """Computes stages, reuses them or leaves them out, in whichever process an executor calls it.

    Attributes:
        needed: The fingerprints of the stages that the run needs.
        store: Holds the stages.
        fresh: Compute every stage anew.
        answers_since: Ask servers again for answers from before this time (seconds since 1970).
        signs: Shows that a stage is alive.
        planned_in: The process that made the plan.
    """

    needed: frozenset[str]
    store: Store
    fresh: bool
    answers_since: float
    signs: Signs
    planned_in: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """The store."""
        return self.store.root

    @handed_out
    def __call__(self, node: StageNode) -> Outcome:
        """Compute a stage, reuse it, or leave it out."""
        end_with_parent()  # whichever executor started this process
        if node.fingerprint not in self.needed and not self.store.is_whole(node):
            return Outcome("not_needed", damage=enumerated(self.store.damage(node)) or None)
        if (reused := _reused(node, self.store, fresh=self.fresh)) is not None:
            return reused  # nothing is computed that could show signs of life
        if this_process() != self.planned_in:
            check_same_code(node)
        with self.signs.of(displayed(node)) as progress:
            return compute_stage(
                node, self.store, fresh=self.fresh, answers_since=self.answers_since, progress=progress
            )


def compute_stage(
    node: StageNode, store: Store, *, fresh: bool, progress: Callable[..., Any], answers_since: float = 0.0
) -> Outcome:
    """Compute one stage, or reuse it if finished. Turn any error of the stage into its outcome instead of raising it.

    Args:
        node: The stage.
        store: Holds its folder.
        fresh: Compute it anew.
        progress: Wraps an iterable with a progress bar.
        answers_since: Ask servers again for answers from before this time (seconds since 1970).

    Raises:
        Stopped: The run is to stop.
    """
    # A finished stage never changes, unless everything is computed anew: reading it needs no lock.
    if (reused := _reused(node, store, fresh=fresh)) is not None:
        return reused
    if problem := _lost_input(node, store):
        return failed(0.0, problem.message, "", problem)
    outcome = None
    while outcome is None:  # while it slept, another process took the stage over
        with store.lock(node):
            outcome = _compute_locked(node, store, fresh=fresh, progress=progress, answers_since=answers_since)
    return outcome


def _compute_locked(
    node: StageNode, store: Store, *, fresh: bool, progress: Callable[..., Any], answers_since: float
) -> Outcome | None:
    """Compute a stage whose lock is held; return None if another process has meanwhile taken it over."""
    if (reused := _reused(node, store, fresh=fresh)) is not None:
        return reused
    damage = None if fresh else store.put_aside(node)
    stage_begins()
    out, started = store.begin(node, anew=fresh), time.monotonic()
    try:
        with under_way(under_way_file(node, store)), separate_streams(), limited_threads(node.threads or 1):
            costs = _call(node, store, out, progress, ResponseCache(store.root / RESPONSES, answers_since))
        refuse_written_secrets(node, out)
        check_not_stopped()
        seconds = time.monotonic() - started
        facts = {
            "seconds": seconds,
            "peak_memory_mb": peak_memory_mb(),
            "costs": costs,
            "patients_sha256": training_patients(node, store.folder),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        return Outcome("computed", seconds=seconds, facts=store.commit(node, facts), damage=damage)
    except BaseException as error:
        if is_stop(error):
            raise
        if store.is_taken_over(node):
            store.discard(node)
            return None
        # Whatever else a stage raises fails its cells and is reported with its traceback.
        disk_full = as_disk_full(error, (out,)) if isinstance(error, Exception) else None
        if disk_full is None and isinstance(error, UserError | ContractError):
            store.discard(node)  # nothing of this attempt is useful
        return Outcome(
            "failed",
            seconds=time.monotonic() - started,
            reason=reason_of(error),
            details=traceback.format_exc(),
            error=plain_user_error(error) if disk_full is None else None,
            damage=damage,
            disk_full=disk_full,
        )


def _reused(node: StageNode, store: Store, *, fresh: bool) -> Outcome | None:
    """Take a stage from the store; None if it is not there, not whole, or to be computed anew."""
    return Outcome("reused", facts=store.manifest(node)) if not fresh and store.is_whole(node) else None


def _lost_input(node: StageNode, store: Store) -> UserError | None:
    """Find a stage to read that was whole when the run began and is damaged or gone now."""
    for stage in read_stages(node):
        if store.is_whole(stage):
            continue
        with store.lock(stage):  # another process may be computing it anew
            if not store.is_whole(stage):
                return UserError(
                    f"{named(stage)} was changed or removed while this run went on: "
                    + (enumerated(store.damage(stage)) or "it is not there"),
                    where=str(store.folder(stage)),
                    hint="run the same command again: it computes the stage again",
                )
    return None


def displayed(node: StageNode, width: int = 0) -> str:
    """Name a stage in a line of progress, its kind padded to a width."""
    return f"{node.kind:<{width}} {node.label}" + ("" if node.seed is None else f", seed {node.seed}")


def named(node: StageNode) -> str:
    """Name a stage in a message."""
    return f"stage {node.kind} '{node.label}'" + ("" if node.seed is None else f", seed {node.seed},")


def failed(seconds: float, reason: str, details: str, error: UserError | None) -> Outcome:
    """Build the outcome of a stage that failed."""
    return Outcome("failed", seconds=seconds, reason=reason, details=details, error=error)


def _call(
    node: StageNode, store: Store, out: Path, progress: Callable[..., Any], answers: ResponseCache
) -> dict[str, float]:
    """Call a stage's function, with its component and inputs, and check what it leaves. Return its costs."""
    module, _, name = node.function.partition(":")
    with answering_from(answers), answerable_stage(node), contained(), unchanged_inputs(node, store):
        function = getattr(importlib.import_module(module), name)
        component = params = None
        if node.component is not None:
            registry, use = load_registry(), node.component
            given = {**use.params, **use.locations}
            params = registry.params(use.kind, use.name, given)
            component = registry.create(use.kind, use.name, given)
        run = StageRun(
            params=json.loads(json.dumps({**node.params, **node.locations})),  # a stage can't change the plan
            inputs=resolve(node, store.folder),
            seed=node.seed or 0,
            out=out,
            component=component,
            component_params=params,
            progress=progress,
        )
        function(run)
        costs = checked_costs(run.costs)
        check_files(out, "save" if node.kind == "expert" else name)
    return {**answers.costs, **costs}


def peak_memory_mb() -> float:
    """Return the peak resident size of this process so far, in MB.

    It never falls, so a later stage may show the peak of an earlier one.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)
