"""Support for renamed names: the old one works for one release, with a warning that gives the new one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

UNTIL = "0.2"


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warn that an old name was used, and give the new one."""
    warnings.warn(f"{old} is called {new}; the old name ends with eagbench {UNTIL}", DeprecationWarning, stacklevel)


def renamed_fields(**names: str) -> Callable[[Any], Any]:
    """Decorate a dataclass so that the former names of its fields still work, to create and to read it.

    Args:
        names: Former name = present name.
    """

    def decorate(cls: Any) -> Any:
        made: Any = cls.__init__

        @functools.wraps(made)
        def init(self: Any, *args: Any, **given: Any) -> None:
            for old, new in names.items():
                if old in given:
                    warn_renamed(f"{cls.__name__}({old}=...)", f"{new}=")
                    given[new] = given.pop(old)  # `dataclasses.replace` gives the present value beside it
            made(self, *args, **given)

        cls.__init__ = init
        for old, new in names.items():
            setattr(cls, old, property(functools.partial(_read, cls.__name__, old, new)))
        return cls

    return decorate


def _read(owner: str, old: str, new: str, instance: Any) -> Any:
    warn_renamed(f"{owner}.{old}", f"{owner}.{new}", stacklevel=3)
    return getattr(instance, new)
