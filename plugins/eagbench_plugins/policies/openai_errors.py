"""What a server's error says: whether to repeat the request, whether the prompt is too long, and the server's message.

Servers put errors into answers of every status, 200 included (a router in front of several providers does, and so do
servers that fail after the first token). Where the status is 200, the error's own code counts as the status. Known
forms:

- `{"error": {"message", "type", "code"}}`: OpenAI, vLLM, llama.cpp; OpenRouter also inside a choice
- `{"error": "message", "error_type"}`: TGI
- `{"object": "error", "message", "type", "code"}`: older vLLM
- `{"detail": "message"}`: FastAPI
- any of these as the only entry of a list: Gemini
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT, _BAD_GATEWAY = 429, 408, 502
# Statuses by which servers refuse a prompt that does not fit: 400 (OpenAI, vLLM, llama.cpp), 413, 422 (TGI).
_REFUSALS = frozenset({400, 413, 422})

# An error without a number is known by its type or code.
_TEMPORARY = re.compile(
    r"rate.?limit|overload|too.?many|time.?out|timed.?out|unavailable|server.?error|internal|capacity", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"context.?length|context.?window|context.?size|maximum (model|input|allowed) length|max_model_len|max_input_length"
    r"|max_total_tokens|prompt is too long|input is too long|too many tokens|reduce the length|exceeds? the .*context",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error as a server reported it.

    Attributes:
        status: HTTP status, or the error's own code where that is 200; 0 if it has none.
        message: The server's message on one line; empty if it gives none.
        kind: The error's type and code as words.
    """

    status: int
    message: str
    kind: str = ""

    @property
    def passes(self) -> bool:
        """Tell whether the same request may succeed later."""
        if self.status:
            return self.status in {_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT} or self.status >= 500
        return _TEMPORARY.search(self.kind) is not None

    @property
    def is_too_long(self) -> bool:
        """Tell whether the prompt, with the tokens to be written, is longer than the model reads."""
        if self.passes or (self.status and self.status not in _REFUSALS):
            return False
        return _TOO_LONG.search(f"{self.kind} {self.message}") is not None


def error_of_status(status: int, body: Any) -> ServerError:
    """Read the error of an answer whose status says that it is one."""
    return ServerError(status, _message(body), _kind(body))


def error_in_success(body: Any) -> ServerError | None:
    """Read the error that an answer of status 200 holds; None if it holds none."""
    body = _only(body)
    if not isinstance(body, Mapping):
        return None
    if body.get("error") or body.get("object") == "error":
        return ServerError(_code(body), _message(body), _kind(body))
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, Mapping) and (first.get("error") or first.get("finish_reason") == "error"):
        # What was written before the provider failed is no answer. Without a code, it may pass.
        return ServerError(_code(first) or _BAD_GATEWAY, _message(first), _kind(first))
    return None


def _only(body: Any) -> Any:
    """Return the only entry of a list; anything else unchanged."""
    return body[0] if isinstance(body, list) and len(body) == 1 else body


def _parts(body: Any) -> list[Mapping[str, Any]]:
    """List the mappings that describe the error, the inner one first."""
    outer = _only(body)
    if not isinstance(outer, Mapping):
        return []
    return [part for part in (outer.get("error"), outer.get("detail"), outer) if isinstance(part, Mapping)]


def _code(body: Any) -> int:
    """Read the first number of an HTTP error among the error's fields; 0 if there is none."""
    for part in _parts(body):
        for name in ("code", "status", "status_code"):
            text = str(part.get(name, ""))
            if re.fullmatch(r"[45][0-9][0-9]", text):
                return int(text)
    return 0


def _kind(body: Any) -> str:
    names = ("type", "code", "status", "error_type")
    return " ".join(str(part[name]) for part in _parts(body) for name in names if isinstance(part.get(name), str))


def _message(body: Any) -> str:
    for part in _parts(body):
        for name in ("message", "error", "detail"):
            if isinstance(part.get(name), str):
                return " ".join(part[name].split())
    return ""
