"""Tells a disk that takes no more from a bug, whichever library noticed it.

Each library says it in its own way (`docs/pitfalls.md`): with an `errno`, with the system's words in an exception of
its own, or only that fewer bytes were written than it wanted.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from eagbench.errors import UserError

# EX_IOERR of sysexits.h.
EXIT_DISK_FULL = 74
_CAUSES = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "a file would become larger than is allowed here",
    errno.EROFS: "the file system can only be read",
}
# Python's tempfile where no folder takes four bytes; SQLite, NumPy, PyTorch, LightGBM and XGBoost whose write was cut
# short.
_WORDS_OF_LIBRARIES = re.compile(
    r"No usable temporary directory found|database or disk is full|\d+ requested and \d+ written"
    r"|\[enforce fail at inline_container\.cc|PytorchStreamWriter failed writing"
    r"|Cannot write binary data to .*, wrote \d+ of \d+ bytes|FileStream\.Write incomplete"
)
_OS_ERROR = re.compile(r"\[[Ee]rrno (\d+)\]|\(os error (\d+)\)")
_FULL_BELOW = 2**20  # bytes


class DiskFullError(Exception):
    """Nothing more can be written to a folder: neither a bug nor wrong input, and what is finished is kept.

    Args:
        what: What is wrong, in a few words.
        folder: The folder; None if nobody knows which.
    """

    def __init__(self, what: str, folder: Path | None = None) -> None:
        super().__init__(what, folder)  # both, so that they come back from a worker process
        self.what, self.folder = what, folder

    def __str__(self) -> str:
        """Say it in one sentence."""
        return self.what if self.folder is None else f"{self.folder}: {self.what}"


def as_disk_full(error: BaseException, folders: Sequence[Path] = ()) -> DiskFullError | None:
    """Return what a disk that takes no more would raise, if that is what an error says.

    Args:
        error: The error, or one that was raised because of it.
        folders: Where it may have happened, if the error does not say: the first whose disk is full, else the first.
    """
    for cause in _chain(error):
        if isinstance(cause, DiskFullError):
            return cause
        what = _what(cause, is_wrapped=isinstance(error, UserError))
        if what is not None:
            return DiskFullError(what, _folder_of(cause) or _fullest(folders))
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _what(error: BaseException, *, is_wrapped: bool) -> str | None:
    """Say what is wrong with the disk; None if the error is about something else."""
    if isinstance(error, UserError):
        return None
    number = error.errno if isinstance(error, OSError) and error.errno in _CAUSES else _number_in(str(error))
    if number == errno.EROFS and is_wrapped:
        return None  # a folder that can't be written is the user's mistake, where it is looked for
    if number not in _CAUSES and _WORDS_OF_LIBRARIES.search(str(error)):
        number = errno.ENOSPC
    return f"{_CAUSES[number]} ({os.strerror(number)})" if number in _CAUSES else None


def _number_in(text: str) -> int | None:
    found = _OS_ERROR.search(text)
    return int(found[1] or found[2]) if found else None


def _folder_of(error: BaseException) -> Path | None:
    name = error.filename if isinstance(error, OSError) else None
    if not isinstance(name, str | os.PathLike):
        return None
    path = Path(name).absolute()
    return path if path.is_dir() else path.parent


def _fullest(folders: Sequence[Path]) -> Path | None:
    return next((folder for folder in folders if _is_full(folder)), folders[0] if folders else None)


def _is_full(folder: Path) -> bool:
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    status = os.statvfs(existing)
    return status.f_bavail * status.f_frsize < _FULL_BELOW
