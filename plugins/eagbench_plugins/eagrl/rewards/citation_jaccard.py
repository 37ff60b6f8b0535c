"""`citation_jaccard`: R_att of EAG-RL (arXiv 2508.13579) alone: does the answer cite what the expert attends to?

Plain overlap favours a list of the right length over a correct answer and says nothing about the outcome. Use it to
study alignment by itself. K = 5 among the observed features, as in `eag`. With `beyond_controls` (not in the paper)
only what exceeds lists that were not made for the patient counts (`rewards.controls`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from eagbench.api import Case, Cases, RewardTraits, StrictParams, Trajectory
from eagbench_plugins.eagrl.rewards.controls import CitationControls
from eagbench_plugins.eagrl.rewards.parts import UNPARSED, expert_features, jaccard


class CitationJaccardReward:
    """Rewards overlap of the cited features with the expert's top features."""

    name: ClassVar[str] = "citation_jaccard"
    traits = RewardTraits(needs_salience=True, former_names=("attention_jaccard",))

    class Params(StrictParams):
        """Size of the expert's list.

        Attributes:
            k: Number of expert features.
            beyond_controls: Reward only the overlap beyond that of lists that were not made for the patient.
        """

        k: int = Field(default=5, ge=1)
        beyond_controls: bool = False

    def __init__(self, params: Params) -> None:
        self.params = params
        self._controls = CitationControls(params.k) if params.beyond_controls else None

    def fit(self, cases: Cases, salience: Mapping[str, Mapping[str, float]], risk: Mapping[str, float]) -> None:
        """Compute the controls of training cases, if the reward is to go beyond them."""
        if self._controls is not None:
            self._controls.fit(cases, salience, risk)

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return the parts `attention` (0 to 1) and `unparsed` (0 or -1), and their sum `total`.

        Raises:
            ValueError: There is no salience.
        """
        del label
        if salience is None:
            raise ValueError("the reward citation_jaccard compares with an expert and was given no salience")
        parsed = trajectory.probability is not None
        cited = trajectory.cited_features or ()
        attention = jaccard(cited, expert_features(case, salience, self.params.k)) if parsed else 0.0
        if self._controls is not None:
            attention = self._controls.beyond(case, attention)
        unparsed = 0.0 if parsed else UNPARSED
        return {"attention": attention, "unparsed": unparsed, "total": attention + unparsed}
