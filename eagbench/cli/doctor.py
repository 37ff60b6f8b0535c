"""`eagbench doctor`: what this machine has, and what would stop a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from eagbench.errors import UserError
from eagbench.execution.store import Store
from eagbench.registry.code_versions import code_version
from eagbench.registry.environment import device
from eagbench.registry.import_closure import kept_code
from eagbench.registry.plugins import Registry, discover


@dataclass(slots=True)
class Examination:
    """Facts about this machine, and its problems."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether a run could start."""
        return not self.problems

    def text(self) -> str:
        """Format the facts and problems as text."""
        lines = [f"{name:<28} {value}" for name, value in self.facts]
        lines += [f"PROBLEM: {problem}" for problem in self.problems]
        return "\n".join([*lines, "ready" if self.healthy else "not ready"])


def examine() -> Examination:
    """Examine Python, libraries, device, memory, store, data roots and plugins."""
    import psutil

    found = Examination()
    found.facts.append(("python", f"{platform.python_version()} ({sys.executable})"))
    found.facts.append(("eagbench", importlib.metadata.version("eagbench")))
    registry = discover()  # not from what was kept: what is broken now is looked for
    _look_at_packages(registry, found)
    try:
        found.facts.append(("device", device()))
    except ImportError as error:
        found.problems.append(f"torch can't be imported: {error}")
    found.facts.append(("cores", str(os.cpu_count())))
    found.facts.append(
        ("threads per stage", "as a benchmark declares (`threads`, default 1); OMP_NUM_THREADS is not read")
    )
    found.facts.append(("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GB"))
    try:
        store = Store.open()
        free = shutil.disk_usage(store.root).free / 2**30
        found.facts.append(("store", f"{store.root} ({free:.1f} GB free)"))
    except UserError as error:
        found.problems.append(error.message)
    _look_at_data_roots(found)
    found.facts.append(("components", str(len(registry.components))))
    found.problems.extend(f"plugin {b.plugin} of {b.distribution} is broken: {b.reason}" for b in registry.broken)
    found.problems.extend(
        f"{kind} '{name}' is registered {len(claimants)} times"
        for (kind, name), claimants in registry.components.items()
        if len(claimants) > 1
    )
    return found


def _look_at_packages(registry: Registry, found: Examination) -> None:
    """Add the version of every package that a component depends on.

    A package that is not installed is listed with the components that need it.
    """
    packages: dict[str, str] = {}
    missed: dict[str, list[str]] = {}
    for item in registry:
        code = code_version(item.component.__module__)
        packages.update(code.packages)
        for package in code.absent:
            missed.setdefault(package, []).append(f"{item.kind} '{item.name}'")
    kept_code().save()
    found.facts.extend(sorted(packages.items()))
    found.facts.extend((name, f"not installed; needed by {', '.join(who)}") for name, who in sorted(missed.items()))


def _look_at_data_roots(found: Examination) -> None:
    """Add the folders that the suites' environment variables name; a suite that is not run needs none."""
    for name, value in sorted(os.environ.items()):
        if value and name.startswith("EAGBENCH_") and name.endswith("_ROOT"):
            # A data set with a generator has a word instead of a folder.
            is_lost = os.sep in value and not _exists(value)
            found.facts.append((name, f"{value} (nothing to read there)" if is_lost else value))


def _exists(path: str) -> bool:
    try:
        return Path(path).expanduser().exists()
    except (OSError, RuntimeError):  # a folder that may not be read, a user who is not known
        return False
