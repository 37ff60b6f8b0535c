"""The one class of error that a user can mend."""

from __future__ import annotations


class UserError(Exception):
    """Something in the user's input is wrong: a file, a key, a value, the data.

    The command line prints the message without a traceback and exits with 2. Everything that is not a
    `UserError` is a bug in eagbench or in a plugin and keeps its traceback.

    Args:
        what: What is wrong, in one sentence.
        where: The place the user has to look at (a file and line, a column, a case), if there is one.
        mend: How to put it right, in one sentence.
    """

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        self.what = what
        self.where = where
        self.mend = mend
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole message: where, what, how to mend it."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  {self.mend}" if self.mend else text

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost on the way back from a worker process.
        return (_rebuild, (self.what, self.where, self.mend))


def _rebuild(what: str, where: str | None, mend: str | None) -> UserError:
    return UserError(what, where=where, mend=mend)
