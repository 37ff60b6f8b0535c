"""What a fetch leaves in its folder: whole published files and a record, or an error that says what to do."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from eagbench.contracts.data_sources import DataSource, SourceFile
from eagbench.errors import UserError
from eagbench.execution.fetching.fetch import fetch
from eagbench.execution.fetching.record import NAME, Acceptance, Record, read_record
from eagbench.execution.progress import Reporter
from tests.file_server import Fault, FileServer

FILES = {"a.csv": b"one\n" * 20_000, "hosp/b.csv.gz": b"two\n" * 30_000}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SUMS = "".join(f"{sha256(content)} {path}\n" for path, content in FILES.items()).encode()
PINNED = DataSource(
    name="pinned",
    title="Two files",
    url="https://origin.test/files/",
    page="https://origin.test/",
    files=tuple(SourceFile(path=path, sha256=sha256(content)) for path, content in FILES.items()),
    licence="MIT",
    licence_url="https://origin.test/licence",
    citation="Nobody",
)
LISTED = dataclasses.replace(
    PINNED, name="listed", files=tuple(SourceFile(path=path) for path in FILES), checksums="SHA256SUMS.txt"
)


@pytest.fixture
def server() -> Iterator[FileServer]:
    served = FileServer({**FILES, "SHA256SUMS.txt": SUMS})
    yield served
    served.close()


def bring(source: DataSource, folder: Path, place: str | Path) -> Record:
    record = read_record(folder, source) or Record(Acceptance.now("--accept-licence"), {})
    return fetch(source, folder, record, str(place), Reporter(quiet=True))


def whole(folder: Path) -> bool:
    return all((folder / path).read_bytes() == content for path, content in FILES.items())


@pytest.mark.parametrize("source", [PINNED, LISTED])
def test_files_come_whole_and_a_second_call_does_nothing(
    server: FileServer, tmp_path: Path, source: DataSource
) -> None:
    bring(source, tmp_path, server.url)
    assert whole(tmp_path)
    told = json.loads((tmp_path / NAME).read_text())
    vouching = "eagbench" if source is PINNED else "SHA256SUMS.txt"
    assert {file["vouched_by"] for file in told["files"].values()} == {vouching}
    assert told["licence"]["accepted_by"] == "--accept-licence"
    n_asked, before = len(server.asked), (tmp_path / NAME).read_bytes()
    bring(source, tmp_path, server.url)
    assert len(server.asked) == n_asked  # it works without a network
    assert (tmp_path / NAME).read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} - {"SHA256SUMS.txt"} == {"a.csv", "hosp", NAME, ".eagbench-fetch.lock"}


@pytest.mark.parametrize("source", [PINNED, LISTED])
def test_wrong_bytes_of_the_right_length_are_refused(server: FileServer, tmp_path: Path, source: DataSource) -> None:
    wrong = FILES["a.csv"].replace(b"one", b"One")
    server.answer = lambda asked, count: Fault(body=wrong if asked.path == "a.csv" else None)
    with pytest.raises(UserError, match=rf"its SHA-256 is {sha256(wrong)}, not {sha256(FILES['a.csv'])}") as refused:
        bring(source, tmp_path, server.url)
    assert "--from" in (refused.value.hint or "")
    assert not (tmp_path / "a.csv").exists()
    assert not list(tmp_path.rglob("*.partial*"))


def test_parts_of_two_versions_are_fetched_anew(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".a.csv.partial").write_bytes(b"another version" * 100)
    bring(PINNED, tmp_path, server.url)
    assert whole(tmp_path)
    assert [asked.range for asked in server.asked if asked.path == "a.csv"] == ["bytes=1500-", None]


def test_a_refused_file_leaves_those_before_it(server: FileServer, tmp_path: Path) -> None:
    server.answer = lambda asked, count: Fault(status=403 if asked.path.startswith("hosp") else None)
    with pytest.raises(UserError, match="HTTP 403"):
        bring(PINNED, tmp_path, server.url)
    server.answer = lambda asked, count: Fault()
    bring(PINNED, tmp_path, server.url)
    assert whole(tmp_path)
    assert [asked.path for asked in server.asked] == ["a.csv", "hosp/b.csv.gz", "hosp/b.csv.gz"]


def test_a_folder_of_downloaded_files_is_copied_or_taken_as_it_is(tmp_path: Path) -> None:
    by_hand = tmp_path / "downloads"
    for path, content in {**FILES, "SHA256SUMS.txt": SUMS}.items():
        (by_hand / path).parent.mkdir(parents=True, exist_ok=True)
        (by_hand / path).write_bytes(content)
    bring(LISTED, tmp_path / "copied", by_hand)
    assert whole(tmp_path / "copied")
    bring(LISTED, by_hand, by_hand)
    assert whole(by_hand)
    assert (by_hand / NAME).is_file()


def test_a_changed_file_is_fetched_again_and_a_foreign_one_is_kept(server: FileServer, tmp_path: Path) -> None:
    bring(PINNED, tmp_path / "own", server.url)
    (tmp_path / "own" / "a.csv").write_bytes(b"damaged")
    bring(PINNED, tmp_path / "own", server.url)
    assert whole(tmp_path / "own")
    foreign = tmp_path / "foreign" / "a.csv"
    foreign.parent.mkdir()
    foreign.write_bytes(b"somebody's work")
    with pytest.raises(UserError, match="is not the published one"):
        bring(PINNED, tmp_path / "foreign", server.url)
    assert foreign.read_bytes() == b"somebody's work"


def test_a_list_that_is_a_page_or_lacks_a_file(server: FileServer, tmp_path: Path) -> None:
    server.files["SHA256SUMS.txt"] = b"<html>please log in</html>"
    with pytest.raises(UserError, match="no list of checksums"):
        bring(LISTED, tmp_path / "page", server.url)
    server.files["SHA256SUMS.txt"] = SUMS.splitlines(keepends=True)[0]
    with pytest.raises(UserError, match=r"does not list hosp/b.csv.gz"):
        bring(LISTED, tmp_path / "lacks", server.url)
    assert not (tmp_path / "lacks" / "hosp").exists() or not list((tmp_path / "lacks" / "hosp").iterdir())


@pytest.mark.parametrize("line", ["{} *a.csv", "{}  ./a.csv", "{}\ta.csv", " {} a.csv "])
def test_lists_as_different_tools_write_them(tmp_path: Path, line: str) -> None:
    from eagbench.execution.fetching.checksums import read_checksums

    path = tmp_path / "sums"
    path.write_text("# made by hand\n" + line.format(sha256(b"x").upper()) + "\n")
    assert read_checksums(path) == {"a.csv": sha256(b"x")}


def test_two_fetches_into_one_folder(server: FileServer, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".eagbench-fetch.lock"), pytest.raises(UserError, match="another command"):
        bring(PINNED, tmp_path, server.url)


def test_another_sources_folder_and_another_licence(server: FileServer, tmp_path: Path) -> None:
    bring(PINNED, tmp_path, server.url)
    with pytest.raises(UserError, match="holds the files of pinned"):
        read_record(tmp_path, LISTED)
    assert read_record(tmp_path, dataclasses.replace(PINNED, licence="another")) is None
    (tmp_path / NAME).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        read_record(tmp_path, PINNED)


def test_the_password_of_a_mirror_is_not_noted(server: FileServer, tmp_path: Path) -> None:
    place = server.url.replace("http://", "http://someone:a-long-password@")
    bring(PINNED, tmp_path, place)
    assert "a-long-password" not in (tmp_path / NAME).read_text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(server: FileServer, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        bring(PINNED, tmp_path / "new", server.url)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"url": "https://origin.test/files"}, "ends in /"),
        ({"files": ()}, "has files"),
        ({"files": (SourceFile(path="a.csv"),)}, "neither a hash nor a list"),
        ({"name": "../up"}, "no name to type"),
        ({"files": (SourceFile(path="a"),), "checksums": "S", "url": "http://origin.test/"}, "https"),
    ],
)
def test_a_source_is_checked_when_it_is_declared(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PINNED, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["../a", "/a", "", "a/../../b", "a\\b"])
def test_a_file_lies_below_its_folder(path: str) -> None:
    with pytest.raises(ValueError, match="path below its url"):
        SourceFile(path=path)
