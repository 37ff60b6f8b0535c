"""The reward `grounded_citations`: close to the label, and no citation of what was not measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from eagbench.api import Case, Register, StrictParams, Trajectory, hookimpl

_UNREAD = -2.0  # less than any answer that can be read: those get -1 at least


class GroundedCitations:
    """1 minus the squared error, minus a price for the share of the cited features without a value in the record.

    A name that no feature has counts as one without a value. An answer that cites nothing pays nothing.
    """

    name: ClassVar[str] = "grounded_citations"

    class Params(StrictParams):
        """Parameters.

        Attributes:
            price: Price of an answer all of whose citations are ungrounded.
        """

        price: float = Field(default=0.5, ge=0, le=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Judge a trajectory by `close`, `ungrounded` and their `total`."""
        close = _UNREAD if trajectory.probability is None else 1 - (trajectory.probability - label) ** 2
        cited, measured = trajectory.cited_features or (), set(case.observed())
        n_ungrounded = trajectory.hallucinated_features + sum(name not in measured for name in cited)
        n_cited = trajectory.hallucinated_features + len(cited)
        ungrounded = n_ungrounded / n_cited if n_cited else 0.0
        return {"close": close, "ungrounded": ungrounded, "total": close - self.params.price * ungrounded}


@hookimpl
def register_rewards(register: Register) -> None:
    """Register the reward."""
    register(GroundedCitations)
