"""`hybrid_prompt`: write the expert's probability and its top features into the prompt of the frozen policy.

This is the "explicit prompt injection" by which EAG-RL's predecessor couples an expert with a language model; EAG-RL
(Fang et al., arXiv 2508.13579) compares with it. Prediction also asks the expert about each case, with the same
perturbations that the policy sees. This makes the method a hybrid; EAG-RL needs no expert for prediction.

Departures, numbered:
1. The wording is ours, because no source gives it: two sentences below the record, or two short entries for a policy
   that was pre-trained on short prompts.
2. The features are the observed ones with the highest expert weight, as in the alignment metrics, but without features
   of weight 0. (An expert trained for several domains does not read features that only one of them measures.) A policy
   that repeats them cites what it was told, so this method's `citation_jaccard` says nothing about its own reading.
"""

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
    RecordText,
    StageNode,
    StageRun,
    StrictParams,
    style_of,
    top_observed,
)
from eagbench_plugins.baselines.expert_output import ComponentSpec, ExpertOutput, output_of_fitted
from eagbench_plugins.baselines.expert_text import features_line, probability_line
from eagbench_plugins.baselines.written_prompts import WrittenPrompt, answer_written, write_prompt


class HybridPrompt:
    """Asks the frozen policy about each case and tells it the expert's output."""

    name: ClassVar[str] = "hybrid_prompt"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """Parameters of the prompt.

        Attributes:
            expert: The expert.
            features: Number of observed features with the highest expert weight that the prompt names; 0 names none.
            style: The format of the answer.
            max_new_tokens: Maximum number of tokens of one answer; a style with reasoning needs more than the default.
        """

        expert: ComponentSpec
        features: int = Field(default=5, ge=0)
        style: PromptSpec = "vanilla"
        max_new_tokens: int = Field(default=128, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the policy, the record text, and the expert fitted on the training cases; train nothing else."""
        expert = plan.expert(plan.component("expert", self.params.expert, "expert"))
        return {"policy": plan.policy(), "record_text": plan.record_text(), "expert": expert}

    def prompts(self, cases: Cases, output: ExpertOutput, record_text: RecordText) -> list[WrittenPrompt]:
        """Write the prompt of each case.

        Args:
            cases: N cases.
            output: The expert's output on them.
            record_text: The fitted record text.
        """
        style = style_of(self.params.style)
        top = top_observed(cases, output.salience, self.params.features)
        column = {name: j for j, name in enumerate(output.features)}
        prompts = []
        for case, probability, listed, weight in zip(cases, output.probability, top, output.salience, strict=True):
            names = [name for name in listed if weight[column[name]] > 0]
            lines = [probability_line(float(probability), record_text)]
            lines += [features_line(names, record_text)] if names else []
            prompts.append(write_prompt(style, case, cases, record_text, below="\n" + "\n".join(lines)))
        return prompts

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Answer with the frozen policy, in the benchmark's answer mode."""
        output = output_of_fitted(self.params.expert, run.inputs["expert"], cases)
        prompts = self.prompts(cases, output, RecordText.load(run.inputs["record_text"]))
        return answer_written(cases, prompts, run, style_of(self.params.style), self.params.max_new_tokens)
