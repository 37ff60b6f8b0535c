"""Name who failed: the component in whose call an error was raised, its package, its hook and the call.

An error that passes `blamed` leaves it as a `ComponentError`, or as a `ContractError` with its owner; a `UserError` and
the user's wish to stop pass as they are.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass
from types import CodeType, FrameType

from eagbench.contracts.rules import ContractError
from eagbench.errors import UserError, is_stop, printable
from eagbench.registry.code_places import code_place, raised_in_plugin

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
_LONGEST = 2000  # characters of an exception's text within a reason
# The classes of components that were made in this process, and of what they handed out, with their owners.
_OWNERS: dict[type, str] = {}
# Functions that components are given to call.
_HANDED_OUT: set[CodeType] = set()
_listener: Callable[[str], None] | None = None
_under_way: list[str] = []


class ComponentError(Exception):
    """A component raised an error: a bug of its plugin, or of what it calls.

    Attributes:
        owner: The component and its plugin.
        call: The component's call that was under way; empty if that is not known.
        problem: The error and its place.
    """

    def __init__(self, owner: str, call: str, problem: str) -> None:
        self.owner, self.call, self.problem = owner, call, problem
        super().__init__(f"{owner} failed in {call}: {problem}" if call else f"a stage of {owner} failed: {problem}")


class RefusedComponentError(UserError):
    """A component failed before anything has run, so its user can leave it out; its cause has the traceback."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """A component in whose call an error was raised.

    Attributes:
        owner: The component and its plugin.
        call: The call, for example `fit`.
        place: File, within its package, and line.
    """

    owner: str
    call: str
    place: str


def remember(made: type, owner: str) -> None:
    """Remember the class of a component, or of an object that a component hands out, to find it in tracebacks."""
    _OWNERS[made] = owner


def handed_out[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function that components are given to call: what it raises is not the fault of who called it."""
    _HANDED_OUT.add(function.__code__)
    return function


def owner_of(made: type) -> str:
    """Return the owner of a class, or its name if nobody remembered it."""
    return _OWNERS.get(made, f"{made.__module__}.{made.__qualname__}")


def culprit(error: BaseException) -> Culprit | None:
    """Find the component in whose method an error was raised, the innermost if one calls another."""
    frames = list(traceback.walk_tb(error.__traceback__))
    for i, (frame, _) in reversed(list(enumerate(frames))):
        if frame.f_code in _HANDED_OUT:
            return None
        owner = _owner_of(frame)
        if owner is None:
            continue
        while i > 0 and _owner_of(frames[i - 1][0]) == owner:
            i -= 1  # the call from outside, not the component's own helper
        called = frames[i][0].f_code
        own = [(f, line) for f, line in frames[i:] if f.f_code.co_filename == called.co_filename]
        return Culprit(owner, called.co_name, code_place(called.co_filename, own[-1][1]))
    return None


def _owner_of(frame: FrameType) -> str | None:
    code = frame.f_code
    if not code.co_argcount:
        return None
    first = frame.f_locals.get(code.co_varnames[0])
    return _OWNERS.get(first) if isinstance(first, type) else _OWNERS.get(type(first))


def described(error: BaseException) -> str:
    """Write an exception in one line: its type and its text, whatever its `str` does."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )
    text = " ".join(safe_text(error).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return printable(f"{name}: {text}" if text else name)


def safe_text(error: BaseException) -> str:
    """Return `str` of an exception of a plugin's own, which may raise anything."""
    try:
        return str(error)
    except BaseException as other:
        if is_stop(other):
            raise
        return "<its text can't be made>"


@contextmanager
def blamed(owner: str) -> Iterator[None]:
    """Name the component at fault in whatever is raised inside.

    Args:
        owner: The component whose calls are made inside, and its plugin; the traceback may lead to another one.

    Raises:
        ContractError: It broke its contract, or tried to change what it was given.
        ComponentError: It raised anything else.
    """
    _enter(owner)
    try:
        yield
    except ContractError as error:
        raise error if error.owner else error.of(owner) from error
    except (ComponentError, UserError):
        raise
    except BaseException as error:
        if is_stop(error) or (isinstance(error, OSError) and error.errno in _FULL_DISK):
            raise
        found = culprit(error)
        by = owner if found is None else found.owner
        if _is_write(error):
            raise _written(error, found, by) from error
        place = raised_in_plugin(error.__traceback__) if found is None else found.place
        raise ComponentError(by, "" if found is None else found.call, f"{described(error)} ({place})") from error
    finally:
        _leave()


def component_error(error: BaseException) -> ComponentError | None:
    """Name the component in whose call an error was raised; None if there is none in its traceback."""
    found = culprit(error)
    return None if found is None else ComponentError(found.owner, found.call, f"{described(error)} ({found.place})")


@contextmanager
def naming() -> Iterator[None]:
    """Name the component in whose call an error was raised; leave an error without one as it is.

    Raises:
        ComponentError: A component raised an error.
    """
    try:
        yield
    except (UserError, ComponentError):
        raise
    except BaseException as error:
        named = None if is_stop(error) else component_error(error)
        if named is None:
            raise
        raise named from error


@contextmanager
def refusing() -> Iterator[None]:
    """Refuse a component that fails before anything has run, by name.

    Raises:
        RefusedComponentError: A component raised an error; its user can leave it out.
    """
    try:
        yield
    except UserError:
        raise
    except BaseException as error:
        named = None if is_stop(error) else component_error(error)
        if named is None:
            raise
        hint = "a bug of that package, not of eagbench: leave it out, or install another version"
        raise RefusedComponentError(str(named), hint=hint) from error


def _written(error: BaseException, found: Culprit | None, by: str) -> ContractError:
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = raised_in_plugin(error.__traceback__) if found is None else found.place
    problem = f"{error} ({place}); all that a component is given is read-only: copy what you change"
    return ContractError(last.name if found is None else found.call, "inputs", problem, by)


def _is_write(error: BaseException) -> bool:
    """Say whether something read-only refused to be written: an array, a mapping or a frozen record."""
    if isinstance(error, FrozenInstanceError):
        return True
    text = safe_text(error)
    if isinstance(error, ValueError):  # NumPy: assignment destination, output array, sort array, buffer source
        return "read-only" in text
    return isinstance(error, AttributeError | TypeError) and "'mappingproxy' object" in text


def listen(listener: Callable[[str], None] | None) -> None:
    """Have a function told which component's calls are under way, whenever this changes; empty for none."""
    global _listener
    _listener = listener
    _tell()


def _enter(owner: str) -> None:
    _under_way.append(owner)
    _tell()


def _leave() -> None:
    _under_way.pop()
    _tell()


def _tell() -> None:
    if _listener is not None:
        _listener(_under_way[-1] if _under_way else "")
