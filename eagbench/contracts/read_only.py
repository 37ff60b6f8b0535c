"""Read-only views of what plugins are given, so that no component can change what another one sees.

Nothing is copied: a view shares its memory with the array or mapping behind it.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np


def read_only[Array](array: Array) -> Array:
    """Return a view of an array that refuses to be written; anything else than an array as it is."""
    if not isinstance(array, np.ndarray) or not array.flags.writeable:
        return array
    view = array.view()
    view.setflags(write=False)
    return view


def read_only_mapping[Key, Value](mapping: Mapping[Key, Value]) -> Mapping[Key, Value]:
    """Return a view of a mapping that refuses to be written."""
    return mapping if isinstance(mapping, MappingProxyType) else MappingProxyType(mapping)


def freeze(record: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is made."""
    for name, value in values.items():
        object.__setattr__(record, name, value)


def _reduced(mapping: MappingProxyType[Any, Any]) -> tuple[Callable[..., Any], tuple[dict[Any, Any]]]:
    return read_only_mapping, (dict(mapping),)


# Python neither pickles nor copies a MappingProxyType, and a plugin may send cases to processes of its own.
copyreg.pickle(MappingProxyType, _reduced)
