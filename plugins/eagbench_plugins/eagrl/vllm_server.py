"""The part of vLLM's HTTP interface that hands LoRA adapters over and samples tokens from them.

Read in vLLM's source, and not tried with a real server: `load_lora_adapter` and `unload_lora_adapter` exist only where
`VLLM_ALLOW_RUNTIME_LORA_UPDATING` is set; an adapter is then a model of its own name, listed under `models` with its
path as `root`; `return_token_ids` gives the tokens of prompt and text. What a request leaves out (top_p, top_k ...),
the server takes from the model's generation_config.json, so every request says it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2 as httpx

from eagbench.api import UserError

_WHERE = "policy_optimisation, rollouts"
_LONGEST_MESSAGE = 200
_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Written:
    """What the server wrote after one prompt.

    Attributes:
        tokens: The tokens of each text, the one that ended it included.
        was_cut: For each text whether the limit of tokens ended it.
    """

    tokens: list[list[int]]
    was_cut: list[bool]


class VLLMServer:
    """A vLLM server on this machine.

    Args:
        base_url: Address up to the version.
        timeout_s: How long to wait for an answer, in seconds.
        start: The command that starts it, for messages.
    """

    def __init__(self, base_url: str, timeout_s: float, start: str) -> None:
        self._url, self._start = base_url, start
        # No proxy from the environment may carry records off this machine.
        self._http = httpx.Client(timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S, pool=None), trust_env=False)

    def models(self) -> dict[str, str]:
        """Return the path of every model and adapter that the server holds, by name."""
        answer = self._answer("GET", "models", None)
        return {card["id"]: str(card.get("root")) for card in answer["data"]}

    def load(self, name: str, folder: Path) -> None:
        """Have the server load an adapter.

        Raises:
            UserError: It does not do that, or can't load this one.
        """
        response = self._send("POST", "load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        if response.is_success:
            return
        if response.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED) and _is_no_route(response):
            raise self._error("the vLLM server loads no adapters while it runs", f"start it with `{self._start}`")
        raise self._error(
            f"the vLLM server could not load the adapter {folder}: {_message(response)}",
            f"let the server read this folder under the same path, and start it with `{self._start}`",
        )

    def unload(self, name: str) -> None:
        """Have the server drop an adapter; one that it does not hold is dropped already."""
        response = self._send("POST", "unload_lora_adapter", {"lora_name": name})
        if not response.is_success and response.status_code != HTTPStatus.NOT_FOUND:
            raise self._error(
                f"the vLLM server could not unload {name}: {_message(response)}", "restart it, and run again"
            )

    def write(self, name: str, prompt: Sequence[int], n: int, request: Mapping[str, Any]) -> Written:
        """Sample n texts after the tokens of a prompt.

        Args:
            name: The adapter.
            prompt: Tokens.
            n: Number of texts.
            request: Further fields.

        Raises:
            UserError: The adapter is not there, another model answered, or the tokens are not told.
        """
        body = {**request, "model": name, "prompt": list(prompt), "n": n, "return_token_ids": True}
        answer = self._answer("POST", "completions", body)
        if answer.get("model") != name:
            raise self._stale(f"{answer.get('model')} answered a request to {name}")
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        if len(choices) != n or any(not isinstance(choice.get("token_ids"), list) for choice in choices):
            raise self._error(
                "the vLLM server does not tell the tokens that it sampled",
                "take a version of vLLM that knows `return_token_ids`: tokens read from the text may be others",
            )
        if any(choice.get("prompt_token_ids") not in (None, list(prompt)) for choice in choices):
            raise self._error("the vLLM server read another prompt than it was sent", "use an unchanged vLLM server")
        return Written([c["token_ids"] for c in choices], [c["finish_reason"] == "length" for c in choices])

    def check_holds(self, name: str, folder: Path) -> None:
        """Check that the server holds this version of the adapter.

        Raises:
            UserError: It does not.
        """
        held = self.models().get(name)
        if held is None or Path(held) != folder:
            raise self._stale(f"it holds {name} from {held}" if held else f"it does not hold {name} any more")

    def check_serves(self, folder: Path) -> None:
        """Check that the server's own model is the one that is trained.

        Raises:
            UserError: It is another one.
        """
        roots = [root for root in self.models().values() if Path(root).expanduser().resolve() == folder.resolve()]
        if not roots:
            raise self._error(
                "the vLLM server at this address serves another model than the one that is trained",
                f"start it with `{self._start}`, and run again: the run goes on from here",
            )

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        response = self._send(method, path, body)
        if response.status_code == HTTPStatus.NOT_FOUND and body is not None and "model" in body:
            raise self._stale(f"it does not know {body['model']}: {_message(response)}")
        if not response.is_success:
            raise self._error(
                f"the vLLM server refused {path} ({response.status_code}): {_message(response)}",
                f"see the server's log; it should run as `{self._start}`",
            )
        try:
            return response.json()
        except ValueError:
            raise self._error("what answers there does not speak JSON", "give the address of a vLLM server") from None

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        try:
            return self._http.request(method, f"{self._url}/{path}", json=None if body is None else dict(body))
        except httpx.TimeoutException:
            raise self._error(
                f"the vLLM server did not answer {path} in time", "raise `timeout_s`, or see the server's log"
            ) from None
        except httpx.TransportError as error:
            raise self._error(
                f"the vLLM server could not be reached for {path} ({type(error).__name__})",
                f"start it with `{self._start}`, and run again: training goes on from its last checkpoint",
            ) from None

    def _stale(self, what: str) -> UserError:
        return self._error(
            f"the vLLM server would sample from another version of the policy: {what}",
            "let no one else load or unload adapters there, and run again: training goes on from its last checkpoint",
        )

    def _error(self, what: str, hint: str) -> UserError:
        return UserError(what, where=f"{_WHERE} ({self._url})", hint=hint)


def _is_no_route(response: httpx.Response) -> bool:
    """Tell an endpoint that does not exist from an adapter that was not found: FastAPI has a message of its own."""
    try:
        return isinstance(response.json(), dict) and set(response.json()) == {"detail"}
    except ValueError:
        return True


def _message(response: httpx.Response) -> str:
    """Read the message of an error, as vLLM and FastAPI write it."""
    try:
        value = response.json()
    except ValueError:
        return f"status {response.status_code}"
    error = value.get("error", value) if isinstance(value, dict) else value
    found = error.get("message", error.get("detail", error)) if isinstance(error, dict) else error
    return " ".join(str(found).split())[:_LONGEST_MESSAGE]
