"""Sends one request to a server and retries over temporary failures: busy, broken, slow, restarted, unreachable."""

from __future__ import annotations

import email.utils
import math
import random
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx2 as httpx

from eagbench.api import UserError
from eagbench_plugins.policies.openai_errors import ServerError, error_in_success, error_of_status

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_CONNECT_S = 10.0
# Of a server's message no more is shown: it may repeat the patient's record.
_LONGEST_MESSAGE = 200


class CalledOffError(Exception):
    """A request was not sent, or not repeated, because another one had failed permanently."""


class TooLongError(Exception):
    """The server refused one prompt because it is longer than the model reads."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        timeout_s: How long to wait for an answer, in seconds.
        patience_s: How long to wait for a server that can't be reached, in seconds.
        max_retries: How often a request is repeated.
    """

    timeout_s: float
    patience_s: float
    max_retries: int


class Server:
    """A server, used from several threads.

    A request that was answered by 429, 408 or 5xx, or by 200 with such an error inside, or not within `timeout_s`, is
    repeated up to `max_retries` times. One that can't be delivered (no connection, or a broken one) is repeated until
    `patience_s` have passed. Waits grow from half a second to half a minute, at random within a factor of two, and are
    never shorter than Retry-After says.

    Args:
        base_url: Address up to the version.
        key: Sent as a bearer token; None for none. It is removed from the server's messages.
        is_local: Whether the server is on this machine. If so, no proxy is used.
        concurrency: Maximum number of connections.
        waits: How long to wait, and how often to repeat.
    """

    # Servers that were given up in this process: the next stage tries once and does not wait its patience out again.
    _given_up: ClassVar[set[str]] = set()

    def __init__(self, base_url: str, key: str | None, *, is_local: bool, concurrency: int, waits: Patience) -> None:
        self.base_url, self.concurrency = base_url, concurrency
        self._key, self._waits = key, waits
        self._http = httpx.Client(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(waits.timeout_s, connect=min(_CONNECT_S, waits.timeout_s), pool=None),
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            # A proxy from the environment would carry what was meant for this machine off it.
            trust_env=not is_local,
            # Records and key go to the address that the benchmark names, and nowhere else.
            follow_redirects=False,
        )

    def post(self, path: str, body: Mapping[str, Any], called_off: threading.Event) -> tuple[Any, int]:
        """Send a request until it is answered.

        Args:
            path: Below the base address.
            body: JSON values.
            called_off: Ends the waiting once it is set: another request has failed permanently.

        Returns:
            The answer's JSON value, and how often the request was sent.

        Raises:
            UserError: The server refuses the request, or has failed or been unreachable for too long.
            TooLongError: The server refuses this prompt because of its length.
            CalledOffError: `called_off` was set.
        """
        retries, sent, silent_since = 0, 0, None
        patience = 0.0 if self.base_url in self._given_up else self._waits.patience_s
        while not called_off.is_set():
            at_least, at_most = 0.0, math.inf
            sent += 1
            try:
                response = self._http.post(f"{self.base_url}/{path}", json=dict(body))
            except (httpx.ReadTimeout, httpx.WriteTimeout):
                retries, silent_since = retries + 1, None
                reason = f"the server did not answer within {self._waits.timeout_s:g} s"
            except (httpx.TransportError, httpx.DecodingError) as error:
                now = time.monotonic()
                silent_since = now if silent_since is None else silent_since
                at_most = silent_since + patience - now
                reason = f"the server could not be reached for {now - silent_since:.0f} s ({type(error).__name__})"
                if at_most <= 0:
                    self._given_up.add(self.base_url)
                    raise self._failed(reason, _START_AGAIN) from None
            else:
                self._given_up.discard(self.base_url)
                patience = self._waits.patience_s
                value = self._json(response) if response.is_success else None
                failure = self._error(response, value)
                if failure is None:
                    return value, sent
                if not failure.passes:
                    raise self._refused(response, failure)
                retries, silent_since = retries + 1, None
                reason = self._answered(response, failure)
                at_least = _retry_after(response.headers.get("retry-after"))
                if at_least > self._waits.patience_s:
                    raise self._failed(f"{reason} and wants to be left alone for {at_least:.0f} s", _LATER)
            if retries > self._waits.max_retries:
                raise self._failed(f"{reason}, {sent} times", _LATER)
            wait = min(_FIRST_WAIT_S * 2.0 ** min(sent - 1, 10), _LONGEST_WAIT_S) * random.uniform(0.5, 1)
            called_off.wait(min(max(wait, at_least), at_most))
        raise CalledOffError

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._failed(
                "what answers there does not speak JSON", "give the address of an OpenAI-compatible server, up to /v1"
            ) from None

    @staticmethod
    def _error(response: httpx.Response, value: Any) -> ServerError | None:
        """Read the error of an answer; None if it is none."""
        if response.is_success:
            return error_in_success(value)
        try:
            return error_of_status(response.status_code, response.json())
        except ValueError:
            return error_of_status(response.status_code, None)

    def _refused(self, response: httpx.Response, error: ServerError) -> UserError | TooLongError:
        if error.is_too_long:
            return TooLongError(self._shown(error))
        status = error.status
        if status in {401, 403}:
            what = "the server asks for a key" if self._key is None else "the server does not accept the key"
            return self._failed(f"{what} ({status})", "name the variable that holds a valid key in api_key_env")
        if response.is_redirect:
            return self._failed(f"the server sends requests elsewhere ({status})", "give the address it sends to")
        what = self._answered(response, error)
        if not response.is_success:
            what = f"the server refused a request ({status}){self._shown(error)}"
        return self._failed(what, "check model, endpoint and extra against what the server knows")

    def _answered(self, response: httpx.Response, error: ServerError) -> str:
        if not response.is_success:
            return f"the server answered {error.status}{self._shown(error)}"
        code = f" {error.status}" if error.status else ""
        return f"the server answered {response.status_code} with an error{code}{self._shown(error)}"

    def _shown(self, error: ServerError) -> str:
        """Return the server's message after a colon, without the key and not at length."""
        text = error.message
        if self._key is not None:
            text = text.replace(self._key, "***")
        return f": {text[:_LONGEST_MESSAGE]}" if text else ""

    def _failed(self, what: str, hint: str) -> UserError:
        return UserError(what, where=f"policy openai, {self.base_url}", hint=hint)


_START_AGAIN = "start it and run the same command again: what it has answered is kept and not asked again"
_LATER = "run the same command again later: what it has answered is kept and not asked again"


def _retry_after(header: str | None) -> float:
    """Read Retry-After as seconds from a number or a date (RFC 9110, section 10.2.3); 0 if it is neither.

    The standard knows whole seconds only; servers that write `3.5` exist.
    """
    if header is None:
        return 0.0
    if re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?\s*", header):
        return float(header)
    try:
        date = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, date.timestamp() - time.time())
