"""`classification`: R_cls of EAG-RL (arXiv 2508.13579) alone; see `eag` for the formula and its departures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from eagbench.api import Case, StrictParams, Trajectory
from eagbench_plugins.eagrl.rewards.parts import classification_parts


class ClassificationReward:
    """Rewards correct and confident answers; needs no expert."""

    name: ClassVar[str] = "classification"

    class Params(StrictParams):
        """Weights.

        Attributes:
            beta: Weight of the margin on the right side of 0.5.
        """

        beta: float = Field(default=0.5, ge=0)

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return the parts `classification` and `unparsed` (0 or -1), and their sum `total`."""
        del case, salience
        classification, unparsed = classification_parts(label, trajectory.probability, self.params.beta)
        return {"classification": classification, "unparsed": unparsed, "total": classification + unparsed}
