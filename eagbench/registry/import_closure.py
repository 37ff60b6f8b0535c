"""Finds all code that a module imports: modules of its own package and of eagbench, and packages of third parties.

A name imported from `eagbench.api` leads to the module that defines it, so that a component depends only on what it
uses and not on everything that plugins may use.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eagbench.registry.kept import Kept
from eagbench.registry.source_modules import HEX_DIGITS, Import, Source, parse
from eagbench.registry.third_party import distribution_of

API = "eagbench.api"
_EAGBENCH = ("eagbench", "eagbench_plugins")


@dataclass(frozen=True, slots=True)
class ImportClosure:
    """The code and files that determine a module's results.

    Attributes:
        digests: Hash of every own module by its name, and of every other file in their packages by its path there.
        required: Third-party packages, by import name.
        optional: Third-party packages that the code can do without.
        files: The files that were read, and the folders that were searched.
        packages: The top-level packages of the own modules.
    """

    digests: dict[str, str]
    required: frozenset[str]
    optional: frozenset[str]
    files: frozenset[str]
    packages: frozenset[str]


@functools.cache
def kept_code() -> Kept:
    """Open the cache about source files and the code behind components."""
    return Kept("code")


@functools.cache
def import_closure(module: str) -> ImportClosure:
    """Follow the imports of a module.

    Args:
        module: Its full name.

    Raises:
        ModuleNotFoundError: The module does not exist.
    """
    own = {module.partition(".")[0], *_EAGBENCH}
    if _file_of(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    digests: dict[str, str] = {}
    files: set[str] = set()
    required: set[str] = set()
    optional: set[str] = set()
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        file = _file_of(name)
        if file is None:
            continue  # a folder without __init__.py holds no code
        digests[name] = _digest(name, file)
        files.update((str(file), str(file.parent)))
        others = _other_files(name, file)
        digests.update(others.digests)
        files.update(others.files)
        waiting.extend(_parents(name))
        for entry in _imports_of(name, file):
            top = entry.module.partition(".")[0]
            if top in own or (top not in sys.stdlib_module_names and _is_local(top)):
                own.add(top)
                waiting.extend(_targets(entry))
            elif top not in sys.stdlib_module_names:
                (optional if entry.optional else required).add(top)
    return ImportClosure(digests, frozenset(required), frozenset(optional - required), frozenset(files), frozenset(own))


def _parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:i]) for i in range(1, len(parts)))


def _targets(entry: Import) -> list[str]:
    """List the own modules that an import leads to."""
    if entry.name is None:
        return [entry.module]
    if entry.module == API:
        defined = _names_of_api().get(entry.name)
        return [API] if defined is None else _targets(defined)
    submodule = f"{entry.module}.{entry.name}"
    return [submodule] if _file_of(submodule) is not None else [entry.module]


@functools.cache
def _names_of_api() -> dict[str, Import]:
    file = _file_of(API)
    assert file is not None
    return {entry.name: entry for entry in _imports_of(API, file) if entry.name is not None}


def _imports_of(name: str, file: Path) -> tuple[Import, ...]:
    return _source(name, file).imports if file.suffix == ".py" else ()  # what compiled code imports can't be seen


def _digest(name: str, file: Path) -> str:
    return _source(name, file).digest if file.suffix == ".py" else _content_hash(file)


@functools.cache
def _source(name: str, file: Path) -> Source:
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]

    def read() -> list[Any]:
        found = parse(file.read_text(encoding="utf-8"), package)
        return [found.digest, [[entry.module, entry.name, entry.optional] for entry in found.imports]]

    digest, imports = kept_code().of_files(f"source {package} {file}", [str(file)], read)
    return Source(digest, tuple(Import(*entry) for entry in imports))


@functools.cache
def _content_hash(file: Path) -> str:
    def read() -> str:
        return hashlib.sha256(file.read_bytes()).hexdigest()[:HEX_DIGITS]

    return str(kept_code().of_files(f"content {file}", [str(file)], read))


@dataclass(frozen=True, slots=True)
class _OtherFiles:
    digests: dict[str, str]
    files: frozenset[str]


@functools.cache
def _other_files(name: str, file: Path) -> _OtherFiles:
    """Hash every non-Python file in a module's package: tables, templates, lists of concepts."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    if not package:
        return _OtherFiles({}, frozenset())  # a module by itself, beside others that are none of its business
    found = list(_files_below(file.parent))
    digests = {f"{package}:{path.relative_to(file.parent).as_posix()}": _content_hash(path) for path in found}
    return _OtherFiles(digests, frozenset(str(place) for path in found for place in (path, path.parent)))


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_dir():
            if not (path / "__init__.py").exists():
                yield from _files_below(path)
        elif path.suffix not in {".py", ".pyc", ".pyi"}:
            yield path


@functools.cache
def _file_of(module: str) -> Path | None:
    """Find the file of an own module without importing it; None if it has none."""
    top, *rest = module.split(".")
    found = _locations(top)
    if not rest:
        return next((path for path in found if path.is_file()), None) or _first_file(found, "__init__")
    return _first_file([path.joinpath(*rest[:-1]) for path in found if path.is_dir()], rest[-1])


def _first_file(folders: list[Path], name: str) -> Path | None:
    for folder in folders:
        for candidate in (folder / name / "__init__.py", folder / f"{name}.py"):
            if candidate.is_file():
                return candidate
        compiled = sorted(folder.glob(f"{name}.*.so")) + sorted(folder.glob(f"{name}.*.pyd"))
        if compiled:
            return compiled[0]
    return None


@functools.cache
def _locations(top: str) -> list[Path]:
    """List the folders of a top-level package, or the file of a top-level module."""
    spec = importlib.util.find_spec(top)
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.has_location and spec.origin else []


@functools.cache
def _is_local(top: str) -> bool:
    """Tell whether a package belongs to no distribution: a module next to the user's own, whose source is hashed."""
    return distribution_of(top) is None and importlib.util.find_spec(top) is not None
