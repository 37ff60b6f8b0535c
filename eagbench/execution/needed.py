"""Which stages of a plan are needed, given what the store holds of it and what is damaged there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eagbench.execution.store import Store
from eagbench.planning.plan import Plan

_READ_FOR_THE_RUN_FOLDER = frozenset(
    {"cohort", "split", "domain", "shared_concepts", "covariate_shift", "references", "predict", "score"}
    | {"subgroups", "recalibration"}
)


@dataclass(frozen=True, slots=True)
class Needed:
    """Stages that a run needs.

    Attributes:
        stages: Their fingerprints.
        damaged: What is damaged of them in the store, by fingerprint: they have to be computed again.
    """

    stages: frozenset[str]
    damaged: Mapping[str, tuple[str, ...]]


def all_stages(plan: Plan) -> Needed:
    """Need every stage, whatever the store holds."""
    return Needed(frozenset(node.fingerprint for node in plan.nodes), {})


def needed_stages(plan: Plan, store: Store) -> Needed:
    """Find the stages that the run folder is written from, and those that unfinished or damaged ones need.

    The inputs of a whole stage need not be in the store any more: prediction goes on from a trained policy when the
    experts, searches and salience behind it are gone. A damaged stage that no other needs is not looked at.
    """
    needed: set[str] = set()
    damaged: dict[str, tuple[str, ...]] = {}
    for node in reversed(plan.nodes):  # each after all that need it
        if node.kind in _READ_FOR_THE_RUN_FOLDER:
            needed.add(node.fingerprint)
        if node.fingerprint not in needed:
            continue
        problems = store.damage(node)
        if problems:
            damaged[node.fingerprint] = problems
        if problems or not store.is_complete(node):
            needed.update(upstream.fingerprint for upstream in node.upstream())
    return Needed(frozenset(needed), damaged)
