"""`sft`: supervised fine-tuning of the base policy on the answer alone, without reasoning, search or expert.

This baseline shows whether Stage I of EAG-RL (`trajectory_distillation`) adds anything to plain supervision. The
completion to learn is the answer in the style `vanilla`, at the level nearest the label. With
`answer_target: expert` it is the level nearest the probability of an expert, so that a policy that copies the expert is
not taken for one that reasons.

Given the same parameters, these match Stage I:
1. The cases: the same draw from the same training cases, and so the same records.
2. The trainer and its settings: optimisation steps, examples per step, learning-rate schedule, token weights. So both
   learn the same number of answers. The prompt tokens are also the same, except for which cases a step draws and one
   line that names the format.
3. The class shares, if `balance` is the same.

These differ:
1. The completions are shorter: only the answer and its tags. Stage I's trajectories also contain steps and features.
2. The answer has a larger share in the loss. Each step's loss is divided by the sum of its tokens' weights (see
   `sft_training`), so a token's weight counts relative to the rest of its completion. With the tokenizer of `tiny`,
   an answer is one token of weight 30, next to 3 tokens of weight 1 here (91 % of the loss) and about 40 in Stage I
   (about 43 %). If anything, this favours the baseline: all of its gradient is about the label.
3. Each case has exactly one text. In Stage I it has up to `top_k`, or none if the search found no readable answer or
   none above the reward thresholds.
4. The answers are the lowest and the highest level, unless they aim at the expert. In Stage I the policy wrote them and
   the reward selected them, unless both have the same `answer_target`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, field_validator

from eagbench.api import (
    Cases,
    LabelledCases,
    MethodPlan,
    MethodTraits,
    Prediction,
    PromptSpec,
    StageNode,
    StageRun,
    StrictParams,
    Style,
    answer_with_policy,
    style_of,
    write_answer,
)
from eagbench_plugins.eagrl.answer_targets import (
    AnswerTarget,
    ComponentSpec,
    answer_aims,
    answer_levels,
    expert_to_learn_from,
)
from eagbench_plugins.eagrl.data_parallel import refuse_uneven
from eagbench_plugins.eagrl.distillation import SelectedTrajectory, balanced
from eagbench_plugins.eagrl.fine_tuning import FineTuning
from eagbench_plugins.eagrl.sft import learn
from eagbench_plugins.eagrl.trajectories import chosen_cases


class AnswerSupervision:
    """Supervised fine-tuning on the labels, as answers."""

    name: ClassVar[str] = "sft"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """Parameters. Those that `trajectory_distillation` has as well mean the same there.

        Attributes:
            max_training_cases: Maximum number of training cases, half of them positive if there are enough; None uses
                all.
            balance: Repeat the rarer class's answers until both classes have equally many.
            style: The prompt; its format is `vanilla`, which has nothing but the answer.
            answer_target: What the answer aims at: the `label`, or the `expert`'s cross-fitted probability.
            soft_answers: Learn each case in eight versions whose levels have the target as their mean, instead of the
                level nearest it.
            expert: The expert whose probability is the target; None if the target is the label.
            sft: Parameters of supervised fine-tuning.
            max_new_tokens: Maximum number of tokens of one answer in prediction.
        """

        max_training_cases: int | None = Field(default=None, ge=2)
        balance: bool = True
        style: PromptSpec = "vanilla"
        answer_target: AnswerTarget = "label"
        soft_answers: bool = False
        expert: ComponentSpec | None = None
        sft: FineTuning = FineTuning()
        max_new_tokens: int = Field(default=32, ge=1)

        @field_validator("style")
        @classmethod
        def _has_only_an_answer(cls, style: PromptSpec) -> PromptSpec:
            asked = style_of(style).format
            if asked != "vanilla":
                raise ValueError(f"answers alone are learnt in the format 'vanilla', not in '{asked}'")
            return style

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the fine-tuned policy and the record text."""
        policy, record_text = plan.policy(), plan.record_text()
        refuse_uneven(policy, "sft, batch_size", examples_at_once=self.params.sft.part_size)
        inputs: dict[str, Any] = {"training": plan.training, "policy": policy, "record_text": record_text}
        if self.params.answer_target == "expert":
            inputs["salience"] = expert_to_learn_from(self.params.expert, plan, self.name)
        learnt = {"max_training_cases", "balance", "style", "answer_target", "soft_answers", "sft"}
        fine_tuned = plan.stage(
            kind="sft",
            label="answers only",
            function=fine_tune_on_answers,
            params={**self.params.model_dump(mode="json", include=learnt), "levels": list(plan.answer_levels)},
            inputs=inputs,
        )
        return {"policy": fine_tuned, "record_text": record_text}

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Answer with the trained policy, in the benchmark's answer mode."""
        return answer_with_policy(cases, run, style_of(self.params.style), self.params.max_new_tokens)


def fine_tune_on_answers(run: StageRun) -> None:
    """Run the stage `sft` on answers alone.

    Params: `max_training_cases`, `balance`, `style`, `answer_target`, `soft_answers`, `levels`, `sft`. Inputs:
    `training`, `policy`, `record_text`, and `salience` if the answers aim at the expert's probability.
    """
    data = run.inputs["training"].train
    style = style_of(run.params["style"])
    chosen = chosen_cases(data, run.params["max_training_cases"], run.seed)
    target = run.params["answer_target"]
    answers = supervised_answers(chosen, answer_levels(target, chosen, run), style)
    aims = answer_aims(target, chosen, run) if run.params["soft_answers"] else None
    learn(balanced(answers) if run.params["balance"] else answers, data, style, run, aims)


def supervised_answers(data: LabelledCases, levels: Mapping[str, float], style: Style) -> list[SelectedTrajectory]:
    """Write the text to learn for each case: the answer at its level."""
    return [
        SelectedTrajectory(case_id, label, write_answer(style, [], [], levels[case_id], ""), levels[case_id])
        for case_id, label in zip(data.cases.case_ids, data.labels.tolist(), strict=True)
    ]
