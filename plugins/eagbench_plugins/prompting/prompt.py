"""`prompt`: the untrained policy, prompted in one of the three styles. Trained policies are compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from eagbench.api import (
    Cases,
    MethodPlan,
    MethodTraits,
    Prediction,
    PromptSpec,
    StageNode,
    StageRun,
    StrictParams,
    answer_with_policy,
    style_of,
)


class Prompt:
    """Prompts the frozen policy about each case."""

    name: ClassVar[str] = "prompt"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """How the policy is prompted.

        Attributes:
            style: The format of the answer.
            max_new_tokens: Upper limit on the tokens of one answer.
        """

        style: PromptSpec = "question_decomposition"
        max_new_tokens: int = Field(default=512, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Request the policy and the record text. Nothing is trained."""
        return {"policy": plan.policy(), "record_text": plan.record_text()}

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Return the policy's answers, read in the benchmark's answer mode."""
        return answer_with_policy(cases, run, style_of(self.params.style), self.params.max_new_tokens)
