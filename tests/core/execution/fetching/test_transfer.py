"""Transfers over real sockets: cut off, refused, wrong, slow; they go on where they stopped."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eagbench.errors import UserError
from eagbench.execution.fetching.partial import Partial
from eagbench.execution.fetching.transfer import PAUSES, Transfer, new_client
from eagbench.execution.progress import Reporter
from tests.file_server import Answer, Asked, Fault, FileServer

CONTENT = random.Random(0).randbytes(150_000)


class Transferring:
    """A transfer from a server of its own; pauses are noted, not waited for."""

    def __init__(self, folder: Path, answer: Answer) -> None:
        self.server = FileServer({"a.bin": CONTENT}, answer)
        self.url = f"{self.server.url}/a.bin"
        self.pauses: list[float] = []
        self.client = new_client()
        self.transfer = Transfer(self.client, Reporter(quiet=True), "by hand", self.pauses.append)
        self.partial = Partial(folder / "a.bin")

    def bring(self) -> bytes:
        self.transfer.bring(self.url, self.partial)
        self.partial.finish()
        return (self.partial.place).read_bytes()

    @property
    def ranges(self) -> list[str | None]:
        return [asked.range for asked in self.server.asked]


@pytest.fixture
def transferring(tmp_path: Path) -> Iterator[Any]:
    made: list[Transferring] = []

    def make(answer: Answer) -> Transferring:
        made.append(Transferring(tmp_path, answer))
        return made[-1]

    yield make
    for one in made:
        one.client.close()
        one.server.close()


def test_a_faultless_transfer_leaves_nothing_but_the_file(transferring: Any, tmp_path: Path) -> None:
    one = transferring(lambda asked, count: Fault())
    assert one.bring() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert one.pauses == []


def test_it_goes_on_where_the_connection_was_closed(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault(cut=60_000) if count < 2 else Fault())
    assert one.bring() == CONTENT
    assert one.ranges == [None, "bytes=60000-", "bytes=120000-"]
    assert {asked.if_range for asked in one.server.asked[1:]} == {one.server.tag("a.bin")}
    assert one.server.sent == len(CONTENT)  # no byte twice


def test_without_a_length_the_end_of_the_connection_is_the_end(transferring: Any) -> None:
    assert transferring(lambda asked, count: Fault(chunked=True)).bring() == CONTENT


def test_a_server_that_ignores_ranges_sends_it_anew(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault(cut=60_000) if not count else Fault(no_ranges=True))
    assert one.bring() == CONTENT
    assert one.server.sent == len(CONTENT) + 60_000


def test_a_file_that_changed_meanwhile_is_taken_from_the_beginning(transferring: Any) -> None:
    changed = CONTENT[::-1]

    def answer(asked: Asked, count: int) -> Fault:
        if count == 1:
            one.server.files["a.bin"] = changed
        return Fault(cut=60_000) if not count else Fault()

    one = transferring(answer)
    assert one.bring() == changed


def test_another_part_than_was_asked_for_is_not_taken(transferring: Any) -> None:
    faults = {0: Fault(cut=60_000), 1: Fault(part=70_000)}
    one = transferring(lambda asked, count: faults.get(count, Fault()))
    assert one.bring() == CONTENT
    assert one.ranges == [None, "bytes=60000-", None]


def test_a_file_that_was_whole_before_is_not_sent_again(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault())
    one.partial.file.write_bytes(CONTENT)
    assert one.bring() == CONTENT
    assert one.server.sent == 0


def test_more_than_the_server_has_begins_anew(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault())
    one.partial.file.write_bytes(CONTENT + b"more")
    assert one.bring() == CONTENT


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again(transferring: Any, status: int) -> None:
    one = transferring(lambda asked, count: Fault(status=status) if count < 3 else Fault())
    assert one.bring() == CONTENT
    assert one.pauses == list(PAUSES[:3])


def test_the_server_says_how_long_to_wait(transferring: Any) -> None:
    headers = {"Retry-After": "7"}
    one = transferring(lambda asked, count: Fault(status=503, headers=headers) if not count else Fault())
    one.bring()
    assert one.pauses == [7.0]


@pytest.mark.parametrize(("status", "why"), [(401, "login"), (403, "refuses"), (404, "no such"), (410, "no longer")])
def test_what_will_not_pass_is_refused_at_once(transferring: Any, status: int, why: str) -> None:
    one = transferring(lambda asked, count: Fault(status=status))
    with pytest.raises(UserError, match=rf"{why}.*\(HTTP {status}\)") as refused:
        one.bring()
    assert (len(one.server.asked), refused.value.hint) == (1, "by hand")


def test_it_gives_up_after_attempts_that_bring_nothing(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault(cut=60_000) if not count else Fault(cut=0))
    with pytest.raises(UserError, match="after 5 attempts that brought nothing"):
        one.bring()
    assert one.pauses == list(PAUSES)
    assert one.partial.size == 60_000  # the same command goes on


def test_a_server_that_never_gets_further_does_not_keep_it_for_ever(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault(no_ranges=True, cut=60_000))
    with pytest.raises(UserError, match="attempts that brought nothing"):
        one.bring()
    assert len(one.server.asked) == 1 + len(PAUSES)


def test_nobody_listens(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault())
    one.server.close()
    with pytest.raises(UserError, match="attempts that brought nothing"):
        one.bring()
    assert one.pauses == list(PAUSES)


def test_it_follows_a_redirection(transferring: Any) -> None:
    def answer(asked: Asked, count: int) -> Fault:
        if asked.path == "a.bin":
            return Fault(status=302, headers={"Location": "/b.bin"})
        return Fault(cut=60_000) if count < 3 else Fault()

    one = transferring(answer)
    one.server.files["b.bin"] = CONTENT
    assert one.bring() == CONTENT
    assert [asked.range for asked in one.server.asked if asked.path == "b.bin"] == [None, "bytes=60000-"]


def test_a_circle_of_redirections_ends(transferring: Any) -> None:
    one = transferring(lambda asked, count: Fault(status=302, headers={"Location": "/a.bin"}))
    with pytest.raises(UserError, match=r"[Rr]edirect"):
        one.bring()


def test_bytes_are_those_that_are_stored(transferring: Any) -> None:
    """A server may declare a .csv.gz as CSV that it sends compressed; unpacked it would be another file."""
    import gzip

    packed = gzip.compress(b"a,b\n1,2\n")
    one = transferring(lambda asked, count: Fault(headers={"Content-Encoding": "gzip", "Content-Type": "text/csv"}))
    one.server.files["a.bin"] = packed
    assert one.bring() == packed
    assert one.server.asked[0].accept_encoding == "identity"


def test_an_encrypted_address_is_not_left(tmp_path: Path) -> None:
    import httpx2 as httpx

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.scheme == "https":
            return httpx.Response(302, headers={"Location": "http://elsewhere.test/a.bin"})
        return httpx.Response(200, content=CONTENT)

    with httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True) as client:
        transfer = Transfer(client, Reporter(quiet=True), "by hand")
        with pytest.raises(UserError, match=r"unencrypted address, http://elsewhere\.test"):
            transfer.bring("https://origin.test/a.bin", Partial(tmp_path / "a.bin"))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_noticed_before(transferring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    free = shutil.disk_usage(".")._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    one = transferring(lambda asked, count: Fault())
    with pytest.raises(UserError, match=r"150.0 kB are still to come, and 1.0 MB are free"):
        one.bring()
    assert one.partial.size == 0


def test_a_proxy_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = FileServer({"http://origin.test/a.bin": CONTENT})
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "")
    try:
        with new_client() as client:
            Transfer(client, Reporter(quiet=True), "by hand").bring(
                "http://origin.test/a.bin", Partial(tmp_path / "a.bin")
            )
    finally:
        proxy.close()
    assert [asked.path for asked in proxy.asked] == ["http://origin.test/a.bin"]


@pytest.mark.parametrize("proxy", ["gopher://proxy.test:70", "http://proxy.test:port"])
def test_a_proxy_that_cannot_be_one(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UserError, match="proxy can't be used"):
        new_client()


def test_any_cut_gives_the_same_file(transferring: Any) -> None:
    cuts = random.Random(1)
    for _ in range(5):
        sizes = itertools.cycle([cuts.randrange(1, 70_000) for _ in range(3)])
        one = transferring(lambda asked, count, sizes=sizes: Fault(cut=next(sizes)))
        assert hashlib.sha256(one.bring()).digest() == hashlib.sha256(CONTENT).digest()
        one.partial.place.unlink()
