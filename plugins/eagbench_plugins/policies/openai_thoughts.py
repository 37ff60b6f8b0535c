"""Tell the thoughts in a server's answers apart. Of the chat template nothing is known but what the YAML says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from eagbench.api import FROM_SERVER, NO_THOUGHT, TEMPLATE_OPENS, Thought, ThoughtFormat
from eagbench_plugins.policies.openai_params import OpenAIParams


class ServerAnswer(Protocol):
    """What of a server's answer shows a thought.

    Attributes:
        text: What the model wrote.
        thought: Reasoning that the server returned in a field of its own; None if there is none.
        cut_off: Whether the text reached the maximum number of tokens.
    """

    text: str
    thought: str | None
    cut_off: bool


def format_after(params: OpenAIParams, written: str) -> ThoughtFormat:
    """Return how a text goes on after a begun one, given what the benchmark says of the model's thought."""
    if params.thought == "none":
        return NO_THOUGHT
    # On `chat` a begun answer is the server's own message: its template opens nothing before that.
    opened = params.thought == "opened" and not (written and params.endpoint == "chat")
    begins = TEMPLATE_OPENS if opened else FROM_SERVER
    return begins.after(written) if written else begins


def thoughts_and_texts(
    answers: Sequence[ServerAnswer], formats: Sequence[ThoughtFormat]
) -> list[tuple[Thought | None, str]]:
    """Split the answers of one call into thought and text."""
    found = [_split(answer, begins) for answer, begins in zip(answers, formats, strict=True)]
    # Where the template opens the thought, one that was cut off before its closing tag shows no tag at all.
    bare = any(begins.shows_template(thought) for (thought, _), begins in zip(found, formats, strict=True))
    return [
        (Thought(text, closed=False), "")
        if bare and thought is None and answer.cut_off and not begins.template_known
        else (thought, text)
        for answer, begins, (thought, text) in zip(answers, formats, found, strict=True)
    ]


def shows_thought(answers: Sequence[ServerAnswer], formats: Sequence[ThoughtFormat]) -> bool:
    """Check whether the model thought before any of the answers."""
    return any(thought is not None for thought, _ in thoughts_and_texts(answers, formats))


def _split(answer: ServerAnswer, begins: ThoughtFormat) -> tuple[Thought | None, str]:
    if answer.thought is not None:
        return Thought(answer.thought, closed=bool(answer.text.strip())), answer.text
    return begins.split(answer.text)
