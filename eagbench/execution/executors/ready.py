"""Which stages of a plan can begin: those whose needed ones are done, the longest way to the end first."""

from __future__ import annotations

import graphlib
import heapq
from collections.abc import Callable, Mapping, Sequence

from eagbench.contracts.stages import StageNode


class ReadyStages:
    """Hands out stages that may begin, and takes their outcomes.

    Args:
        nodes: The stages, each after those that it needs.
        ways: How long the way from each to the end is, by fingerprint (`order.longest_way`).
        done: Told of each outcome; returns whether the stages that need this one may go on.
    """

    def __init__(
        self, nodes: Sequence[StageNode], ways: Mapping[str, float], done: Callable[[StageNode, object], bool]
    ) -> None:
        self._position = {node.fingerprint: i for i, node in enumerate(nodes)}
        needs = {node.fingerprint: [up.fingerprint for up in node.upstream()] for node in nodes}
        self._sorter = graphlib.TopologicalSorter(needs)
        self._sorter.prepare()
        self._ways, self._done = ways, done
        self._waiting: list[tuple[float, int]] = []
        self._nodes = list(nodes)
        self._blocked: set[str] = set()

    @property
    def are_left(self) -> bool:
        """Whether some stages are not settled."""
        return self._sorter.is_active()

    def next(self) -> StageNode | None:
        """Return a stage to begin now; None if all that are left wait for others.

        A stage that needs one without success is settled here, with the outcome None.
        """
        while True:
            for fingerprint in self._sorter.get_ready():
                heapq.heappush(self._waiting, (-self._ways[fingerprint], self._position[fingerprint]))
            if not self._waiting:
                return None
            node = self._nodes[heapq.heappop(self._waiting)[1]]
            if not any(up.fingerprint in self._blocked for up in node.upstream()):
                return node
            self.settle(node, None)

    def settle(self, node: StageNode, outcome: object) -> None:
        """Report an outcome, None for a stage that was not computed."""
        if not self._done(node, outcome):
            self._blocked.add(node.fingerprint)
        self._sorter.done(node.fingerprint)
