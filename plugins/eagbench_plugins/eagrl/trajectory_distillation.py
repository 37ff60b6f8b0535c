"""`trajectory_distillation`: Stage I of EAG-RL (Fang et al., arXiv 2508.13579).

A search builds trajectories on training cases, with the frozen policy as generator and a cross-fitted expert as guide.
The policy is then fine-tuned on the trajectories with the highest reward, with the loss on the completion only.
Prediction uses no expert: the trained policy answers as in the method `prompt`.

Departures from the paper (P) and its released code (C), numbered:
1. The expert is cross-fitted: it never predicts a case that it was trained on. (P and C do not specify this.)
2. The tokens of the probability have weight `answer_weight` in the loss; 1 is the paper's loss. Only one token in forty
   carries the label, so a small policy would otherwise learn nothing from it. So may those of the list of features,
   with `citation_weight`; 1, the paper's loss, is its default.
3. Classes are balanced (C) by repeating the rarer class's trajectories, not by dropping those of the other class.
4. Any search can replace `expert_mcts`, with the same token budget, which counts every generated token.
5. With `answer_target`, the reasoning of the selected trajectories is learnt with another probability than the one that
   the search found: the label's or the expert's (`answer_targets.py`), the nearest level or, with `soft_answers`, two
   levels that have it as their mean. Off by default.
6. With `learnt_reasoning: citations`, the selected trajectories are learnt without their steps. Off by default.
7. With `bare_answers`, the probabilities are also learnt without reasoning, in the same format. Off by default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from eagbench.api import (
    Cases,
    ComponentUse,
    MethodPlan,
    MethodTraits,
    Prediction,
    PromptSpec,
    RewardTraits,
    SearchTraits,
    StageNode,
    StageRun,
    UserError,
    answer_with_policy,
    create_component,
    style_of,
    traits_of,
)
from eagbench_plugins.eagrl.answer_targets import AnswerTarget, ComponentSpec, expert_to_learn_from
from eagbench_plugins.eagrl.data_parallel import refuse_uneven
from eagbench_plugins.eagrl.distillation import Selection
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.sft import fine_tune
from eagbench_plugins.eagrl.trajectories import search_trajectories


class TrajectoryDistillation:
    """Search, selection and supervised fine-tuning."""

    name: ClassVar[str] = "trajectory_distillation"
    traits = MethodTraits(reads="text")

    class Params(Selection):
        """Parameters of Stage I, in addition to those of the selection.

        Attributes:
            expert: The expert whose salience guides search and reward; None if neither needs one.
            search: The search.
            reward: The trajectory reward.
            style: The format of the trajectories.
            token_budget: Maximum number of tokens that the search generates per case.
            max_new_tokens: Maximum number of tokens of one answer, in search and in prediction.
            max_training_cases: Maximum number of training cases to search, half of them positive if there are enough;
                None searches all.
            batch_cases: Number of cases searched at once.
            answer_target: The probability that is learnt with the reasoning of a trajectory: the one that the search
                found, or the level nearest the `label` or the `expert`'s cross-fitted probability.
            soft_answers: Learn each case in eight versions whose probabilities have the `answer_target` as their mean,
                instead of the level nearest it.
            learnt_reasoning: What is learnt in front of an answer: a trajectory's `steps` and its list of features, or
                the list alone (`citations`).
            bare_answers: Learn the answer of each selected trajectory also without its steps and features.
            sft: Parameters of supervised fine-tuning.
        """

        expert: ComponentSpec | None = None
        search: ComponentSpec = "expert_mcts"
        reward: ComponentSpec = "eag"
        style: PromptSpec = "question_decomposition"
        token_budget: int = Field(default=1024, ge=1)
        max_new_tokens: int = Field(default=192, ge=1)
        max_training_cases: int | None = Field(default=None, ge=2)
        batch_cases: int = Field(default=128, ge=1)
        answer_target: Literal["searched"] | AnswerTarget = "searched"
        soft_answers: bool = False
        learnt_reasoning: Literal["steps", "citations"] = "steps"
        bare_answers: bool = False
        sft: FineTuning = FineTuning()

        @model_validator(mode="after")
        def _has_reasoning_to_leave_out(self) -> Self:
            if self.bare_answers and style_of(self.style).format == "vanilla":
                raise ValueError(
                    "`bare_answers` leaves the reasoning out, and answers in the format 'vanilla' have none"
                )
            return self

        @model_validator(mode="after")
        def _has_a_mean_to_aim_at(self) -> Self:
            if self.soft_answers and self.answer_target == "searched":
                raise ValueError("`soft_answers` needs an `answer_target` to be the mean of, `expert` or `label`")
            return self

        @model_validator(mode="after")
        def _has_a_list_to_learn(self) -> Self:
            if self.learnt_reasoning == "citations" and not style_of(self.style).cites_features:
                raise ValueError(
                    f"the style '{self.style}' lists no features, which `learnt_reasoning: citations` leaves"
                )
            return self

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the trajectories, then the fine-tuned policy. Of these, prediction uses only the policy."""
        policy, record_text = plan.policy(), plan.record_text()
        refuse_uneven(policy, "sft, batch_size", examples_at_once=self.params.sft.part_size)
        trajectories = self.trajectories(plan, policy, record_text)
        inputs: dict[str, Any] = {
            "training": plan.training,
            "trajectories": trajectories,
            "policy": policy,
            "record_text": record_text,
        }
        if self.params.answer_target == "expert":
            inputs["salience"] = expert_to_learn_from(self.params.expert, plan, self.name)
        fine_tuned = plan.stage(
            kind="sft",
            label="trajectory distillation",
            function=fine_tune,
            params={
                "style": self.params.style,
                "selection": self.params.model_dump(mode="json", include=set(Selection.model_fields)),
                "answer_target": self.params.answer_target,
                "soft_answers": self.params.soft_answers,
                "learnt_reasoning": self.params.learnt_reasoning,
                "bare_answers": self.params.bare_answers,
                "levels": None if self.params.answer_target == "searched" else list(plan.answer_levels),
                "sft": self.params.sft.model_dump(mode="json"),
            },
            inputs=inputs,
        )
        return {"policy": fine_tuned, "record_text": record_text}

    def trajectories(self, plan: MethodPlan, policy: StageNode, record_text: StageNode) -> StageNode:
        """Declare the search stage.

        Raises:
            UserError: Search or reward needs an expert or a style that the benchmark does not specify.
        """
        search = plan.component("search", self.params.search, "search")
        reward = plan.component("reward", self.params.reward, "reward")
        inputs: dict[str, Any] = {"training": plan.training, "policy": policy, "record_text": record_text}
        if self.params.expert is not None:
            inputs["salience"] = plan.cross_fitted_salience(plan.component("expert", self.params.expert, "expert"))
        for use in (search, reward):
            self._refuse_unmet_needs(use)
        return plan.stage(
            kind="trajectories",
            label=f"{search.name}, {reward.name}",
            function=search_trajectories,
            params={
                "search": search.identity(),
                "reward": reward.identity(),
                "style": self.params.style,
                "token_budget": self.params.token_budget,
                "max_new_tokens": self.params.max_new_tokens,
                "max_training_cases": self.params.max_training_cases,
                "batch_cases": self.params.batch_cases,
            },
            inputs=inputs,
        )

    def _refuse_unmet_needs(self, use: ComponentUse) -> None:
        traits: RewardTraits | SearchTraits
        if use.kind == "search":
            traits = traits_of(create_component(use.identity()), SearchTraits)
            needs_steps = traits.needs_steps
        else:
            traits, needs_steps = traits_of(create_component(use.identity()), RewardTraits), False
        where = f"method {self.name}, {use.kind} {use.name}"
        if traits.needs_salience and self.params.expert is None:
            raise UserError(
                f"the {use.kind} '{use.name}' compares with an expert, and the method has none",
                where=where,
                hint=f"give the method `expert: lightgbm` (or another one), or choose a {use.kind} that needs none",
            )
        if needs_steps and not style_of(self.params.style).cites_features:
            raise UserError(
                f"the search '{use.name}' goes step by step, and the style '{self.params.style}' has no steps",
                where=where,
                hint="use `style: question_decomposition`, or the search `best_of_n`",
            )

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Answer with the trained policy, in the benchmark's answer mode."""
        return answer_with_policy(cases, run, style_of(self.params.style), self.params.max_new_tokens)
