"""The version of the code, libraries and machine behind a result: part of every stage's fingerprint.

The version of a function or component is a hash over all code that its module imports (`import_closure`). Code of
eagbench and of the component's own package enters as syntax trees without comments and docstrings, together with every
non-Python file in these packages. Third-party code enters as versions. Code that uses PyTorch also depends on the
device.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from eagbench.contracts.stages import content_hash
from eagbench.errors import UserError
from eagbench.registry.environment import device, machine
from eagbench.registry.import_closure import import_closure, kept_code
from eagbench.registry.kept import installed, place
from eagbench.registry.third_party import distribution_of, distribution_to_install, versions


@dataclass(frozen=True, slots=True)
class CodeVersion:
    """The version of the code behind a function or component.

    Attributes:
        version: The name of its package, and a hash.
        packages: The third-party distributions it depends on, with their versions.
        absent: Required packages that are not installed.
    """

    version: str
    packages: Mapping[str, str]
    absent: tuple[str, ...]

    def require(self, who: str, where: str | None = None) -> CodeVersion:
        """Return this version if its required packages are installed.

        Raises:
            UserError: A required package is not installed.
        """
        if self.absent:
            raise UserError(
                f"{who} needs {', '.join(self.absent)}, which {'is' if len(self.absent) == 1 else 'are'} not installed",
                where=where,
                hint=f"pip install {' '.join(distribution_to_install(package) for package in self.absent)}",
            )
        return self


@functools.cache
def code_version(*modules: str) -> CodeVersion:
    """Find the version of the code in modules.

    Args:
        modules: Full names; the first is the module of the function or component itself.

    Raises:
        ModuleNotFoundError: A module does not exist.
    """
    name = f"version {' '.join(modules)}"
    facts = kept_code().get(name)
    if facts is None or facts["installed"] != installed() or facts["places"] != _places(facts["places"]):
        facts, files = _find(modules)
        if not _absent(facts):
            kept_code().put(name, files, facts)
    made_on = machine() | ({"device": device()} if facts["has_torch"] else {})
    top = modules[0].partition(".")[0]
    version = f"{top}+{content_hash([facts['digest'], facts['packages'], made_on])[:16]}"
    return CodeVersion(version, facts["packages"], _absent(facts))


def _find(modules: tuple[str, ...]) -> tuple[dict[str, Any], frozenset[str]]:
    """Follow the imports of modules; return the version, and the files it was found in."""
    closures = [import_closure(module) for module in modules]
    required = frozenset().union(*(closure.required for closure in closures))
    optional = frozenset().union(*(closure.optional for closure in closures)) - required
    present = [package for package in (*required, *optional) if distribution_of(package) is not None]
    facts = {
        "installed": installed(),
        "places": _places(frozenset().union(*(closure.packages for closure in closures))),
        "digest": content_hash({name: digest for closure in closures for name, digest in closure.digests.items()}),
        "required": sorted(required),
        "packages": versions(present),
        "has_torch": "torch" in present,
    }
    return facts, frozenset().union(*(closure.files for closure in closures))


def _places(packages: Iterable[str]) -> dict[str, str | None]:
    return {package: place(package) for package in sorted(packages)}


def _absent(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the packages that are not installed now, whatever was installed when the facts were found."""
    return tuple(package for package in facts["required"] if distribution_of(package) is None)
