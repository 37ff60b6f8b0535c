"""Carry out a plan: reuse what the store holds, compute the rest, and keep what succeeds when something fails."""

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

from eagbench.contracts.executors import Executor
from eagbench.contracts.rules import ContractError, check_files
from eagbench.contracts.stages import StageLost, StageNode, StageRun
from eagbench.contracts.traits import ExecutorTraits, traits_of
from eagbench.errors import UserError, is_stop
from eagbench.execution.executors.local import Local
from eagbench.execution.executors.worker import stage_begins
from eagbench.execution.failures import (
    answerable_stage,
    earlier_death,
    plain_user_error,
    reason_of,
    reason_of_loss,
    under_way_file,
)
from eagbench.execution.full_disk import DiskFullError, as_disk_full
from eagbench.execution.needed import all_stages, needed_stages
from eagbench.execution.process_identity import this_process
from eagbench.execution.processes import check_not_stopped, end_with_parent
from eagbench.execution.progress import Reporter
from eagbench.execution.resolve import read_stages, resolve, training_patients
from eagbench.execution.same_code import check_same_code
from eagbench.execution.signs_of_life import Signs
from eagbench.execution.stage_conduct import checked_costs, unchanged_inputs
from eagbench.execution.store import Store, enumerated
from eagbench.execution.threads import limited_threads
from eagbench.execution.under_way import under_way
from eagbench.execution.written_secrets import refuse_written_secrets
from eagbench.planning.plan import Cell, Plan
from eagbench.prompting.answer_cache import FOLDER as RESPONSES
from eagbench.prompting.answer_cache import ResponseCache, answering_from
from eagbench.registry.blame import component_error
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


class SharedStageError(Exception):
    """A stage that every cell needs failed because of a bug, not a mistake of the user. Carries its traceback."""


@dataclass(slots=True)
class RunResult:
    """Outcomes by fingerprint, and the lines of the log."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)

    def outcome(self, node: StageNode) -> Outcome:
        """Return how a stage ended."""
        return self.outcomes[node.fingerprint]

    def cell_status(self, cell: Cell) -> str:
        """Return `ok`, `failed`, or `not_applicable` where a cell's condition does not apply to its method."""
        if cell.score is None:
            return "not_applicable"
        return "ok" if self.outcome(cell.score).is_finished else "failed"


def unheard(node: StageNode, outcome: Outcome) -> None:
    """Ignore an outcome: nobody follows the run."""
    del node, outcome


def run_plan(
    plan: Plan,
    store: Store,
    reporter: Reporter,
    *,
    fresh: bool = False,
    executor: Executor | None = None,
    settled: Callable[[StageNode, Outcome], None] = unheard,
) -> RunResult:
    """Compute every stage of a plan that is needed and that the store does not hold.

    A failed stage fails the cells that need it; the others go on.

    Args:
        plan: The plan.
        store: Holds its stages.
        reporter: Reports progress.
        fresh: Compute every stage anew.
        executor: Computes the stages; None for this process.
        settled: Called in this process with every stage that is done.

    Raises:
        UserError: The data can't be loaded or divided, and the user can fix it.
        SharedStageError: The same, but because of a bug.
        ComponentError: The executor failed.
        DiskFullError: Nothing more can be written.
    """
    follower = _Outcomes(plan, store, reporter, settled)
    chosen = executor or Local(Local.Params())
    signs = reporter.signs(one_by_one=traits_of(chosen, ExecutorTraits).draws_progress)
    needed = all_stages(plan) if fresh else needed_stages(plan, store)
    for node in plan.nodes:
        if node.fingerprint in needed.damaged:
            problems = enumerated(needed.damaged[node.fingerprint])
            reporter.say(f"{_named(node)} in the store is damaged: {problems}; it is put aside and computed again")
        if node.fingerprint in needed.stages and (death := earlier_death(node, store)):
            reporter.say(death)
    since = time.time() if fresh else 0.0
    compute = _Compute(needed.stages, store, fresh, since, signs, this_process())
    try:
        chosen.execute(plan.nodes, compute, follower.done)
    except BaseException as error:
        if is_stop(error) or _passed_through(error):
            raise
        raise component_error(error) or error from error
    return follower.result


