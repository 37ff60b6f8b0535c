"""Computes single stages of a plan for commands that show what they hold."""

from __future__ import annotations

import sys

from eagbench.contracts.stages import StageNode, closure, no_progress
from eagbench.errors import UserError
from eagbench.execution.computing import compute_stage
from eagbench.execution.store import Store
from eagbench.planning.plan import Plan


def compute(plan: Plan, store: Store, stages: list[StageNode]) -> None:
    """Compute stages and what they need, unless they are in the store.

    Raises:
        UserError: One failed.
    """
    wanted = {node.fingerprint for node in closure(stages)}
    for node in plan.nodes:  # each after those that it needs
        if node.fingerprint not in wanted or store.is_complete(node):
            continue
        print(f"{node.kind} {node.label} ...", file=sys.stderr)
        outcome = compute_stage(node, store, fresh=False, progress=no_progress)
        if not outcome.is_finished:
            raise outcome.error or UserError(f"the stage {node.kind} {node.label} failed: {outcome.reason}")
