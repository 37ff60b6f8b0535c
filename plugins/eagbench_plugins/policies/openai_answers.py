"""What OpenAI-compatible servers answer, as far as it is read. Strings that are not written at all may be null."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, field_validator


class Usage(BaseModel):
    """Tokens of one request."""

    completion_tokens: int = Field(ge=0)
    prompt_tokens: int = Field(default=0, ge=0)


class Message(BaseModel):
    """The message of a `chat` answer."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _joined(cls, content: Any) -> Any:
        """Join the text of a content that comes in parts; parts of another type stay as they are and are refused."""
        texts = [part.get("text") if isinstance(part, dict) else None for part in content or ()]
        is_text = isinstance(content, list) and all(isinstance(text, str) for text in texts)
        return "".join(str(text) for text in texts) if is_text else content


class Alternative(BaseModel):
    """A token that could have come, with its log-probability."""

    token: str
    logprob: float


class Position(BaseModel):
    """The likeliest tokens at one position."""

    top_logprobs: list[Alternative] = []


class Logprobs(BaseModel):
    """Log-probabilities in either endpoint's form."""

    content: list[Position] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None

    def first(self) -> list[tuple[str, float]] | None:
        """Read the first token's alternatives: from `content` on `chat`, from `top_logprobs` on `completions`."""
        if self.content:
            return [(entry.token, entry.logprob) for entry in self.content[0].top_logprobs] or None
        if self.top_logprobs and self.top_logprobs[0]:
            return list(self.top_logprobs[0].items())
        return None


class Choice(BaseModel):
    """What both endpoints say of a text."""

    finish_reason: str | None = None
    stop_reason: str | int | None = None
    logprobs: Logprobs | None = None


class ChatChoice(Choice):
    """A text of `chat`."""

    message: Message


class TextChoice(Choice):
    """A text of `completions`."""

    text: str


class Response(BaseModel):
    """A whole answer."""

    choices: list[ChatChoice] | list[TextChoice] = Field(min_length=1)
    usage: Usage


class Answer(BaseModel):
    """The part of a response that is kept.

    Attributes:
        text: What the model wrote.
        thought: Reasoning that the server returned in a field of its own; None if there is none.
        usage: Tokens.
        stop: The stop string that ended it, if the server reports it and leaves it out of the text.
        cut_off: Whether it reached the maximum number of tokens.
        likeliest: The likeliest first tokens with their log-probabilities, None if the server gives none.
        too_long: The server refused the prompt because of its length.
    """

    text: str
    thought: str | None = None
    usage: Usage
    stop: str | None = None
    cut_off: bool = False
    likeliest: list[tuple[str, float]] | None = None
    too_long: bool = False
