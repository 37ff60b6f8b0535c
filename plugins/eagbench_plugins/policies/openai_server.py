"""Sends one request to a server and retries over temporary failures: busy, broken, slow, restarted, unreachable."""

from __future__ import annotations

import email.utils
import math
import random
import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import httpx2 as httpx

from eagbench.api import UserError

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_CONNECT_S = 10.0
_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT = 429, 408


class CalledOffError(Exception):
    """A request was not sent, or not repeated, because another one had failed permanently."""


class Server:
    """A server, used from several threads.

    A request that was answered by 429, 408 or 5xx, or not within `timeout_s`, is repeated up to `max_retries` times.
    One that can't be delivered (no connection, or a broken one) is repeated until `patience_s` have passed. Waits grow
    from half a second to half a minute, at random within a factor of two, and are never shorter than Retry-After says.

    Args:
        base_url: Address up to the version.
        key: Sent as a bearer token; None for none. It is removed from the server's messages.
        is_local: Whether the server is on this machine. If so, no proxy is used.
        concurrency: Maximum number of connections.
        timeout_s: How long to wait for an answer, in seconds.
        patience_s: How long to wait for a server that can't be reached, in seconds.
        max_retries: How often a request is repeated.
    """

    # Servers that were given up in this process: the next stage tries once and does not wait its patience out again.
    _given_up: ClassVar[set[str]] = set()

    def __init__(
        self,
        base_url: str,
        key: str | None,
        *,
        is_local: bool,
        concurrency: int,
        timeout_s: float,
        patience_s: float,
        max_retries: int,
    ) -> None:
        self.base_url, self.concurrency = base_url, concurrency
        self._key, self._timeout_s, self._patience_s, self._max_retries = key, timeout_s, patience_s, max_retries
        self._http = httpx.Client(
            headers={} if key is None else {"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s), pool=None),
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
            CalledOffError: `called_off` was set.
        """
        retries, sent, silent_since = 0, 0, None
        patience = 0.0 if self.base_url in self._given_up else self._patience_s
        while not called_off.is_set():
            at_least, at_most = 0.0, math.inf
            sent += 1
            try:
                response = self._http.post(f"{self.base_url}/{path}", json=dict(body))
            except (httpx.ReadTimeout, httpx.WriteTimeout):
                retries, silent_since = retries + 1, None
                reason = f"the server did not answer within {self._timeout_s:g} s"
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
                patience = self._patience_s
                if response.is_success:
                    return self._json(response), sent
                status = response.status_code
                if status not in {_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT} and status < 500:
                    raise self._refused(response)
                retries, silent_since = retries + 1, None
                reason = f"the server answered {status}{self._said(response)}"
                at_least = _retry_after(response.headers.get("retry-after"))
                if at_least > self._patience_s:
                    raise self._failed(f"{reason} and wants to be left alone for {at_least:.0f} s", _LATER)
            if retries > self._max_retries:
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

    def _refused(self, response: httpx.Response) -> UserError:
        status = response.status_code
        if status in {401, 403}:
            what = "the server asks for a key" if self._key is None else "the server does not accept the key"
            return self._failed(f"{what} ({status})", "name the variable that holds a valid key in api_key_env")
        if response.is_redirect:
            return self._failed(f"the server sends requests elsewhere ({status})", "give the address it sends to")
        return self._failed(
            f"the server refused a request ({status}){self._said(response)}",
            "check model, endpoint and extra against what the server knows",
        )

    def _said(self, response: httpx.Response) -> str:
        """Extract the server's message, without the key. The whole answer may repeat the patient's record."""
        try:
            value = response.json()
        except ValueError:
            return ""
        for name in ("error", "detail", "message"):
            value = value.get(name, value) if isinstance(value, dict) else value
        if not isinstance(value, str):
            return ""
        text = " ".join(value.split())
        if self._key is not None:
            text = text.replace(self._key, "***")
        return f": {text[:200]}"

    def _failed(self, what: str, hint: str) -> UserError:
        return UserError(what, where=f"policy openai, {self.base_url}", hint=hint)


_START_AGAIN = "start it and run the same command again: what it has answered is kept and not asked again"
_LATER = "run the same command again later: what it has answered is kept and not asked again"


def _retry_after(header: str | None) -> float:
    """Read Retry-After as seconds from a number or a date (RFC 9110, section 10.2.3); 0 if it is neither."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        return float(header)
    try:
        date = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return 0.0
    return max(0.0, date.timestamp() - time.time())
