"""Stages on this machine: in this process, or in several worker processes."""

from __future__ import annotations

import graphlib
import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from eagbench.contracts.stages import StageNode


def execute(
    nodes: Sequence[StageNode],
    compute: Callable[[StageNode], object],
    done: Callable[[StageNode, object], bool],
    workers: int,
) -> None:
    """Computes stages in an order that respects what each needs.

    Args:
        nodes: The stages.
        compute: Does one stage and returns its outcome; must be picklable for more than one worker.
        done: Told of each outcome, in this process. Returns whether stages that need this one may go on; if not, they
            are passed to `done` with the outcome None and are not computed.
        workers: Number of processes; 1 means this one.
    """
    by_fingerprint = {node.fingerprint: node for node in nodes}
    graph = {node.fingerprint: [up.fingerprint for up in node.upstream()] for node in nodes}
    blocked: set[str] = set()

    def settle(fingerprint: str, outcome: object) -> None:
        if not done(by_fingerprint[fingerprint], outcome):
            blocked.add(fingerprint)

    def is_blocked(fingerprint: str) -> bool:
        return any(up in blocked for up in graph[fingerprint])

    if workers == 1:
        for node in nodes:
            if is_blocked(node.fingerprint):
                settle(node.fingerprint, None)
            else:
                settle(node.fingerprint, compute(node))
        return

    sorter = graphlib.TopologicalSorter(graph)
    sorter.prepare()
    # Spawned, because a process that has started torch's or lightgbm's threads can't be forked safely.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        running: dict[Future[object], str] = {}
        while sorter.is_active():
            for fingerprint in sorter.get_ready():
                if is_blocked(fingerprint):
                    settle(fingerprint, None)
                    sorter.done(fingerprint)
                else:
                    running[pool.submit(compute, by_fingerprint[fingerprint])] = fingerprint
            if not running:
                continue
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                fingerprint = running.pop(future)
                settle(fingerprint, future.result())
                sorter.done(fingerprint)
