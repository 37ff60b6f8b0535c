"""YAML of a user as plain values: text, whole and other finite numbers, true and false, null, lists, mappings.

Every reader of a user's YAML goes through here, so a small file can't fill the memory: what aliases stand for counts
each time they are used, and nesting, characters, values and files have a limit. YAML 1.1 has more kinds of values than
a benchmark needs. Dates stay text; a number that reads as another one (`010`, `1:30`) is refused, and so are tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import yaml

from eagbench.errors import UserError

MAX_CHARACTERS, MAX_VALUES, MAX_DEPTH, MAX_FILES = 2_000_000, 100_000, 50, 100
_MAX_KEY = 1_000
_MAX_WHOLE = 2**63  # what NumPy, Polars and JSON readers hold
_MAX_DIGITS = 70  # `0b` and 64 bits, with some space
_TAG = "tag:yaml.org,2002:"
MERGE = f"{_TAG}merge"
_OCTAL = re.compile(r"[-+]?0[0-7]+")
# Timestamps stay text: dates are no value of a benchmark.
_RESOLVERS = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


# For a value on the command line, which may begin with a sign that YAML takes for its own, such as % or @.
_QUOTING = "quote the text for YAML, and all of it for the shell: 'KEY=\"TEXT\"'"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a text comes from: a file, whose lines count, or a place such as `--set a=1`."""

    name: str
    is_file: bool = True

    def at(self, mark: yaml.Mark | None) -> str:
        """Locate a mark."""
        return f"{self.name}:{mark.line + 1}" if self.is_file and mark is not None else self.name


@dataclass(slots=True)
class Budget:
    """What is left for a text and all files that it extends."""

    files: int = MAX_FILES
    characters: int = MAX_CHARACTERS
    values: int = MAX_VALUES

    def take_file(self, where: str) -> None:
        """Count a file.

        Raises:
            UserError: There are too many.
        """
        self.files -= 1
        if self.files < 0:
            raise UserError(f"the benchmark extends more than {MAX_FILES} files", where=where)

    def take_text(self, n_characters: int, where: str) -> None:
        """Count the characters of a text.

        Raises:
            UserError: There are too many.
        """
        self.characters -= n_characters
        if self.characters < 0:
            raise UserError(f"the YAML has more than {MAX_CHARACTERS:,} characters", where=where)

    def take_values(self, n_values: int, where: str) -> None:
        """Count values, those of aliases each time that they are used.

        Raises:
            UserError: There are too many.
        """
        self.values -= n_values
        if self.values < 0:
            raise UserError(
                f"the YAML stands for more than {MAX_VALUES:,} values",
                where=where,
                hint="Anchors (`&name`) whose aliases (`*name`) hold aliases multiply.",
            )