def _passed_through(error: BaseException) -> bool:
    """Say whether an executor only passed on what was raised by who computes the stages, or is told of them."""
    ours = {_Compute.__call__.__code__, _Outcomes.done.__code__}
    return any(frame.f_code in ours for frame, _ in traceback.walk_tb(error.__traceback__))


class _Outcomes:
    """Gather outcomes, log and report them, and end the run when a stage that every cell needs fails."""

    def __init__(
        self, plan: Plan, store: Store, reporter: Reporter, settled: Callable[[StageNode, Outcome], None]
    ) -> None:
        self.result = RunResult()
        self._shared, self._total = plan.shared(), len(plan.nodes)
        self._store, self._reporter, self._settled = store, reporter, settled

    def done(self, node: StageNode, outcome: object) -> bool:
        """Record an outcome, and return whether the stages that need this one may go on.

        Raises:
            UserError: A stage that every cell needs failed, and the user can fix it.
            SharedStageError: The same, but because of a bug.
            DiskFullError: Nothing more can be written, so the other cells would fail too.
        """
        final = self._final(node, outcome)
        self.result.outcomes[node.fingerprint] = final
        self.result.log.append(_log_entry(node, final))
        if final.disk_full is not None:
            raise final.disk_full
        self._settled(node, final)
        if final.status == "failed" and node.fingerprint in self._shared:
            if final.error is not None:
                raise final.error
            raise SharedStageError(f"stage {node.kind} '{node.label}' failed: {final.reason}\n\n{final.details}")
        if final.status not in {"reused", "not_needed"}:
            reason = f": {final.reason}" if final.reason else ""
            self._reporter.say(
                f"[{len(self.result.outcomes)}/{self._total}] {displayed(node, 19)}  "
                f"{final.status}{reason}  {final.seconds:.1f} s"
            )
        return final.status in {"computed", "reused", "not_needed"}

    def _final(self, node: StageNode, outcome: object) -> Outcome:
        match outcome:
            case Outcome():
                return outcome
            case StageLost():
                reason = reason_of_loss(node, outcome, self._store)
                # Where every cell needs it, its user can give it more time or memory.
                return _failed(0.0, reason, outcome.details, UserError(reason))
        return Outcome("skipped", reason="a stage before it failed")


def _log_entry(node: StageNode, outcome: Outcome) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "stage": node.fingerprint,
        "kind": node.kind,
        "label": node.label,
        "seed": node.seed,
        "status": outcome.status,
        "seconds": round(outcome.seconds, 3),
        **({"reason": outcome.reason} if outcome.reason else {}),
        **({"damage": outcome.damage} if outcome.damage else {}),
        **({"traceback": outcome.details} if outcome.details else {}),
    }


@dataclass(frozen=True, slots=True)
class _Compute:
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
        return _failed(0.0, problem.message, "", problem)
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
                    f"{_named(stage)} was changed or removed while this run went on: "
                    + (enumerated(store.damage(stage)) or "it is not there"),
                    where=str(store.folder(stage)),
                    hint="run the same command again: it computes the stage again",
                )
    return None


def displayed(node: StageNode, width: int = 0) -> str:
    """Name a stage in a line of progress, its kind padded to a width."""
    return f"{node.kind:<{width}} {node.label}" + ("" if node.seed is None else f", seed {node.seed}")


def _named(node: StageNode) -> str:
    """Name a stage in a message."""
    return f"stage {node.kind} '{node.label}'" + ("" if node.seed is None else f", seed {node.seed},")


def _failed(seconds: float, reason: str, details: str, error: UserError | None) -> Outcome:
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
