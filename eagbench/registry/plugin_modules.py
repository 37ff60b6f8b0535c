"""Finds the plugin that a module belongs to, by the entry points alone: it imports nothing."""

from __future__ import annotations

import importlib.metadata
import itertools
from dataclasses import dataclass

GROUP = "eagbench"  # of entry points


@dataclass(frozen=True, slots=True)
class PluginModule:
    """The module that an entry point names.

    Attributes:
        module: Its dotted name.
        plugin: The entry point.
        distribution: The distribution of the entry point.
    """

    module: str
    plugin: str
    distribution: str


def plugin_modules() -> list[PluginModule]:
    """List the modules of all installed plugins, eagbench's own among them."""
    points = importlib.metadata.entry_points(group=GROUP)
    return [PluginModule(p.value.partition(":")[0], p.name, p.dist.name if p.dist else "unknown") for p in points]


def plugins_of(module: str) -> list[PluginModule]:
    """Find the plugins whose module is nearest to another one: they share the most leading packages with it.

    A package may hold several plugins, each in a folder of its own, so the top-level package alone says too little. Of
    two that share as many, the one further up is nearer.

    Returns:
        One; several where nothing decides between them; none if no plugin comes from the module's package.
    """
    known = plugin_modules()
    near = [(_shared(module, found.module), -found.module.count(".")) for found in known]
    nearest = max(near, default=(0, 0))
    return [found for found, n in zip(known, near, strict=True) if n == nearest and n[0]]


def _shared(first: str, second: str) -> int:
    """Count the leading parts that two dotted names share."""
    pairs = zip(first.split("."), second.split("."), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
