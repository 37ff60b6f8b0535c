"""`prompt`: the policy as it is, asked in one of the three styles. The base that trained policies are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from eagbench.api import (
    STYLES,
    AnswerMode,
    Cases,
    Prediction,
    Reads,
    RecordText,
    StageNode,
    StageRun,
    StrictParams,
    StyleName,
    answer_cases,
    open_policy,
)

if TYPE_CHECKING:
    from eagbench.api import MethodPlan


class Prompt:
    """Asks the frozen policy about each case."""

    name: ClassVar[str] = "prompt"
    reads: ClassVar[Reads] = "text"

    class Params(StrictParams):
        """How it is asked.

        Attributes:
            style: The format of the answer.
            max_new_tokens: Bound on the tokens of one answer.
        """

        style: StyleName = "question_decomposition"
        max_new_tokens: int = Field(default=512, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """It needs the policy and the record text, and trains nothing."""
        return {"policy": plan.policy(), "record_text": plan.record_text()}

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """The policy's answers, read in the benchmark's answer mode."""
        predictions = answer_cases(
            open_policy(run.inputs["policy"]),
            cases,
            RecordText.load(run.inputs["record_text"]),
            STYLES[self.params.style],
            AnswerMode.model_validate(run.params["answer"]),
            seed=run.seed,
            max_new_tokens=self.params.max_new_tokens,
            progress=run.progress,
        )
        run.add_cost("generated_tokens", sum(t.generated_tokens for p in predictions for t in p.trajectories))
        return predictions
