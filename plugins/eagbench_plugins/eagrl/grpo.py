"""`grpo` and `dapo`: Stage I of EAG-RL followed by policy optimisation without its adaptive clipping.

They differ from each other and from `eag_rl` only in the following:

    ==================  ============================  ===========================  ==================
                        eag_rl (paper)                grpo (arXiv 2402.03300)      dapo (2503.14476)
    ==================  ============================  ===========================  ==================
    upper clip bound    0.2 to 0.4 by the entropy     0.2                          0.28
    mean of the loss    per trajectory, then over     per trajectory, then over    over all tokens
                        trajectories                  trajectories
    KL penalty          beta                          beta                         none
    truncated answers   kept                          kept                         left out
    groups without      kept                          kept                         replaced by other
    spread                                                                         cases, up to 3 rounds
    ==================  ============================  ===========================  ==================

In all three, the advantage is the reward minus the group's mean, divided by the group's standard deviation.

Departures from DAPO:
1. DAPO samples until the batch is full of groups whose rewards differ. Here sampling ends after three rounds, and
   groups that still have no spread stay, with advantages of 0 (see `dynamic_sampling`).
2. DAPO's soft penalty for answers near the length limit is not added to the reward; truncated answers are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import model_validator

from eagbench_plugins.eagrl.two_stages import TwoStageMethod, TwoStages, with_defaults

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
        "resample_rounds": 3,
    }
}


class GRPO(TwoStageMethod):
    """Group relative policy optimisation, starting from the Stage I policy."""

    name: ClassVar[str] = "grpo"

    class Params(TwoStages):
        """Parameters of both stages."""

        @model_validator(mode="before")
        @classmethod
        def _defaults(cls, given: Any) -> Any:
            return with_defaults(given, _GRPO)


class DAPO(TwoStageMethod):
    """Decoupled clip and dynamic sampling policy optimisation, starting from the Stage I policy."""

    name: ClassVar[str] = "dapo"

    class Params(TwoStages):
        """Parameters of both stages."""

        @model_validator(mode="before")
        @classmethod
        def _defaults(cls, given: Any) -> Any:
            return with_defaults(given, _DAPO)
