"""The tree of a search: partial answers, visits, running sums of returns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf, log, sqrt
from typing import Any, Literal

from eagbench_plugins.eagrl.searches.steps import BEGINNING, State, state_of

Backup = Literal["max", "mean"]


@dataclass(slots=True)
class Node:
    """A partial answer.

    Attributes:
        text: The answer so far.
        parent: Position of the parent; None for the root.
        edges: Edges from the root.
        tokens: Tokens the policy wrote for `text`.
        overlap: Cumulative overlap with the expert, 0 without one.
        local: Local reward of the edge that leads here.
        children: Positions, in the order of generation; empty until expanded.
        expanded: Whether its children were generated.
        exhausted: Whether nothing at or below it can be visited any more.
        visits: Number of finished simulations through it.
        in_flight: Number of unfinished simulations through it (virtual loss).
        total: Sum of the returns of the finished simulations.
        best: Largest of these returns.
        finished: Positions of the trajectories finished from this node, in the list of all finished trajectories.
    """

    text: str
    parent: int | None = None
    edges: int = 0
    tokens: int = 0
    overlap: float = 0.0
    local: float = 0.0
    children: list[int] = field(default_factory=list)
    expanded: bool = False
    exhausted: bool = False
    visits: int = 0
    in_flight: int = 0
    total: float = 0.0
    best: float = -inf
    finished: list[int] = field(default_factory=list)

    @property
    def state(self) -> State:
        """How its text can continue."""
        return state_of(self.text)


class Tree:
    """A tree with UCT selection.

    Args:
        exploration: w of UCT.
        backup: How a node's value is computed: the `max` or the `mean` of the returns seen below it.
    """

    def __init__(self, exploration: float, backup: Backup) -> None:
        self.nodes = [Node(BEGINNING)]
        self._exploration = exploration
        self._backup = backup
        self._lowest, self._highest = inf, -inf

    def add(self, node: Node) -> int:
        """Add a child to its parent unless the parent already has a child with this text; return its position."""
        assert node.parent is not None
        siblings = self.nodes[node.parent].children
        for position in siblings:
            if self.nodes[position].text == node.text:
                return position
        node.exhausted = node.state in ("finished", "cut")
        self.nodes.append(node)
        siblings.append(len(self.nodes) - 1)
        return len(self.nodes) - 1

    def select(self) -> int | None:
        """Select the next node: an unvisited one to simulate from, or a visited one without children to expand.

        Every node on the path is marked as in flight until `release`. At each level, unvisited children come first, by
        descending local reward. Otherwise the child with the largest q + w sqrt(ln N(parent) / N(child)) is chosen.
        q is the child's value, scaled to [0, 1] by the smallest and largest return of this tree, times the share of
        N(child) that is not in flight.

        Returns:
            Its position; None if nothing can be selected until a simulation in flight finishes.
        """
        if not self._selectable(0):
            return None
        position = 0
        while self.nodes[position].expanded:
            children = [c for c in self.nodes[position].children if self._selectable(c)]
            fresh = [c for c in children if self._n(c) == 0]
            if fresh:
                position = max(fresh, key=lambda c: (self.nodes[c].local, -c))
                break
            parent_n = self._n(position)
            position = max(children, key=lambda c, n=parent_n: (self._uct(c, n), -c))  # type: ignore[misc]
        for above in self.path(position):
            self.nodes[above].in_flight += 1
        return position

    def path(self, position: int) -> Iterator[int]:
        """Iterate over the positions from a node up to the root."""
        above: int | None = position
        while above is not None:
            yield above
            above = self.nodes[above].parent

    def release(self, position: int) -> None:
        """Remove the in-flight marks of `select`."""
        for above in self.path(position):
            self.nodes[above].in_flight -= 1

    def back_up(self, position: int, value: float) -> None:
        """Add a return to a node and all its ancestors."""
        self._lowest, self._highest = min(self._lowest, value), max(self._highest, value)
        for above in self.path(position):
            node = self.nodes[above]
            node.visits += 1
            node.total += value
            node.best = max(node.best, value)

    def mark_exhausted(self, position: int) -> None:
        """Mark, from a node upwards, the nodes below which nothing is left to visit."""
        for above in self.path(position):
            node = self.nodes[above]
            if node.expanded and all(self.nodes[child].exhausted for child in node.children):
                node.exhausted = True
            if not node.exhausted:
                break

    def scaled(self, value: float) -> float:
        """Scale a return to [0, 1] by the smallest and largest return of this tree; 0 while they are equal."""
        spread = self._highest - self._lowest
        return (value - self._lowest) / spread if spread > 0 else 0.0

    def _n(self, position: int) -> int:
        return self.nodes[position].visits + self.nodes[position].in_flight

    def _uct(self, position: int, parent_n: int) -> float:
        node = self.nodes[position]
        n = self._n(position)
        value = 0.0
        if node.visits:
            value = self.scaled(node.best if self._backup == "max" else node.total / node.visits)
        return value * node.visits / n + self._exploration * sqrt(log(parent_n) / n)

    def _selectable(self, position: int) -> bool:
        node = self.nodes[position]
        if node.exhausted:
            return False
        if node.expanded:
            return any(self._selectable(child) for child in node.children)
        return node.in_flight == 0

    def to_json(self) -> list[dict[str, Any]]:
        """Convert every node, with its step, to JSON."""
        return [
            {
                "parent": node.parent,
                "text": node.text if node.parent is None else node.text[self._shared(node) :],
                "state": node.state,
                "visits": node.visits,
                "mean": node.total / node.visits if node.visits else None,
                "best": node.best if node.visits else None,
                "local": node.local,
                "overlap": node.overlap,
                "finished": list(node.finished),
            }
            for node in self.nodes
        ]

    def _shared(self, node: Node) -> int:
        assert node.parent is not None
        return len(self.nodes[node.parent].text)
