"""The class of errors that a user can fix, and what is no error: the user's wish to stop."""

from __future__ import annotations

import signal
import warnings

STOPS = {signal.SIGINT: "interrupted", signal.SIGTERM: "stopped by SIGTERM"}


class UserError(Exception):
    """An error in the user's input: in a file, a key, a value or the data.

    The command line prints the message without a traceback and exits with code 2. Any other exception is a bug in
    eagbench or in a plugin and keeps its traceback.

    Args:
        what: What is wrong, in one sentence.
        where: Where the user has to look (a file and line, a column, a case), if there is such a place.
        hint: How to fix it, in one sentence.
        mend: The former name of `hint`, until 0.2.
    """

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, mend: str | None = None
    ) -> None:
        if mend is not None:
            _warn("UserError(mend=...)", "hint=")
        self.what = what
        self.where = where
        self.hint = mend if hint is None else hint
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The full message: where, what and how to fix it. Control characters are written as escapes."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return printable(f"{text}\n  {self.hint}" if self.hint else text)

    @property
    def mend(self) -> str | None:
        """The former name of `hint`, until 0.2."""
        _warn("UserError.mend", "UserError.hint")
        return self.hint

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost on the way back from a worker process.
        return (_rebuild, (self.what, self.where, self.hint))


def printable(text: str) -> str:
    """Write control characters as escapes."""
    # What a file holds may stand in a message; a NUL or an escape sequence would garble a terminal or a log.
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def _rebuild(what: str, where: str | None, hint: str | None) -> UserError:
    return UserError(what, where=where, hint=hint)


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is called {new}; the old name ends with eagbench 0.2", DeprecationWarning, stacklevel=3)


class Stopped(BaseException):
    """SIGINT or SIGTERM came.

    It is no KeyboardInterrupt: a library that takes one for the wish to end its training early and returns what it has
    would have half a model committed as a finished stage.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(STOPS[signal.Signals(signum)])
        self.exit_code = 128 + signum


def is_stop(error: BaseException) -> bool:
    """Say whether an error is the user's wish to stop; anything else that a plugin raises is the plugin's failure.

    Where eagbench has taken SIGINT over, nobody but a plugin's own code raises a KeyboardInterrupt.
    """
    if isinstance(error, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return isinstance(error, Stopped)
