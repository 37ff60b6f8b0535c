"""`hybrid_prompt`: the expert's probability and its top features stand in the prompt of the frozen policy.

It is the "explicit prompt injection" with which EAG-RL's predecessor couples an expert and a language model (as named
in METHOD.md, section 5; Fang et al., arXiv 2508.13579, compare with it). At prediction time the expert is asked about
each case, perturbed as the policy reads it: that is what a hybrid is, and what EAG-RL does without.

Departures, numbered:
1. The wording is ours (no source gives it): two sentences below the record, or two short entries for a policy that was
   pre-trained on short prompts.
2. The features are the expert's heaviest among those observed in the case, as for the alignment metrics, but for those
   without any weight (an expert that is trained for several domains does not read what one of them alone measures). A
   policy that repeats them cites what it was told: this method's `citation_jaccard` says nothing of its own reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from pydantic import Field

from eagbench.api import (
    STYLES,
    Cases,
    MethodPlan,
    MethodTraits,
    Prediction,
    RecordText,
    StageNode,
    StageRun,
    StrictParams,
    StyleName,
    top_observed,
)
from eagbench_plugins.baselines.expert_output import ComponentSpec, ExpertOutput, output_of_fitted
from eagbench_plugins.baselines.expert_text import features_line, probability_line
from eagbench_plugins.baselines.written_prompts import WrittenPrompt, answer_written, write_prompt


class HybridPrompt:
    """Asks the frozen policy about each case, and tells it what the expert says of it."""

    name: ClassVar[str] = "hybrid_prompt"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """What is told, and how the policy is asked.

        Attributes:
            expert: The expert.
            features: How many of its heaviest observed features the prompt names; 0 names none.
            style: The format of the answer.
            max_new_tokens: Bound on the tokens of one answer; a style with reasoning wants more than the default.
        """

        expert: ComponentSpec
        features: int = Field(default=5, ge=0)
        style: StyleName = "vanilla"
        max_new_tokens: int = Field(default=128, ge=1)

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """The policy, the record text, and the expert fitted on the training cases. Nothing else is trained."""
        expert = plan.expert(plan.component("expert", self.params.expert, "expert"))
        return {"policy": plan.policy(), "record_text": plan.record_text(), "expert": expert}

    def prompts(self, cases: Cases, output: ExpertOutput, record_text: RecordText) -> list[WrittenPrompt]:
        """The prompt of each case.

        Args:
            cases: N cases.
            output: The expert's output on them.
            record_text: The fitted record text.
        """
        style = STYLES[self.params.style]
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
        """The policy's answers, read in the benchmark's answer mode."""
        output = output_of_fitted(self.params.expert, run.inputs["expert"], cases)
        prompts = self.prompts(cases, output, RecordText.load(run.inputs["record_text"]))
        return answer_written(cases, prompts, run, STYLES[self.params.style], self.params.max_new_tokens)
