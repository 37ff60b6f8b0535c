"""Parses a source file: a hash of its code without comments and docstrings, and its imports.

Late imports count like those at the top, because they run when a number is computed. Imports under TYPE_CHECKING do not
count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HEX_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module, or one name imported from a module.

    Attributes:
        module: The module's full name.
        name: The name imported from it; None for the module itself, and for `import *`.
        optional: The code can do without it: the import is in a `try` that catches ImportError.
    """

    module: str
    name: str | None
    optional: bool


@dataclass(frozen=True, slots=True)
class Source:
    """The hash and imports of a source file.

    Attributes:
        digest: Hash of its syntax tree.
        imports: Its imports, in order.
    """

    digest: str
    imports: tuple[Import, ...]


def parse(text: str, package: str) -> Source:
    """Parse a module's source.

    Args:
        text: The source.
        package: The package where its relative imports start.
    """
    tree = ast.parse(text)
    imports = tuple(dict.fromkeys(_imports(tree.body, package, optional=False)))
    if not _reads_docstrings(tree):
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                node.body = [statement for i, statement in enumerate(node.body) if i or not _is_text(statement)]
    return Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:HEX_DIGITS], imports)


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _reads_docstrings(tree: ast.Module) -> bool:
    """Tell whether the module reads docstrings, which are then part of its behaviour."""
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
    """List the statements within a compound statement."""
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
