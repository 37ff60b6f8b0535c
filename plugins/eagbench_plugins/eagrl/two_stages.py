"""Trajectory distillation followed by policy optimisation: the code that `eag_rl`, `grpo` and `dapo` share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import model_validator

from eagbench.api import (
    Cases,
    MethodPlan,
    MethodTraits,
    Prediction,
    RewardTraits,
    StageNode,
    StageRun,
    UserError,
    answer_with_policy,
    create_component,
    style_of,
    traits_of,
)
from eagbench_plugins.eagrl.answer_targets import ComponentSpec
from eagbench_plugins.eagrl.data_parallel import devices_of, refuse_uneven
from eagbench_plugins.eagrl.optimisation import Optimisation
from eagbench_plugins.eagrl.policy_optimisation import optimise_policy
from eagbench_plugins.eagrl.trajectory_distillation import TrajectoryDistillation


class PolicyOptimisation(Optimisation):
    """Parameters of Stage II.

    Attributes:
        reward: The reward of Stage II; None uses the method's `reward`, as in Stage I.
    """

    reward: ComponentSpec | None = None


class TwoStages(TrajectoryDistillation.Params):
    """Parameters of both stages, including those of Stage I.

    Attributes:
        expert: The expert whose salience guides search and rewards; None if none of them needs one.
        search: The search of Stage I.
        stage_one: Whether Stage II starts from the Stage I policy (true) or from the base policy (false).
        policy_optimisation: Stage II; None skips it.
    """

    expert: ComponentSpec | None = "concare"
    search: ComponentSpec = "expert_mcts"
    stage_one: bool = True
    policy_optimisation: PolicyOptimisation | None = PolicyOptimisation()

    @model_validator(mode="after")
    def _something_is_trained(self) -> TwoStages:
        if not self.stage_one and self.policy_optimisation is None:
            raise ValueError(
                "without Stage I and Stage II nothing is trained; the method `prompt` asks the base policy"
            )
        return self


class TwoStageMethod:
    """Base of the two-stage methods, which differ only in the defaults of their parameters.

    Args:
        params: Parameters of both stages.
    """

    name: ClassVar[str]
    traits = MethodTraits(reads="text")

    def __init__(self, params: TwoStages) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the trained policy and the record text, with all stages before them."""
        return declare(self.params, plan, self.name)

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Answer with the trained policy, in the benchmark's answer mode."""
        return answer_with_policy(cases, run, style_of(self.params.style), self.params.max_new_tokens)


def with_defaults(given: Any, defaults: Mapping[str, Any]) -> Any:
    """Fill in defaults for parameters that are not given, also within `policy_optimisation`."""
    if not isinstance(given, Mapping):
        return given
    merged = {**defaults, **given}
    inner, inner_given = defaults.get("policy_optimisation", {}), given.get("policy_optimisation", {})
    if isinstance(inner_given, Mapping) and (inner or inner_given):
        merged["policy_optimisation"] = {**inner, **inner_given}
    return merged


def declare(params: TwoStages, plan: MethodPlan, method: str) -> Mapping[str, StageNode]:
    """Declare the stages; prediction uses only the trained policy and the record text.

    Args:
        params: The parameters.
        plan: The plan for one fold and seed.
        method: Name of the method, for error messages.

    Raises:
        UserError: A search or reward needs an expert or a style that the benchmark does not specify.
    """
    if params.stage_one:
        prepared = dict(TrajectoryDistillation(params).stages(plan))
    else:
        prepared = {"policy": plan.policy(), "record_text": plan.record_text()}
    if params.policy_optimisation is None:
        return prepared
    _refuse_undividable(plan.policy(), params.policy_optimisation, method)
    spec = params.policy_optimisation.reward
    in_stage_two = spec is not None
    reward = plan.component(
        "reward", params.reward if spec is None else spec, "policy_optimisation" if in_stage_two else "reward"
    )
    inputs: dict[str, Any] = {"training": plan.training, **prepared}
    if traits_of(create_component(reward.identity()), RewardTraits).needs_salience:
        if params.expert is None:
            raise UserError(
                f"the reward '{reward.name}' compares with an expert, and the method has none",
                where=f"method {method}, policy_optimisation",
                hint="give the method `expert: lightgbm` (or another one), or choose a reward that needs none",
            )
        inputs["salience"] = plan.cross_fitted_salience(plan.component("expert", params.expert, "expert"))
    optimised = plan.stage(
        kind="policy_optimisation",
        label=f"{method}, {reward.name}",
        function=optimise_policy,
        params={
            "reward": reward.identity(),
            "style": params.style,
            "max_new_tokens": params.max_new_tokens,
            "max_training_cases": params.max_training_cases,
            "optimisation": params.policy_optimisation.model_dump(mode="json", exclude={"reward"}),
        },
        inputs=inputs,
    )
    return {**prepared, "policy": optimised}


def _refuse_undividable(policy: StageNode, params: Optimisation, method: str) -> None:
    where = f"method {method}, policy_optimisation"
    parts = params.mini_batches * (params.accumulate or 1)
    refuse_uneven(policy, where, cases=params.cases, trajectories_at_once=params.cases * params.group_size // parts)
    if params.resample_rounds and devices_of(policy) > 1:
        raise UserError(
            "groups without spread can only be replaced on one device",
            where=f"{where}, resample_rounds",
            hint="write `resample_rounds: 0`, or `devices: 1` for the policy",
        )
    if params.rollouts is not None and devices_of(policy) > 1:
        raise UserError(
            "with trajectories from a vLLM server training runs on one device",
            where=f"{where}, rollouts",
            hint="write `devices: 1` for the policy; the server may use other GPUs",
        )
