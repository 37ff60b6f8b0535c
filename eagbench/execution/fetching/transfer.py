"""Transfers one file over HTTP: goes on where an earlier attempt stopped, and tries again what may succeed later.

Ranges, `If-Range` and validators as in RFC 9110, sections 13 and 14. Bytes are taken as the origin stores them, because
some servers declare a `.csv.gz` as gzip-encoded CSV, which an HTTP library then unpacks.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx2 as httpx

from eagbench.config.secrets import masked_text
from eagbench.errors import UserError
from eagbench.execution.fetching.meter import metered, size_in_words
from eagbench.execution.fetching.partial import Partial
from eagbench.execution.progress import Reporter

# Seconds before the next attempt, after one that brought nothing new.
PAUSES = (1.0, 2.0, 4.0, 8.0)
_LONGEST_PAUSE = 60.0
_MAY_SUCCEED_LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
_TIMEOUT = httpx.Timeout(60.0, connect=20.0)
_KEEP_FREE = 64 * 10**6  # bytes
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_WHY = {
    401: "the server wants a login",
    403: "the server refuses the file",
    404: "the server has no such file",
    407: "the proxy wants a login",
    410: "the server no longer has the file",
}


def new_client() -> httpx.Client:
    """Make a client that heeds the environment's proxies and follows redirections.

    Raises:
        UserError: A proxy of the environment can't be one.
    """
    try:
        return httpx.Client(follow_redirects=True, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
    except (ValueError, ImportError, httpx.InvalidURL) as error:  # ImportError: SOCKS needs another package
        raise UserError(
            f"the environment's proxy can't be used: {error}",
            where="HTTPS_PROXY, HTTP_PROXY or ALL_PROXY",
            hint="write it as http://host:port, or unset it",
        ) from error


class _TryAgainError(Exception):
    """The transfer stopped for a reason that may pass.

    Args:
        what: The reason.
        after: Seconds for which the server asks; None if it does not say.
    """

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


@dataclass(frozen=True, slots=True)
class Transfer:
    """Brings files from a server.

    Attributes:
        client: Sends the requests.
        reporter: Shows progress, and says what is tried again.
        by_hand: How the user can do without, for error messages.
        pause: Waits some seconds.
    """

    client: httpx.Client
    reporter: Reporter
    by_hand: str
    pause: Callable[[float], None] = time.sleep

    def bring(self, url: str, partial: Partial) -> bool:
        """Transfer a file, or the rest of it.

        Args:
            url: Its address.
            partial: What is here of it.

        Returns:
            Whether it was put together from an earlier attempt and this one.

        Raises:
            UserError: The server refuses, does not answer, or breaks off again and again; or there is no room.
        """
        was_begun, most, vain = partial.size > 0, partial.size, 0
        while True:
            try:
                self._attempt(url, partial)
                return was_begun
            except (_TryAgainError, httpx.TransportError) as error:
                if partial.size > most:  # it gets on
                    most, vain = partial.size, 0
                what = _ERRNO.sub("", str(error)) or type(error).__name__
                if vain == len(PAUSES):
                    raise UserError(
                        f"the file can't be had after {vain + 1} attempts that brought nothing: {what}",
                        where=masked_text(url),
                        hint=f"the same command goes on where this stopped; {self.by_hand}",
                    ) from error
                asked = error.after if isinstance(error, _TryAgainError) else None
                seconds = PAUSES[vain] if asked is None else asked
                vain, was_begun = vain + 1, partial.size > 0
                self.reporter.say(f"{partial.place.name}: {what}; trying again in {seconds:g} s")
                self.pause(seconds)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise UserError(str(error), where=masked_text(url), hint=self.by_hand) from error

    def _attempt(self, url: str, partial: Partial) -> None:
        """Ask once for what is missing, and write what comes."""
        here, headers = partial.size, {}
        if here:
            headers["Range"] = f"bytes={here}-"
            validator = partial.validator(url)
            if validator:
                headers["If-Range"] = validator
        with self.client.stream("GET", url, headers=headers) as response:
            self._check_scheme(url, response)
            if response.status_code == 416 and here:
                if response.headers.get("Content-Range") == f"bytes */{here}":
                    return  # nothing is missing
                partial.drop()
                raise _TryAgainError("the file there is shorter than what is here of it: from the beginning", 0.0)
            self._check_status(url, response)
            total = self._begin(url, response, partial)
            self._check_room(partial, total)
            with (
                metered(self.reporter, partial.place.name, partial.size, total) as advance,
                partial.open() as out,
            ):
                # As they come: in chunks of a size, the last bytes before a broken connection would be lost.
                for chunk in response.iter_raw():
                    out.write(chunk)
                    advance(len(chunk))
        if total is not None and partial.size != total:
            raise _TryAgainError(f"{partial.size} bytes came, {total} were announced")

    def _begin(self, url: str, response: httpx.Response, partial: Partial) -> int | None:
        """Have the partial file stand where the answer begins, and return the whole file's size if it is known."""
        here = partial.size
        if response.status_code == 206:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if found is None or int(found[1]) != here:
                partial.drop()
                raise _TryAgainError("the server sent another part than it was asked for: from the beginning", 0.0)
            return None if found[2] == "*" else int(found[2])
        if here:
            self.reporter.say(f"{partial.place.name}: the server sends it from the beginning")
            partial.drop()
        partial.begin(url, _validator(response))
        length = response.headers.get("Content-Length", "")
        return int(length) if length.isdigit() else None

    def _check_status(self, url: str, response: httpx.Response) -> None:
        status = response.status_code
        if status in _MAY_SUCCEED_LATER:
            after = response.headers.get("Retry-After", "")
            asked = min(float(after), _LONGEST_PAUSE) if after.isdigit() else None
            raise _TryAgainError(f"the server answers {status} {response.reason_phrase}".rstrip(), asked)
        if status not in (200, 206):
            why = _WHY.get(status, "the server does not send the file")
            raise UserError(f"{why} (HTTP {status})", where=masked_text(url), hint=self.by_hand)

    def _check_scheme(self, url: str, response: httpx.Response) -> None:
        if url.startswith("https://") and response.url.scheme != "https":
            raise UserError(
                f"the server redirects to an unencrypted address, {response.url.scheme}://{response.url.host}",
                where=masked_text(url),
                hint=self.by_hand,
            )

    def _check_room(self, partial: Partial, total: int | None) -> None:
        folder = partial.place.parent
        free = shutil.disk_usage(folder).free
        missing = 0 if total is None else total - partial.size
        if missing and free < missing + _KEEP_FREE:
            raise UserError(
                f"{size_in_words(missing)} are still to come, and {size_in_words(free)} are free",
                where=str(folder),
                hint="make room, or choose another folder with --to",
            )


def _validator(response: httpx.Response) -> str:
    """Return what identifies this version of the file: a strong entity tag, else the date of its last change."""
    tag = response.headers.get("ETag", "")
    if tag and not tag.startswith("W/"):  # a weak one means no equal bytes
        return str(tag)
    return str(response.headers.get("Last-Modified", ""))
