"""`openai`: a language model behind any server that speaks OpenAI's HTTP interface (vLLM, transformers serve, Ollama).

Nothing is trained here. The address and the name identify the model: if a server changes the weights behind a name,
eagbench can't notice it.
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from eagbench.api import Cases, LanguageModel, PolicyTraits, RecordText, StageRun, UserError
from eagbench_plugins.policies.openai_params import OpenAIParams


class OpenAIPolicy:
    """A model on an OpenAI-compatible server, used without training."""

    name: ClassVar[str] = "openai"

    Params = OpenAIParams

    def __init__(self, params: OpenAIParams) -> None:
        self.params = params

    @property
    def traits(self) -> PolicyTraits:
        """Say what the server can do: prompts leave this machine unless it is on the loopback interface."""
        return PolicyTraits(
            leaves_machine=not self._is_local,
            gives_attention=False,
            gives_probabilities=self.params.logprobs > 0 and self.params.continues_answers,
        )

    @property
    def _is_local(self) -> bool:
        host = urlsplit(self.params.base_url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def content(self) -> None:
        """Return None, because no outside file is read: address and model name identify the model."""

    def prepare(self, cases: Cases, record_text: RecordText, run: StageRun) -> None:
        """Check that there is a key, if one is needed. The policy folder only names the server."""
        del cases, record_text, run
        self._key()

    def open(self, folder: Path) -> LanguageModel:
        """Open the model on the server. No request is sent yet."""
        del folder
        from eagbench_plugins.policies.openai_model import OpenAIModel
        from eagbench_plugins.policies.openai_server import Patience, Server

        server = Server(
            self.params.base_url,
            self._key(),
            is_local=self._is_local,
            concurrency=self.params.concurrency,
            waits=Patience(self.params.timeout_s, self.params.patience_s, self.params.max_retries),
        )
        return OpenAIModel(server, self.params)

    def _key(self) -> str | None:
        name = self.params.api_key_env
        if name is None:
            return None
        key = os.environ.get(name, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            raise UserError(
                f"the environment variable {name} holds no key",
                where=f"policy openai, {self.params.base_url}",
                hint=f"export {name}=..., or leave out api_key_env for a server that needs no key",
            )
        return key
