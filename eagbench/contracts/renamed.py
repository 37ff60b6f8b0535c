"""Names that have changed: the old one works for one release and says what it is called now."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

UNTIL = "0.2"


def warn_renamed(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns whoever uses an old name."""
    warnings.warn(f"{old} is called {new}; the old name ends with eagbench {UNTIL}", DeprecationWarning, stacklevel)


def renamed_fields(**names: str) -> Callable[[Any], Any]:
    """Lets a dataclass be made and read by the former names of its fields.

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
