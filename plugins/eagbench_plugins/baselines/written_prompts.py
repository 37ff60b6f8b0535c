"""Ask the frozen policy with prompts that a method wrote itself, in the benchmark's answer mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eagbench.api import (
    AnswerMode,
    Case,
    Cases,
    LanguageModel,
    Prediction,
    Question,
    RecordText,
    Span,
    StageRun,
    Style,
    answer_prompts,
    attention_probe,
    compose_prompt,
    measure_attention,
    open_policy,
    refuse_long_prompts,
    style_for,
)

# Cases per call of the model when attention is measured, so that a progress bar moves.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class WrittenPrompt:
    """A prompt, and the span of each feature's text from the asked case's record in it."""

    text: str
    spans: Mapping[str, Span]


def write_prompt(
    style: Style, case: Case, cases: Cases, record_text: RecordText, *, before: str = "", below: str = ""
) -> WrittenPrompt:
    """Write the prompt of the method `prompt`, with extra text.

    Args:
        style: The requested answer format.
        case: The asked case.
        cases: Cases of the same cohort, for the description of task and features.
        record_text: The fitted record text.
        before: Text placed before everything else.
        below: Text placed directly below the asked case's record.
    """
    record, spans = record_text.render_with_spans(case, cases)
    asked = compose_prompt(style_for(style, case), record + below, cases.task, record_text.params.instructions)
    offset = len(before) + asked.index(record)
    return WrittenPrompt(before + asked, {name: (start + offset, end + offset) for name, (start, end) in spans.items()})


def answer_written(
    cases: Cases, prompts: Sequence[WrittenPrompt], run: StageRun, style: Style, max_new_tokens: int
) -> list[Prediction]:
    """Let the frozen policy answer prompts, one per case.

    Args:
        cases: N cases, unlabelled.
        prompts: N prompts.
        run: The run. Its inputs have the folder `policy`; its parameters have the benchmark's `answer` and `attention`,
            which tells whether to measure the policy's attention. Generated tokens are added to its costs.
        style: The answer format that the prompts request.
        max_new_tokens: Maximum number of tokens of one text.

    Raises:
        UserError: A prompt with its answer is longer than the policy can read.
    """
    model = open_policy(run.inputs["policy"])
    refuse_long_prompts(model, [prompt.text for prompt in prompts], max_new_tokens)
    question = Question(model, style, AnswerMode.model_validate(run.params["answer"]), run.seed, max_new_tokens)
    predictions = answer_prompts(question, cases, [prompt.text for prompt in prompts], run.progress)
    if run.params["attention"] and all(p.trajectories for p in predictions):
        predictions = _with_attention(predictions, model, prompts, style, run)
    run.add_cost("generated_tokens", sum(t.generated_tokens for p in predictions for t in p.trajectories))
    return predictions


def _with_attention(
    predictions: Sequence[Prediction],
    model: LanguageModel,
    prompts: Sequence[WrittenPrompt],
    style: Style,
    run: StageRun,
) -> list[Prediction]:
    """Add the policy's attention to the first trajectory of each prediction, as the core does."""
    probe = attention_probe(model)
    result: list[Prediction] = []
    starts = range(0, len(predictions), _CHUNK)
    for start in run.progress(starts, "attention", len(starts)):
        chunk, asked = predictions[start : start + _CHUNK], prompts[start : start + _CHUNK]
        first = [prediction.trajectories[0] for prediction in chunk]
        texts, thoughts = [trajectory.text for trajectory in first], [trajectory.thought for trajectory in first]
        measured = measure_attention(probe, [p.text for p in asked], [p.spans for p in asked], texts, style, thoughts)
        result += [
            replace(p, trajectories=(replace(t, attention=attention), *p.trajectories[1:]))
            for p, t, attention in zip(chunk, first, measured, strict=True)
        ]
    return result
