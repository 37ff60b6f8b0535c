"""`brier`: 1 - (p - y)^2, bounded and proper.

Extreme values dominate an unbounded reward, such as the logarithm in `eag`, once it is normalised within a group. Also,
the logarithm in the paper's reward is a proper score, but the margin is not (compare arXiv 2508.11800). This reward is
bounded and proper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from eagbench.api import Case, StrictParams, Trajectory
from eagbench_plugins.eagrl.rewards.parts import UNPARSED


class BrierReward:
    """Rewards calibrated answers; needs no expert."""

    name: ClassVar[str] = "brier"

    class Params(StrictParams):
        """No parameters."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return the parts `classification` (0 to 1) and `unparsed` (0 or -1), and their sum `total`."""
        del case, salience
        parsed = trajectory.probability is not None
        classification = 1 - (trajectory.probability - label) ** 2 if trajectory.probability is not None else 0.0
        unparsed = 0.0 if parsed else UNPARSED
        return {"classification": classification, "unparsed": unparsed, "total": classification + unparsed}
