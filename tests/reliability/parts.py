"""The parts of the harness, by name: each is a module of this folder.

A part has `SMALL` and `FULL`, how often it does its faults in CI and in `make reliability`, and
`measure(times, seed, folder) -> list[Row]`, which works in an empty folder.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.reliability.rows import Row

NAMES: tuple[str, ...] = (
    "kills",
    "writing",
    "twice_at_once",
    "damaged_store",
    "plugin_variants",
    "parser_inputs",
    "row_conversions",
    "whole_loaders",
    "leaks",
    "edits",
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the harness.

    Attributes:
        name: The module's name.
        small: How often CI does its faults.
        full: How often `make reliability` does them.
        measure: Does the faults so many times, with a seed, in an empty folder.
    """

    name: str
    small: int
    full: int
    measure: Callable[[int, int, Path], list[Row]]


def load_part(name: str) -> Part:
    """Import a part."""
    module = importlib.import_module(f"tests.reliability.{name}")
    return Part(name, module.SMALL, module.FULL, module.measure)
