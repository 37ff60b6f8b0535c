"""Where the files of a data set come from: declared by the data set, brought by `eagbench data fetch`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, ClassVar, Protocol, runtime_checkable

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file at the origin.

    Attributes:
        path: Its path below `DataSource.url`, and below the folder that it is fetched into.
        sha256: Its SHA-256 in hexadecimal, if the data set's author has the published file; empty if the origin's own
            list of checksums has to do.
    """

    path: str
    sha256: str = ""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        if not parts or ".." in parts or parts[0].startswith("/") or "\\" in self.path:
            raise ValueError(f"a source's file is a path below its url, not {self.path!r}")
        if self.sha256 and not _SHA256.fullmatch(self.sha256):
            raise ValueError(f"the SHA-256 of {self.path} is 64 hexadecimal digits, not {self.sha256!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSource:
    """A published set of files that a data set reads.

    Attributes:
        name: What the user types: `eagbench data fetch NAME`.
        title: What it is, in a few words.
        url: The folder of the files, which ends in `/`. It is `https` unless every file has a hash.
        page: The page that a reader opens in a browser.
        files: The files that the data set reads; no others are fetched.
        licence: Its name and version, as the page has it.
        licence_url: Its text.
        citation: Whom users have to cite.
        checksums: The origin's list of checksums, a path below `url` in the form of `sha256sum`. It is needed if a file
            has no hash of its own.
        params: What a benchmark's `data:` needs beside `name` and `root`.
    """

    name: str
    title: str
    url: str
    page: str
    files: tuple[SourceFile, ...]
    licence: str
    licence_url: str
    citation: str
    checksums: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        has_all = all(file.sha256 for file in self.files)
        _check(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", self.name) is not None, f"no name to type: {self.name!r}")
        _check(bool(self.files), f"{self.name}: a source has files")
        _check(self.url.endswith("/"), f"{self.name}: the url ends in /, not as {self.url!r}")
        _check(has_all or bool(self.checksums), f"{self.name}: a file has neither a hash nor a list of checksums")
        _check(has_all or self.url.startswith("https://"), f"{self.name}: without hashes the url is https")


@runtime_checkable
class FetchableDataset(Protocol):
    """A data set that says where its files are published, in a class attribute."""

    name: ClassVar[str]
    sources: ClassVar[tuple[DataSource, ...]]


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
