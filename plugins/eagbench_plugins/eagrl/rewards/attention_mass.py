"""`attention_mass`: does the policy attend to the same features as the expert?

    R     = w * R_cls + (1 - w) * R_mass,  w = 0.6
    R_mass = 1 - JSD(attention, salience)

R_cls is that of `eag`. R_mass compares the policy's own attention during its answer (not the features that it cites)
with the expert's salience. Both are restricted to the features that are observed in the case and that the expert reads,
and then normalised. JSD is the Jensen-Shannon distance with logarithms to base 2, from 0 to 1. With w = 0 the reward
measures alignment only and says nothing about the outcome. This reward is not in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from eagbench.api import Case, RewardTraits, StrictParams, Trajectory
from eagbench_plugins.eagrl.rewards.parts import classification_parts


class AttentionMassReward:
    """Rewards correct and confident answers, and attention that agrees with the expert's."""

    name: ClassVar[str] = "attention_mass"
    traits = RewardTraits(needs_salience=True, needs_attention=True)

    class Params(StrictParams):
        """Weights.

        Attributes:
            classification_weight: w, the weight of R_cls.
            beta: Weight of the margin within R_cls.
        """

        classification_weight: float = Field(default=0.6, ge=0, le=1)
        beta: float = Field(default=0.5, ge=0)

    def __init__(self, params: Params) -> None:
        self.params = params

    def __call__(
        self, case: Case, label: int, trajectory: Trajectory, salience: Mapping[str, float] | None
    ) -> Mapping[str, float]:
        """Return the parts `classification`, `attention` (0 to 1), `unparsed` (0 or -1), and their weighted `total`.

        Raises:
            ValueError: There is no salience, or a parsed answer comes without the policy's attention.
        """
        if salience is None:
            raise ValueError("the reward attention_mass compares with an expert and was given no salience")
        classification, unparsed = classification_parts(label, trajectory.probability, self.params.beta)
        attention = 0.0
        if trajectory.probability is not None:
            if trajectory.attention is None:
                raise ValueError(f"case {case.case_id}: the policy's attention was not measured")
            attention = likeness(case, trajectory.attention, salience)
        weight = self.params.classification_weight
        return {
            "classification": classification,
            "attention": attention,
            "unparsed": unparsed,
            "total": weight * classification + (1 - weight) * attention + unparsed,
        }


def likeness(case: Case, attention: Mapping[str, float], salience: Mapping[str, float]) -> float:
    """Compute 1 - Jensen-Shannon distance over the observed features that the expert reads.

    It is 0 if attention or salience has no weight on these features.
    """
    from scipy.spatial.distance import jensenshannon

    observed = [name for name in case.observed() if name in salience]
    looked = [attention.get(name, 0.0) for name in observed]
    taught = [salience[name] for name in observed]
    if sum(looked) <= 0 or sum(taught) <= 0:
        return 0.0
    return 1 - float(jensenshannon(looked, taught, base=2))