class _Loader(yaml.SafeLoader):
    """Composes nodes within limits."""

    yaml_implicit_resolvers = _RESOLVERS

    def __init__(self, text: str, origin: Origin, budget: Budget) -> None:
        super().__init__(text)
        self._origin, self._budget = origin, budget
        self._depth = 0
        self._open: set[str] = set()
        self._size: dict[yaml.Node, int] = {}
        self._height: dict[yaml.Node, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and what is below it.

        Raises:
            UserError: It is too deep, stands for too many values or for itself, or has a tag.
        """
        event = self.peek_event()  # type: ignore[no-untyped-call]
        where = self._origin.at(event.start_mark)
        anchor = event.anchor
        if isinstance(event, yaml.AliasEvent):
            if anchor in self._open:
                raise UserError(f"the anchor '{anchor}' stands for itself", where=where)
            node = super().compose_node(parent, index)
            assert node is not None
            self._budget.take_values(self._size[node], where)
            self._check_depth(self._depth + self._height[node], where)
            return node
        self._check_depth(self._depth + 1, where)
        self._budget.take_values(1, where)
        left = self._budget.values
        self._depth += 1
        if anchor is not None:
            self._open.add(anchor)
        node = super().compose_node(parent, index)
        assert node is not None
        self._open.discard(anchor)
        self._depth -= 1
        self._size[node] = left - self._budget.values + 1
        self._height[node] = 1 + max((self._height[child] for child in _children(node)), default=0)
        if not isinstance(node, yaml.ScalarNode) and node.tag not in (f"{_TAG}map", f"{_TAG}seq"):
            raise UserError(f"the tag '{node.tag}' is not read", where=where, hint="Leave it out.")
        return node

    def _check_depth(self, depth: int, where: str) -> None:
        if depth > MAX_DEPTH:
            raise UserError(f"the YAML is nested deeper than {MAX_DEPTH} levels", where=where)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def compose(text: str, origin: Origin, budget: Budget | None = None) -> yaml.Node | None:
    """Compose the nodes of a text; None if it is empty.

    Raises:
        UserError: It is not YAML, or exceeds a limit.
    """
    budget = budget or Budget()
    budget.take_text(len(text), origin.name)
    try:
        loader = _Loader(text, origin, budget)
        try:
            return loader.get_single_node()  # type: ignore[no-any-return, no-untyped-call]
        finally:
            loader.dispose()  # type: ignore[no-untyped-call]
    except yaml.MarkedYAMLError as error:
        hint = None if origin.is_file else _QUOTING
        raise UserError(f"this is not YAML: {error.problem}", where=origin.at(error.problem_mark), hint=hint) from error
    except yaml.YAMLError as error:
        raise UserError(f"this is not YAML: {str(error).splitlines()[0]}", where=origin.name) from error
    except (ValueError, OverflowError) as error:  # the code of a character that does not exist: "\UFFFFFFFF"
        raise UserError(f"this is not YAML: {error}", where=origin.name) from error


def scalar(node: yaml.Node, origin: Origin) -> str | int | float | bool | None:
    """Return the value of a scalar.

    Raises:
        UserError: It can't be read, is not finite, has too many digits, or is not what it seems.
    """
    where, written = origin.at(node.start_mark), str(node.value)
    kind = node.tag.removeprefix(_TAG)
    if kind in ("str", "value", "merge"):
        return text_of(written, where)
    if kind == "null":
        return None
    digits = written.replace("_", "").lower()
    try:
        if kind == "bool":
            return yaml.SafeLoader.bool_values[digits]  # type: ignore[no-any-return]
        if kind == "int":
            return _whole(digits, where)
        if kind == "float":
            return _number(digits, where)
    except (KeyError, ValueError) as error:
        raise UserError(f"'{_shown(written)}' is no {kind}", where=where, hint="Leave the tag out.") from error
    raise UserError(f"the tag '{node.tag}' is not read", where=where, hint="Leave it out.")


def _whole(digits: str, where: str) -> int:
    if ":" in digits:
        raise _ambiguous(digits, "a number to base 60", where)
    if _OCTAL.fullmatch(digits):
        raise _ambiguous(digits, "a number to base 8", where)
    if len(digits) > _MAX_DIGITS or not -_MAX_WHOLE <= (value := int(digits, 0)) < _MAX_WHOLE:
        raise UserError(f"the number {_shown(digits)} has too many digits", where=where)
    return value


def _number(digits: str, where: str) -> float:
    if ":" in digits:
        raise _ambiguous(digits, "a number to base 60", where)
    value = float(digits.replace(".inf", "inf").replace(".nan", "nan"))
    if not isfinite(value):
        raise UserError(f"{_shown(digits)} is not a finite number", where=where)
    return value


def _ambiguous(digits: str, what: str, where: str) -> UserError:
    hint = "Write it without leading zero or colon, or in quotes as text."
    return UserError(f"{_shown(digits)} is {what} in YAML", where=where, hint=hint)


def _shown(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}... ({len(text):,} characters)"


def text_of(text: str, where: str) -> str:
    """Return a text that names, paths and files can hold.

    Raises:
        UserError: It holds a NUL, or half a character.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError("a text holds a NUL or half a character", where=where)
    return text


def key_of(node: yaml.Node, origin: Origin) -> str:
    """Return a mapping's key as text.

    Raises:
        UserError: It is no text, or too long.
    """
    where = origin.at(node.start_mark)
    if not isinstance(node, yaml.ScalarNode):
        raise UserError("a key must be plain text", where=where)
    if len(node.value) > _MAX_KEY:
        raise UserError(f"the key '{_shown(node.value)}' is too long", where=where)
    return text_of(str(node.value), where)


def read_bounded_text(path: Path) -> str:
    """Read a text file, up to one character more than is allowed: a device such as /dev/zero has no end.

    Raises:
        UserError: It can't be read, or is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise UserError(f"the file can't be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("the file is not UTF-8 text", where=str(path)) from error


def read_yaml_file(path: Path) -> Any:
    """Read a YAML file: plain values, keys are text; None if it is empty.

    Raises:
        UserError: It can't be read, is not YAML, exceeds a limit, repeats a key, or merges mappings (`<<`).
    """
    return _read_plain(read_bounded_text(path), Origin(str(path)))


def read_yaml_value(text: str, where: str) -> Any:
    """Read a short YAML text, such as the value of `--set`: plain values, keys are text.

    Raises:
        UserError: It is not YAML, exceeds a limit, repeats a key, or merges mappings (`<<`).
    """
    return _read_plain(text, Origin(where, is_file=False))


def _read_plain(text: str, origin: Origin) -> Any:
    node = compose(text, origin)
    return None if node is None else _plain(node, origin)


def _plain(node: yaml.Node, origin: Origin) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, origin) for item in node.value]
    if not isinstance(node, yaml.MappingNode):
        return scalar(node, origin)
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_of(key_node, origin)
        if key_node.tag == MERGE:
            raise UserError("`<<` is read in a benchmark's file only", where=origin.at(key_node.start_mark))
        if key in mapping:
            raise UserError(f"the key '{key}' appears here twice", where=origin.at(key_node.start_mark))
        mapping[key] = _plain(value_node, origin)
    return mapping
