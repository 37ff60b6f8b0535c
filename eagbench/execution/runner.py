"""Carry out a plan: reuse what the store holds, compute the rest, and keep what succeeds when something fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from eagbench.contracts.executors import Executor
from eagbench.contracts.stages import StageLost, StageNode
from eagbench.contracts.traits import ExecutorTraits, traits_of
from eagbench.errors import UserError, is_stop
from eagbench.execution.computing import Compute, Outcome, displayed, failed, named
from eagbench.execution.executors.local import Local
from eagbench.execution.failures import (
    earlier_death,
    left_under_way_files,
    reason_of_loss,
)
from eagbench.execution.needed import all_stages, needed_stages
from eagbench.execution.process_identity import this_process
from eagbench.execution.progress import Reporter
from eagbench.execution.store import Store, enumerated
from eagbench.planning.plan import Cell, Plan
from eagbench.registry.blame import component_error, handed_out


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
    left = needed.stages & left_under_way_files(plan.nodes, store)
    for node in plan.nodes:
        if node.fingerprint in needed.damaged:
            problems = enumerated(needed.damaged[node.fingerprint])
            reporter.say(f"{named(node)} in the store is damaged: {problems}; it is put aside and computed again")
        if node.fingerprint in left and (death := earlier_death(node, store)):
            reporter.say(death)
    since = time.time() if fresh else 0.0
    compute = Compute(needed.stages, store, fresh, since, signs, this_process())
    try:
        chosen.execute(plan.nodes, compute, follower.done)
    except BaseException as error:
        found = None if is_stop(error) else component_error(error)
        if found is None:
            raise
        raise found from error
    return follower.result


class _Outcomes:
    """Gather outcomes, log and report them, and end the run when a stage that every cell needs fails."""

    def __init__(
        self, plan: Plan, store: Store, reporter: Reporter, settled: Callable[[StageNode, Outcome], None]
    ) -> None:
        self.result = RunResult()
        self._shared, self._total = plan.shared(), len(plan.nodes)
        self._store, self._reporter, self._settled = store, reporter, settled

    @handed_out
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
                return failed(0.0, reason, outcome.details, UserError(reason))
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
