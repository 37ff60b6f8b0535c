"""`few_shot`: show the frozen policy training cases with their outcomes in the prompt.

In-context learning (Brown et al., arXiv 2005.14165). The examples are random, or nearest to the asked case (Liu et al.,
"What makes good in-context examples for GPT-3?", arXiv 2101.06804), with or without the expert's output for each.

Our choices where no source specifies them, numbered:
1. Distance uses the expert's representation (`example_choice.RepresentationSpace`), not a text encoder's. The
   representation of training cases is cross-fitted; that of the asked case comes from the expert fitted on all training
   cases.
2. `balanced` takes as many examples with the outcome as without; otherwise the training prevalence decides.
3. An example ends with its outcome in words, not with a probability in the style's format: the outcome is known.
4. The nearest example comes last, next to the asked case. Random examples are drawn anew for each asked case.
5. Only training cases serve as examples. The asked case carries no label in any form: `predict` does not receive one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

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
    Task,
    style_of,
)
from eagbench_plugins.baselines.example_choice import RepresentationSpace, random_ranking, take
from eagbench_plugins.baselines.examples import Examples, collect, read_examples
from eagbench_plugins.baselines.expert_output import ComponentSpec, ExpertOutput, output_of_fitted
from eagbench_plugins.baselines.expert_text import probability_line
from eagbench_plugins.baselines.written_prompts import WrittenPrompt, answer_written, write_prompt


class FewShot:
    """Asks the frozen policy about each case after showing it training cases."""

    name: ClassVar[str] = "few_shot"
    traits = MethodTraits(reads="text")

    class Params(StrictParams):
        """Parameters of the examples and of the prompt.

        Attributes:
            selection: `random` training cases, or those `nearest` by the expert's representation.
            shots: Number of examples.
            balanced: Take as many examples with the outcome as without.
            with_expert: Whether each example and the asked case show the expert's `probability`.
            expert: The expert. Required by `nearest` and by `with_expert: probability`, and refused otherwise because
                it would not be used.
            style: The format of the answer.
            max_new_tokens: Maximum number of tokens of one answer; a style with reasoning needs more than the default.
        """

        selection: Literal["random", "nearest"] = "random"
        shots: int = Field(default=4, ge=1)
        balanced: bool = True
        with_expert: Literal["none", "probability"] = "none"
        expert: ComponentSpec | None = None
        style: PromptSpec = "vanilla"
        max_new_tokens: int = Field(default=128, ge=1)

        @model_validator(mode="after")
        def _makes_sense(self) -> Self:
            if self.balanced and self.shots % 2:
                raise ValueError(f"{self.shots} shots can't be balanced: give an even number, or balanced: false")
            if self.needs_expert and self.expert is None:
                raise ValueError("`selection: nearest` and `with_expert: probability` need an `expert`")
            if self.expert is not None and not self.needs_expert:
                raise ValueError("no one asks the `expert`: leave it out, or take `with_expert: probability` as well")
            return self

        @property
        def needs_expert(self) -> bool:
            """Whether the method uses an expert."""
            return self.selection == "nearest" or self.with_expert == "probability"

    def __init__(self, params: Params) -> None:
        self.params = params

    def stages(self, plan: MethodPlan) -> Mapping[str, StageNode]:
        """Declare the policy, the record text, the examples, and the expert if one is used."""
        record_text = plan.record_text()
        inputs: dict[str, Any] = {"training": plan.training, "record_text": record_text}
        stages = {"policy": plan.policy(), "record_text": record_text}
        if self.params.needs_expert:
            assert self.params.expert is not None
            use = plan.component("expert", self.params.expert, "expert")
            inputs["salience"] = plan.cross_fitted_salience(use)
            stages["expert"] = plan.expert(use)
        stages["examples"] = plan.stage(
            kind="examples", label="training cases", function=collect, params={}, inputs=inputs
        )
        return stages

    def prompts(
        self, cases: Cases, examples: Examples, output: ExpertOutput | None, record_text: RecordText, seed: int
    ) -> list[WrittenPrompt]:
        """Write the prompt of each case.

        Args:
            cases: N cases.
            examples: The training cases.
            output: The expert's output on the N cases; None for a method without an expert.
            record_text: The fitted record text.
            seed: Seed of the random selection.

        Raises:
            UserError: There are too few training cases.
        """
        params, style = self.params, style_of(self.params.style)
        shown = [self._example(examples, i, cases.task, record_text) for i in range(len(examples.case_ids))]
        if params.selection == "nearest":
            assert examples.expert is not None
            assert output is not None
            rankings = list(RepresentationSpace(examples.expert).ranking(output))
        else:
            rankings = [random_ranking(case.case_id, len(shown), seed) for case in cases]
        prompts = []
        for i, (case, ranking) in enumerate(zip(cases, rankings, strict=True)):
            taken = take(ranking, examples.labels, params.shots, balanced=params.balanced)
            before = _before([shown[j] for j in reversed(taken)], record_text)
            below = ""
            if params.with_expert == "probability":
                assert output is not None
                below = "\n" + probability_line(float(output.probability[i]), record_text)
            prompts.append(write_prompt(style, case, cases, record_text, before=before, below=below))
        return prompts

    def _example(self, examples: Examples, i: int, task: Task, record_text: RecordText) -> str:
        """Write one training case as text for the prompt."""
        lines = [examples.records[i]]
        if self.params.with_expert == "probability":
            assert examples.expert is not None
            lines.append(probability_line(float(examples.expert.probability[i]), record_text))
        happened = "yes" if examples.labels[i] else "no"
        if record_text.params.instructions == "short":
            lines.append(f"outcome={happened}")
        else:
            lines.append(f"Outcome (will this patient {task.outcome}?): {happened}")
        return "\n".join(lines)

    def predict(self, cases: Cases, run: StageRun) -> Sequence[Prediction]:
        """Answer with the frozen policy, in the benchmark's answer mode."""
        output = None
        if self.params.needs_expert:
            assert self.params.expert is not None
            output = output_of_fitted(self.params.expert, run.inputs["expert"], cases)
        record_text = RecordText.load(run.inputs["record_text"])
        prompts = self.prompts(cases, read_examples(run.inputs["examples"]), output, record_text, run.seed)
        return answer_written(cases, prompts, run, style_of(self.params.style), self.params.max_new_tokens)


def _before(shown: Sequence[str], record_text: RecordText) -> str:
    """Write the text of all examples, up to the start of the asked case's own prompt."""
    if record_text.params.instructions == "short":
        return "".join(f"{example}\n" for example in shown)
    numbered = "\n\n".join(f"Patient {i}:\n{example}" for i, example in enumerate(shown, start=1))
    return f"Records of other patients, whose outcome is known:\n\n{numbered}\n\n"
