"""`eag_rl`: reasoning with expert attention guidance (EAG-RL; Fang et al., arXiv 2508.13579).

Stage I is `trajectory_distillation`: a search guided by a cross-fitted expert, then supervised fine-tuning. Stage II
samples groups of trajectories from that policy. It optimises the policy with the same reward and with entropy-aware
adaptive up-clipping (`adaptive_clipping`). Prediction uses no expert: the policy answers as in the method `prompt`.

Presets:
    `paper`: the paper's reward in both stages, advantages standardised within a group.
    `released_code`: the reward's weights in the released code.
    `calibrated`: Stage I as in `paper`; in Stage II the proper and bounded reward 1 - (p - y)^2, without standardising
        the advantages. Dividing by a group's standard deviation makes a policy overconfident on stochastic outcomes
        (arXiv 2508.11800).

Ablations: `stage_one: false`; `policy_optimisation: null`; `reward: classification` with `search: mcts`;
`policy_optimisation: {adaptive_clipping: false}`.

For the numbered departures from the paper, see `trajectory_distillation`, `rewards/eag` and `adaptive_clipping`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from eagbench_plugins.eagrl.two_stages import TwoStageMethod, TwoStages, with_defaults

_PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {},
    "released_code": {"reward": {"name": "eag", "preset": "released_code"}},
    "calibrated": {"policy_optimisation": {"reward": "brier", "standardise_advantages": False}},
}


class EAGRL(TwoStageMethod):
    """Trajectory distillation, then attention-aligned policy optimisation."""

    name: ClassVar[str] = "eag_rl"

    class Params(TwoStages):
        """Parameters of both stages.

        Attributes:
            preset: `paper`, `released_code` or `calibrated`; parameters given explicitly override it.
        """

        preset: Literal["paper", "released_code", "calibrated"] = "paper"

        @model_validator(mode="before")
        @classmethod
        def _preset(cls, given: Any) -> Any:
            # An unknown preset is refused by the field's own type.
            name = str(given.get("preset", "paper")) if isinstance(given, Mapping) else ""
            return with_defaults(given, _PRESETS.get(name, {}))
