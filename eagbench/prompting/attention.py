"""A policy's own attention over the features of a record when it answers, as opposed to the features it cites."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eagbench.contracts.answers import Prediction
from eagbench.contracts.language_models import AttentionProbe, LanguageModel, Thought
from eagbench.contracts.records import Cases
from eagbench.contracts.stages import no_progress
from eagbench.errors import UserError
from eagbench.prompting.answers import answer_text, text_up_to_answer
from eagbench.prompting.record import RecordText, Span
from eagbench.prompting.styles import Style, prompt_with_spans

# Cases per call of the model, so that a progress bar moves.
_CHUNK = 256


def attention_probe(model: LanguageModel) -> AttentionProbe:
    """Return the model if its attention can be measured.

    Raises:
        UserError: Its attention can't be measured.
    """
    if not isinstance(model, AttentionProbe):
        raise UserError(
            "this policy does not give its attention, and a metric or reward needs it",
            where=f"policy {type(model).__name__}",
            hint="use the policy `tiny` or `hf`, or leave out what needs the policy's attention",
        )
    return model


def measure_attention(
    model: AttentionProbe,
    prompts: Sequence[str],
    spans: Sequence[Mapping[str, Span]],
    texts: Sequence[str],
    style: Style,
    thoughts: Sequence[str] | None = None,
) -> list[dict[str, float] | None]:
    """Measure the model's attention to each feature at the moment of its answers.

    Args:
        model: The policy.
        prompts: N prompts.
        spans: For each prompt, the span of each feature's text in it.
        texts: For each prompt, the generated text, exactly as it was written.
        style: The answer format.
        thoughts: For each prompt, the thought before the text (`Trajectory.thought`); None if there are none.

    Returns:
        For each prompt, the attention per token of each feature, normalised to sum to 1 over the features in the
        prompt; empty if the prompt has no feature; None if no answer was begun.
    """
    before = [Thought(thought) if thought else None for thought in thoughts or [""] * len(texts)]
    begun = [text_up_to_answer(style, text, thought) for text, thought in zip(texts, before, strict=True)]
    asked = [i for i, text in enumerate(begun) if text is not None]
    attention: list[dict[str, float] | None] = [None] * len(prompts)
    if not asked:
        return attention
    weights = model.attention_to(
        [prompts[i] for i in asked],
        [begun[i] or "" for i in asked],
        [answer_text(style, texts[i], before[i]) or "" for i in asked],
        [list(spans[i].values()) for i in asked],
    )
    for i, row in zip(asked, weights, strict=True):
        total = sum(row)
        attention[i] = {name: weight / total for name, weight in zip(spans[i], row, strict=True)}
    return attention


def with_attention(
    predictions: Sequence[Prediction],
    model: LanguageModel,
    cases: Cases,
    record_text: RecordText,
    style: Style,
    progress: Callable[..., Iterable[Any]] = no_progress,
) -> list[Prediction]:
    """Add the policy's attention to the first trajectory of each prediction.

    Args:
        predictions: N predictions by this model, each with its trajectories, in the order of the cases.
        model: The opened policy.
        cases: The cases of the predictions. Their prompts are those of `prompt_text`.
        record_text: The fitted record text.
        style: The answer format.
        progress: Wraps the loop with a progress bar.

    Raises:
        UserError: The policy does not expose its attention.
    """
    probe = attention_probe(model)
    result: list[Prediction] = []
    starts = range(0, len(predictions), _CHUNK)
    for start in progress(starts, "attention", len(starts)):
        chunk = predictions[start : start + _CHUNK]
        prompts, spans = zip(
            *(prompt_with_spans(style, case, cases, record_text) for case in cases.items[start : start + _CHUNK]),
            strict=True,
        )
        first = [prediction.trajectories[0] for prediction in chunk]
        texts, thoughts = [trajectory.text for trajectory in first], [trajectory.thought for trajectory in first]
        measured = measure_attention(probe, prompts, spans, texts, style, thoughts)
        result += [
            replace(p, trajectories=(replace(t, attention=attention), *p.trajectories[1:]))
            for p, t, attention in zip(chunk, first, measured, strict=True)
        ]
    return result
