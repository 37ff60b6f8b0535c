"""Parameters of the policy `openai`."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, JsonValue, field_validator

from eagbench.api import StrictParams


class OpenAIParams(StrictParams):
    """Where the model is and how to request its answers.

    Attributes:
        base_url: The address up to and including the version, for example `http://127.0.0.1:8000/v1`.
        model: The model's name on the server.
        api_key_env: Name of the environment variable that holds the key; None for a server that needs none.
        endpoint: `chat` (the server applies the model's chat template) or `completions` (the prompt unchanged).
        continuation: How a partial answer is continued on `chat`: `continue_final_message` on servers that know this
            field (vLLM, SGLang), `none` on all others. `completions` continues one by itself.
        stop_strings: `cut_here`: the server writes the text to its end, and eagbench cuts off what follows a stop
            string. `sent`: the server stops, which saves tokens. Use it with a server that leaves the stop string in
            the text (transformers serve) or reports which one it met (vLLM). With any other server, answers look
            unclosed. None is sent to a model that thinks, because it would end a thought at a draft; whether it thinks
            is found out by one question without, unless `thought` says it.
        thought: How the model's thought is told from its answer. `read`: by what comes back, which is a field of the
            server (`reasoning_content`, `reasoning`), a text that begins with an opening tag, or one with a closing tag
            alone. `opened`: the model's chat template opens a thought, so that each text begins inside it, and one
            without a closing tag is no answer. `none`: the model does not think, whatever tags it mentions.
        logprobs: How many of the likeliest next tokens to request; 0 for a server that gives none. The answer mode
            `expectation` needs them.
        concurrency: Simultaneous requests per process.
        timeout_s: How long to wait for one answer, in seconds.
        patience_s: How long to wait for a server that can't be reached, in seconds.
        max_retries: How often to repeat a request that was answered by 429 or 5xx, or not in time.
        extra: Further fields of every request; null removes one (`{seed: null}`).
    """

    base_url: str
    model: str = Field(min_length=1)
    api_key_env: str | None = None
    endpoint: Literal["chat", "completions"] = "chat"
    continuation: Literal["none", "continue_final_message"] = "none"
    stop_strings: Literal["cut_here", "sent"] = "cut_here"
    thought: Literal["read", "opened", "none"] = "read"
    logprobs: int = Field(default=0, ge=0, le=100)
    concurrency: int = Field(default=4, ge=1, le=256)
    timeout_s: float = Field(default=600, gt=0)
    patience_s: float = Field(default=300, ge=0)
    max_retries: int = Field(default=8, ge=0)
    extra: dict[str, JsonValue] = Field(default_factory=dict)

    @property
    def continues_answers(self) -> bool:
        """Tell whether the server can continue a begun answer."""
        return self.endpoint == "completions" or self.continuation != "none"

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
