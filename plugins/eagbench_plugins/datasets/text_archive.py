"""Reads the text files of a .tar.gz within a budget that is checked before anything is read.

6.5 MB of gzip can hold 2.6 GB. So what a member's header says is added up first, and no single read of the archive may
be larger than the largest member: a PAX header or a long name is held in memory as a whole by `tarfile`.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from eagbench.api import UserError
from eagbench_plugins.datasets.passed_over import is_passed_over

# What `tarfile` raises for headers that contradict themselves, beside its own errors.
_DAMAGED = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, OverflowError, IndexError, KeyError)


@dataclass(frozen=True, slots=True)
class Budget:
    """What an archive may hold.

    Attributes:
        members: Files and folders.
        member_bytes: Size of the largest file.
        total_bytes: Size of the archive when unpacked.
    """

    members: int
    member_bytes: int
    total_bytes: int


class _Bounded:
    """The unpacked archive, for `tarfile`: no read is larger than a member, and no place lies behind the budget."""

    def __init__(self, stream: gzip.GzipFile, budget: Budget, where: str, hint: str) -> None:
        self._stream, self._budget, self._where, self._hint = stream, budget, where, hint

    def read(self, size: int) -> bytes:
        if not 0 <= size <= self._budget.member_bytes + tarfile.RECORDSIZE:
            raise self._too_much(f"a header of more than {self._budget.member_bytes:,} bytes")
        return self._stream.read(size)

    def seek(self, position: int) -> int:
        if position > self._budget.total_bytes:
            raise self._too_much(f"more than {self._budget.total_bytes:,} bytes")
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()

    def _too_much(self, what: str) -> UserError:
        return UserError(f"the archive holds {what} when unpacked", where=self._where, hint=self._hint)


def texts_of(archive: Path, budget: Budget, hint: str) -> Iterator[tuple[str, bytes | None]]:
    """Read the `.txt` files of an archive, in its order.

    Args:
        archive: The .tar.gz.
        budget: What it may hold.
        hint: How to mend it, for error messages.

    Yields:
        Name and content of each; None for a hidden file, which is passed over.

    Raises:
        UserError: It is damaged; exceeds the budget; holds a link, a device or a file with holes; names a place outside
            of itself, or a file twice.
    """
    where = str(archive)
    try:
        with gzip.open(archive) as stream:
            bounded = _Bounded(stream, budget, where, hint)
            with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as tar:
                yield from _texts(tar, budget, where, hint)
    except _DAMAGED as error:
        raise UserError(f"is corrupt or not a gzip archive ({error})", where=where, hint=hint) from error


def _texts(tar: tarfile.TarFile, budget: Budget, where: str, hint: str) -> Iterator[tuple[str, bytes | None]]:
    names: set[str] = set()
    total = 0
    for count, member in enumerate(tar, start=1):
        total += member.size
        wrong = _wrong(member, budget)
        if count > budget.members:
            wrong = f"the archive holds more than {budget.members:,} files"
        elif total > budget.total_bytes:
            wrong = f"the archive holds more than {budget.total_bytes:,} bytes when unpacked"
        elif member.name in names and not member.isdir():
            wrong = f"the archive holds '{member.name}' twice"
        names.add(member.name)
        if wrong is not None:
            raise UserError(wrong, where=where, hint=hint)
        if not member.isfile() or not member.name.endswith(".txt"):
            continue
        if is_passed_over(member.name):
            yield member.name, None
            continue
        content = tar.extractfile(member)
        assert content is not None
        text = content.read()
        if len(text) != member.size:
            raise UserError(f"the archive ends within '{member.name}'", where=where, hint=hint)
        yield member.name, text


def _wrong(member: tarfile.TarInfo, budget: Budget) -> str | None:
    """Say what is wrong with a member by its header alone."""
    path = PurePosixPath(member.name)
    if member.issym() or member.islnk():
        return f"the archive holds a link, '{member.name}'"
    if not (member.isfile() or member.isdir()) or member.issparse():
        return f"the archive holds '{member.name}', which is no plain file"
    if path.is_absolute() or ".." in path.parts:
        return f"the archive names a place outside of itself, '{member.name}'"
    if member.size > budget.member_bytes:
        return f"'{member.name}' in the archive has {member.size:,} bytes, more than {budget.member_bytes:,}"
    return None
