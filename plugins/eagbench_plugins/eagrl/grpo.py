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
    groups without      stay                          stay                         other cases take their
    spread                                                                         place, 3 rounds at most
    ==================  ============================  ===========================  ==================

In all three the advantage is the reward minus the group's mean over its standard deviation.

Departures from DAPO:
1. Its dynamic sampling goes on until the batch is full of groups whose rewards differ; here it ends after three rounds,
   and groups that still have no spread stay, with advantages of 0 (see `dynamic_sampling`).
2. Its soft penalty for answers near the length limit is not added to the reward: truncated answers are left out.
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
    """Group relative policy optimisation from Stage I's policy."""

    name: ClassVar[str] = "grpo"

    class Params(TwoStages):
        """Both stages."""

        @model_validator(mode="before")
        @classmethod
        def _defaults(cls, given: Any) -> Any:
            return with_defaults(given, _GRPO)


class DAPO(TwoStageMethod):
    """Decoupled clip and dynamic sampling policy optimisation from Stage I's policy."""

    name: ClassVar[str] = "dapo"

    class Params(TwoStages):
        """Both stages."""

        @model_validator(mode="before")
        @classmethod
        def _defaults(cls, given: Any) -> Any:
            return with_defaults(given, _DAPO)
