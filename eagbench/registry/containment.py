"""Keep what a component does to the whole process from reaching the others.

Held and put back: the working folder, the standard streams, signal handlers, the recursion limit, NumPy's error
handling, the global random states, filters that turn warnings into errors, and functions of NumPy and `math` that were
replaced. Not held, since imports change them for good reasons: environment variables, `sys.path`, other warnings
filters, and all other modules.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from operator import is_
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from eagbench.contracts.rules import ContractError

_SHARED_MODULES: tuple[ModuleType, ...] = (np, np.random, np.linalg, math)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def contained() -> Iterator[None]:
    """Put back what is changed inside and others would meet.

    Raises:
        ContractError: A function of NumPy or `math` was replaced.
    """
    undo = [_kept_folder(), _kept_handlers(), _kept_numbers(), _kept_warnings()]
    functions = {module: dict(vars(module)) for module in _SHARED_MODULES}
    try:
        yield
    finally:
        for put_back in undo:
            put_back()
        _reopen_streams()
        replaced = list(_put_back(functions))
    if replaced:
        raise ContractError("a call", replaced[0], "it was replaced for everybody; change a copy of your own")


@contextmanager
def separate_streams() -> Iterator[None]:
    """Send what is printed inside to stderr, and keep both streams open whatever is closed inside."""
    _standard_copies()
    out, err = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _Uncloseable(err)  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.stdout, sys.stderr = out, err
        _reopen_streams()


class _Uncloseable(io.TextIOBase):
    """A stream's stand-in, whose end ends nothing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattribute__(self, name: str) -> Any:
        if name in {"close", "detach", "_stream", "__class__", "__enter__", "__exit__"}:
            return super().__getattribute__(name)
        return getattr(super().__getattribute__("_stream"), name)

    def close(self) -> None:
        """Leave the stream open."""

    def detach(self) -> Any:
        """Leave the stream as it is."""
        return self._stream


@cache
def _standard_copies() -> Mapping[int, int]:
    """Copy the descriptors of stdout and stderr, once per process; what is closed already stays so."""
    return {number: os.dup(number) for number in (1, 2) if _is_open(number)}


def _reopen_streams() -> None:
    for number, copy in _standard_copies().items():
        if not _is_open(number):
            os.dup2(copy, number)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _kept_folder() -> Callable[[], None]:
    try:
        before = Path.cwd()
    except FileNotFoundError:  # removed before
        return lambda: None

    def put_back() -> None:
        with contextlib.suppress(OSError):
            os.chdir(before)

    return put_back


def _kept_handlers() -> Callable[[], None]:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {signum: signal.getsignal(signum) for signum in _SIGNALS}

    def put_back() -> None:
        for signum, handler in before.items():
            if handler is not None and signal.getsignal(signum) is not handler:
                signal.signal(signum, handler)

    return put_back


def _kept_numbers() -> Callable[[], None]:
    errors, limit = np.geterr(), sys.getrecursionlimit()
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - plugins draw from it

    def put_back() -> None:
        np.seterr(**errors)
        sys.setrecursionlimit(max(limit, 1))
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002

    return put_back


def _kept_warnings() -> Callable[[], None]:
    before = list(warnings.filters)

    def put_back() -> None:
        added = [entry for entry in warnings.filters if entry[0] == "error" and entry not in before]
        if added:
            warnings.filters[:] = [entry for entry in warnings.filters if entry not in added]  # type: ignore[index]
            with warnings.catch_warnings():
                pass  # tells Python that the filters are others

    return put_back


def _put_back(functions: Mapping[ModuleType, Mapping[str, Any]]) -> Iterator[str]:
    """Restore what was replaced in these modules, and name it. What they load later is new, and stays."""
    for module, before in functions.items():
        now = vars(module)
        if all(map(is_, before.values(), map(now.get, before))):
            continue
        for name, value in before.items():
            if now.get(name) is not value and (callable(value) or name not in now):
                setattr(module, name, value)
                yield f"{module.__name__}.{name}"
