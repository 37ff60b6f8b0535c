"""`eag`: the trajectory reward of EAG-RL (Fang et al., arXiv 2508.13579).

    R       = w_cls * R_cls + w_att * R_att
    R_cls   = log(y p + (1 - y)(1 - p)) + beta * margin,  margin = |p - 0.5| on the label's side of 0.5, else 0
    R_att   = |F_policy & F_expert| / |F_policy | F_expert|  (both empty: 0)

Preset `paper`: w_cls = lambda, w_att = 1 - lambda, lambda = 0.6. Preset `released_code`: w_cls = 1, w_att = 0.1, and
weight 0.5 on the bonus for the correct side of 0.5, which equals the default beta.

Our choices where the sources give no detail:
1. beta = 0.5 and K = 5 expert features, taken from the features observed in the case.
2. p is clipped to [0.01, 0.99], because the logarithm is unbounded.
3. An unparsed answer gets the worst R_cls (log 0.01) and R_att = 0 whatever it cites, and loses another 1.

Not in the paper: with `beyond_controls`, R_att counts only what exceeds lists that were not made for the patient
(`rewards.controls`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from eagbench.api import Case, Cases, RewardTraits, StrictParams, Trajectory
from eagbench_plugins.eagrl.rewards.controls import CitationControls
from eagbench_plugins.eagrl.rewards.parts import classification_parts, expert_features, jaccard


class EAGReward:
    """Rewards correct and confident answers, and citations that agree with the expert."""

    name: ClassVar[str] = "eag"
    traits = RewardTraits(needs_salience=True)

    class Params(StrictParams):
        """Weights.

        Attributes:
            preset: `paper` or `released_code`.
            weight: lambda of the preset `paper`, 0.6 by default.
            beta: Weight of the margin within R_cls.
            k: Number of expert features.
            beyond_controls: Let R_att be the overlap beyond that of lists that were not made for the patient.
        """

        preset: Literal["paper", "released_code"] = "paper"
        weight: float | None = Field(default=None, ge=0, le=1)
        beta: float = Field(default=0.5, ge=0)
        k: int = Field(default=5, ge=1)
        beyond_controls: bool = False

        @model_validator(mode="after")
        def _weight_is_the_papers(self) -> EAGReward.Params:
            if self.weight is not None and self.preset != "paper":
                raise ValueError("weight belongs to the preset 'paper'; the weights of 'released_code' are 1 and 0.1")
            return self

    def __init__(self, params: Params) -> None:
        self.params = params
        self._controls = CitationControls(params.k) if params.beyond_controls else None
        if params.preset == "paper":
            share = 0.6 if params.weight is None else params.weight
            self._weights = (share, 1 - share)
        else:
            self._weights = (1.0, 0.1)

    def fit(self, cases: Cases, salience: Mapping[str, Mapping[str, float]], risk: Mapping[str, float]) -> None:
        """Compute the controls of training cases, if R_att is to go beyond them."""
        if self._controls is not None:
            self._controls.fit(cases, salience, risk)

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return the parts `classification`, `attention`, `unparsed` (0 or -1), and their weighted `total`.

        Raises:
            ValueError: There is no salience.
        """
        if salience is None:
            raise ValueError("the reward eag compares with an expert and was given no salience")
        classification, unparsed = classification_parts(label, trajectory.probability, self.params.beta)
        attention = 0.0
        if trajectory.probability is not None:
            attention = jaccard(trajectory.cited_features or (), expert_features(case, salience, self.params.k))
            if self._controls is not None:
                attention = self._controls.beyond(case, attention)
        for_class, for_attention = self._weights
        return {
            "classification": classification,
            "attention": attention,
            "unparsed": unparsed,
            "total": for_class * classification + for_attention * attention + unparsed,
        }
