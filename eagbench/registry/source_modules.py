"""What a source file says: a hash of its code without comments and docstrings, and what it imports.

Late imports count as those at the top, since they run when a number is computed; what stands under TYPE_CHECKING does
not. Files are parsed once: what was found is kept in the user's cache folder, under size and times of the file.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

# A file changed so shortly before it was read might be changed again within one tick of the file system's clock.
_SETTLED_SECONDS = 2.0
_HEX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, or one name imported from a module.

    Attributes:
        module: The module's full name.
        name: What is imported from it; None for the module itself, and for all of it.
        optional: The code goes on without it: it stands in a `try` that catches ImportError.
    """

    module: str
    name: str | None
    optional: bool


@dataclass(frozen=True, slots=True)
class Source:
    """What a source file says.

    Attributes:
        digest: Hash of its syntax tree.
        imports: What it imports, in order.
    """

    digest: str
    imports: tuple[Import, ...]


def parse(text: str, package: str) -> Source:
    """Reads a module's source.

    Args:
        text: The source.
        package: The package that its relative imports start from.
    """
    tree = ast.parse(text)
    imports = tuple(dict.fromkeys(_imports(tree.body, package, optional=False)))
    if not _reads_docstrings(tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [statement for i, statement in enumerate(node.body) if i or not _is_text(statement)]
    return Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:_HEX_DIGITS], imports)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _reads_docstrings(tree: ast.Module) -> bool:
    """Whether the module looks at docstrings, which are then part of what it does."""
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return bool(names & {"__doc__", "getdoc"})


def _imports(statements: Sequence[ast.stmt], package: str, *, optional: bool) -> Iterator[Import]:
    for statement in statements:
        match statement:
            case ast.Import(names=names):
                yield from (Import(alias.name, None, optional) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _base(module, level, package)
                yield from (Import(base, None if alias.name == "*" else alias.name, optional) for alias in names)
            case ast.If(test=test) if _is_type_checking(test):
                yield from _imports(statement.orelse, package, optional=optional)
            case ast.Try() | ast.TryStar():
                goes_on = any(_catches_import_error(handler.type) for handler in statement.handlers)
                yield from _imports(statement.body, package, optional=optional or goes_on)
                for handler in statement.handlers:
                    yield from _imports(handler.body, package, optional=optional)
                yield from _imports([*statement.orelse, *statement.finalbody], package, optional=optional)
            case _:
                yield from _imports(list(_inner(statement)), package, optional=optional)


def _inner(statement: ast.stmt) -> Iterator[ast.stmt]:
    """The statements within a compound one."""
    for value in ast.iter_child_nodes(statement):
        if isinstance(value, ast.stmt):
            yield value
        elif isinstance(value, ast.match_case):
            yield from value.body


def _base(module: str | None, level: int, package: str) -> str:
    if not level:
        return module or ""
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - level + 1], *([module] if module else [])])


def _is_type_checking(test: ast.expr) -> bool:
    named = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return named == "TYPE_CHECKING"


def _catches_import_error(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    caught_all = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
    return any(isinstance(kind, ast.Name) and kind.id in caught_all for kind in kinds)


class SourceCache:
    """Sources by file, and hashes of other files; kept between processes.

    Args:
        path: The file they are kept in. One that can't be read or written costs time and nothing else.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, list[Any]] = {}
        self._is_changed = False
        with suppress(OSError, ValueError):
            self._kept = json.loads(path.read_text(encoding="utf-8"))

    def source(self, file: Path, package: str) -> Source:
        """Reads a module's file."""

        def read() -> list[Any]:
            found = parse(file.read_text(encoding="utf-8"), package)
            return [found.digest, [[entry.module, entry.name, entry.optional] for entry in found.imports]]

        digest, imports = self._look_up(file, read)
        return Source(digest, tuple(Import(*entry) for entry in imports))

    def digest(self, file: Path) -> str:
        """Hashes the content of a file that is not Python."""
        [found] = self._look_up(file, lambda: [hashlib.sha256(file.read_bytes()).hexdigest()[:_HEX_DIGITS]])
        return str(found)

    def _look_up(self, file: Path, read: Any) -> list[Any]:
        status = file.stat()
        stamp = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._kept.get(str(file))
        if known is not None and known[0] == stamp:
            return list(known[1])
        found: list[Any] = read()
        if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_SECONDS:
            self._kept[str(file)] = [stamp, found]
            self._is_changed = True
        return found

    def save(self) -> None:
        """Writes what is new."""
        if not self._is_changed:
            return
        self._is_changed = False
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False, encoding="utf-8") as stream:
                json.dump(self._kept, stream)
            Path(stream.name).replace(self._path)


@functools.cache
def source_cache() -> SourceCache:
    """Opens the user's cache; syntax trees are written down otherwise by another Python."""
    return SourceCache(platformdirs.user_cache_path("eagbench") / f"sources-{platform.python_version()}.json")
