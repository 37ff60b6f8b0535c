"""`grpo` and `dapo`: Stage I of EAG-RL followed by a policy optimisation without its adaptive clipping.

They differ from each other, and from `eag_rl`, in what is listed here and in nothing else:

    ==================  ============================  ===========================  ==================
                        eag_rl (paper)                grpo (arXiv 2402.03300)      dapo (2503.14476)
    ==================  ============================  ===========================  ==================
    upper clip bound    0.2 to 0.4 by the entropy     0.2                          0.28
    mean of the loss    per trajectory, then over     per trajectory, then over    over all tokens
                        trajectories                  trajectories
    KL penalty          beta                          beta                         none
    truncated answers   count                         count                        are left out
    ==================  ============================  ===========================  ==================

In all three the advantage is the reward minus the group's mean over its standard deviation.

Departure from DAPO: groups whose rewards do not differ are not sampled again. Rewards of probabilities take many
values, so such groups hardly occur; their share is `groups_without_spread` in curves.jsonl.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from eagbench.api import STYLES, Cases, Prediction, Reads, StageNode, StageRun, answer_with_policy
from eagbench_plugins.eagrl.two_stages import TwoStages, declare, with_defaults

if TYPE_CHECKING:
    from eagbench.api import MethodPlan

_GRPO: Mapping[str, Any] = {
    "policy_optimisation": {"adaptive_clipping": False, "epsilon_high": 0.2, "loss": "grpo", "drop_truncated": False}
}
_DAPO: Mapping[str, Any] = {
    "policy_optimisation": {
        "adaptive_clipping": False,
        "epsilon_high": 0.28,
        "loss": "dapo",
        "drop_truncated": True,
        "beta": 0.0,
    }
}


class GRPO:
    """Group relative policy optimisation from Stage I's policy."""

    name: ClassVar[str] = "grpo"
    reads: ClassVar[Reads] = "text"

    class Params(TwoStages):
        """Both stages."""

        @model_validator(mode="before")
        @classmethod
        def _defaults(cls, given: Any) -> Any:
            return with_defaults(given, _GRPO)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The trained policy and the record text, with all that leads to them."""
        return declare(self.params, plan, self.name)

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """The trained policy's answers, read in the benchmark's answer mode."""
        return answer_with_policy(cases, run, STYLES[self.params.style], self.params.max_new_tokens)


class DAPO:
    """Decoupled clip policy optimisation from Stage I's policy."""

    name: ClassVar[str] = "dapo"
    reads: ClassVar[Reads] = "text"

    class Params(TwoStages):
        """Both stages."""

        @model_validator(mode="before")
        @classmethod
        def _defaults(cls, given: Any) -> Any:
            return with_defaults(given, _DAPO)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The trained policy and the record text, with all that leads to them."""
        return declare(self.params, plan, self.name)

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """The trained policy's answers, read in the benchmark's answer mode."""
        return answer_with_policy(cases, run, STYLES[self.params.style], self.params.max_new_tokens)
