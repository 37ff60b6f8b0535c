"""Caches what the installed plugins register, so that no command imports a plugin it does not use.

The cache is in the user's cache folder. It is valid while the same distributions are installed, the plugins' packages
come from the same places, and no file that was imported for it has changed. This module imports little, because it runs
before every command.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from eagbench.registry.kept import Kept, installed, place

KINDS = (
    "dataset", "expert", "policy", "prompt", "search", "reward", "method", "perturbation", "metric", "tracker",
    "executor",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Listed:
    """What is known of a registered component without importing it.

    Attributes:
        kind: `dataset`, `expert`, ...
        name: Its name.
        former_names: Its former names in a YAML.
        module: The module of its class.
        qualname: The class's name in that module.
        plugin: The entry point it came from.
        distribution: The distribution of this entry point.
    """

    kind: str
    name: str
    former_names: tuple[str, ...]
    module: str
    qualname: str
    plugin: str
    distribution: str


def read_listing() -> list[Listed] | None:
    """Return the cached listing; None if it may have changed."""
    kept = Kept("plugins").get("components")
    if kept is None or kept["installed"] != installed() or any(place(top) != at for top, at in kept["places"]):
        return None
    return [Listed(**{**entry, "former_names": tuple(entry["former_names"])}) for entry in kept["components"]]


def write_listing(components: Sequence[Listed], packages: Iterable[str]) -> None:
    """Write what plugins register to the cache.

    Args:
        components: All registered components, each importable by its module and name.
        packages: Top-level packages whose modules were imported to find them.
    """
    tops = sorted(packages)
    files = {file for name, file in _imported_files() if name.partition(".")[0] in tops}
    fact = {
        "installed": installed(),
        "places": [[top, place(top)] for top in tops],
        "components": [asdict(component) for component in components],
    }
    kept = Kept("plugins")
    kept.put("components", files, fact)
    kept.save()


def _imported_files() -> Iterator[tuple[str, str]]:
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file is not None:
            yield name, file
