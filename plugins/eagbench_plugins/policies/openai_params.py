"""What the policy `openai` can be told."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator

from eagbench.api import StrictParams


class OpenAIParams(StrictParams):
    """Where the model is and how it is asked.

    Attributes:
        base_url: Up to and with the version, for example `http://127.0.0.1:8000/v1`.
        model: The model's name on the server.
        api_key_env: Name of the environment variable that holds the key; None for a server that needs none.
        endpoint: `chat` (the server applies the model's chat template) or `completions` (the prompt as it stands).
        continuation: How a begun answer is continued on `chat`: `continue_final_message` on servers that know this
            field (vLLM, SGLang), `none` on all others. `completions` continues by itself.
        stop_strings: `cut_here`: a text is written to its end, and what follows a stop string is cut off here.
            `sent`: the server stops, which saves tokens; for one that leaves the stop string in the text
            (transformers serve) or says which one it met (vLLM). One that does neither seems to close no answer.
        logprobs: How many of the likeliest next tokens the server is asked for, 0 for a server that gives none. The
            answer mode `expectation` needs them.
        concurrency: Requests under way at once, per process.
        timeout_s: How long one answer is waited for, in seconds.
        patience_s: How long a server that can't be reached is waited for, in seconds.
        max_retries: How often a request is repeated that was answered by 429 or 5xx, or not in time.
        extra: Further fields of every request; null takes one out (`{seed: null}`).
    """

    base_url: str
    model: str = Field(min_length=1)
    api_key_env: str | None = None
    endpoint: Literal["chat", "completions"] = "chat"
    continuation: Literal["none", "continue_final_message"] = "none"
    stop_strings: Literal["cut_here", "sent"] = "cut_here"
    logprobs: int = Field(default=0, ge=0, le=100)
    concurrency: int = Field(default=4, ge=1, le=256)
    timeout_s: float = Field(default=600, gt=0)
    patience_s: float = Field(default=300, ge=0)
    max_retries: int = Field(default=8, ge=0)
    extra: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _holds_no_secret(cls, url: str) -> str:
        # The messages don't repeat the value: what stands here by mistake may be a key.
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("give an address such as http://127.0.0.1:8000/v1")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("leave user, password and query out of the address; api_key_env is for keys")
        return url.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("give the name of an environment variable, never the key itself")
        return name
