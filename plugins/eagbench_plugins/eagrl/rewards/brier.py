"""`brier`: 1 - (p - y)^2, bounded and proper.

A group-normalised reward that is unbounded, as the logarithm in `eag`, is ruled by its extremes; and of the paper's
reward only the logarithm is proper, its margin is not (compare arXiv 2508.11800). This one is both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from eagbench.api import Case, StrictParams, Trajectory
from eagbench_plugins.eagrl.rewards.parts import UNPARSED


class BrierReward:
    """Calibrated answers; needs no expert."""

    name: ClassVar[str] = "brier"

    class Params(StrictParams):
        """It has none."""

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """The parts `classification` (0 to 1) and `unparsed` (0 or -1), and their sum `total`."""
        del case, salience
        parsed = trajectory.probability is not None
        classification = 1 - (trajectory.probability - label) ** 2 if trajectory.probability is not None else 0.0
        unparsed = 0.0 if parsed else UNPARSED
        return {"classification": classification, "unparsed": unparsed, "total": classification + unparsed}
