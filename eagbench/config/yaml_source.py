"""YAML that records the place of every value, with `extends`, `${VAR:-default}` and `--set`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from eagbench.config.bounded_yaml import (
    MERGE,
    Budget,
    Origin,
    compose,
    key_of,
    read_bounded_text,
    read_yaml_value,
    scalar,
    text_of,
)
from eagbench.config.secrets import masked, note_secrets, note_variable
from eagbench.errors import UserError

KeyPath = tuple[str | int, ...]
_MAX_INDEX_DIGITS = 10
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


@dataclass(slots=True)
class Source:
    """A tree of plain values and the place of each.

    Attributes:
        tree: The mapping that was read.
        places: `file:line` (or `--set path`) for each path in the tree.
        notes: Notes for the user, for example that a key was renamed.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def place(self, path: KeyPath) -> str:
        """Locate the value at `path`, or its nearest parent."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.places:
                return self.places[path[:end]]
        return "benchmark"


def read_yaml(path: Path) -> Source:
    """Read a YAML mapping, after the files it extends; later keys win, lists are replaced whole.

    Raises:
        UserError: The file is missing, is not YAML, is not a mapping, repeats a key, extends itself, exceeds a limit of
            `bounded_yaml`, or names an environment variable that is unset and has no default.
    """
    return _read(Path(path), (), Budget())


def _read(path: Path, seen: tuple[Path, ...], budget: Budget) -> Source:
    if path.resolve() in seen:
        raise UserError("the file extends itself", where=str(path), hint="remove the circle from `extends`")
    budget.take_file(str(path))
    origin = Origin(str(path))
    node = compose(read_bounded_text(path), origin, budget)
    if not isinstance(node, yaml.MappingNode):
        raise UserError(
            "a benchmark is a mapping of keys to values",
            where=str(path),
            hint="begin with `name: ...`; `eagbench schema` prints all keys",
        )
    own = Source()
    own.tree = _value(node, (), origin, own.places)
    extends = own.tree.pop("extends", [])
    if isinstance(extends, str):
        extends = [extends]
    if not isinstance(extends, list) or not all(isinstance(e, str) for e in extends):
        raise UserError("`extends` is a list of file names", where=own.place(("extends",)))
    merged = Source()
    for name in extends:
        merge(merged, _read(path.parent / name, (*seen, path.resolve()), budget))
    merge(merged, own)
    return merged


def _value(node: yaml.Node, path: KeyPath, origin: Origin, places: dict[KeyPath, str]) -> Any:
    place = origin.at(node.start_mark)
    places.setdefault(path, place)
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        merged = [value for key, value in node.value if key.tag == MERGE]
        for key_node, value_node in (pair for pair in node.value if pair[0].tag != MERGE):
            key, key_place = key_of(key_node, origin), origin.at(key_node.start_mark)
            if key in mapping:
                raise UserError(f"the key '{key}' appears here twice", where=key_place)
            places[(*path, key)] = key_place
            mapping[key] = _value(value_node, (*path, key), origin, places)
        for value_node in merged:
            _merge_anchored(mapping, value_node, path, origin, places)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*path, i), origin, places) for i, item in enumerate(node.value)]
    text = str(node.value)
    if _VARIABLE.search(text):
        text = text_of(_expand(text, place), place)
        # An unquoted variable takes the type of what it holds; a quoted one stays text.
        quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"')
        return text if quoted else read_yaml_value(text, place)
    return scalar(node, origin)


def _merge_anchored(
    mapping: dict[str, Any], node: yaml.Node, path: KeyPath, origin: Origin, places: dict[KeyPath, str]
) -> None:
    """Add the keys of `<<: *anchor` that the mapping itself lacks; with several anchors, the first wins."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    for brought in nodes:
        if not isinstance(brought, yaml.MappingNode):
            raise UserError("`<<:` takes an anchored mapping", where=origin.at(node.start_mark))
        own: dict[KeyPath, str] = {}
        for key, value in _value(brought, path, origin, own).items():
            if key not in mapping:
                mapping[key] = value
                places.update({here: own[here] for here in _paths(value, (*path, key)) if here in own})


def _paths(value: Any, here: KeyPath) -> Iterator[KeyPath]:
    """Yield the path of a value and of all values in it."""
    yield here
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield from _paths(child, (*here, key))
    elif isinstance(value, list):
        for i, child in enumerate(value):
            yield from _paths(child, (*here, i))


def _expand(text: str, place: str) -> str:
    def replace(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        value = os.environ.get(name)
        if value:
            note_variable(name, value)
            return value
        if default is None:
            raise UserError(
                f"the environment variable {name} is not set",
                where=place,
                hint=f"export {name}=..., or write ${{{name}:-default}}",
            )
        return default

    return _VARIABLE.sub(replace, text)


def merge(base: Source, over: Source) -> None:
    """Merge `over` into `base`: merge mappings, replace everything else."""
    _merge_mapping(base.tree, over.tree, (), base, over)
    if () in over.places:
        base.places[()] = over.places[()]


def _merge_mapping(
    base: dict[str, Any], over: Mapping[str, Any], path: KeyPath, base_source: Source, over_source: Source
) -> None:
    for key, value in over.items():
        here = (*path, key)
        if isinstance(value, Mapping) and isinstance(base.get(key), dict):
            # A component that is exchanged for another one does not inherit the other's parameters.
            if "name" in value and base[key].get("name") not in (None, value["name"]):
                _replace(base, key, value, here, base_source, over_source)
                continue
            base_source.places[here] = over_source.place(here)
            _merge_mapping(base[key], value, here, base_source, over_source)
        else:
            _replace(base, key, value, here, base_source, over_source)


def _replace(base: dict[str, Any], key: str, value: Any, here: KeyPath, base_source: Source, over: Source) -> None:
    _forget_places(base_source, base.get(key), here)
    base[key] = _copy(value)
    base_source.places.update({path: over.places[path] for path in _paths(value, here) if path in over.places})


def _forget_places(source: Source, value: Any, here: KeyPath) -> None:
    for path in _paths(value, here):
        source.places.pop(path, None)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_copy(v) for v in value]
    return value


def apply_set(source: Source, assignment: str, flag: str = "--set") -> None:
    """Apply one `--set path.to.key=value`. The path names a method, a condition or a list item by its label.

    Args:
        source: The tree, changed in place.
        assignment: The path and the value.
        flag: The option's name, for messages.

    Raises:
        UserError: There is no `=`, the value is not YAML, or the path leads through something that does not exist.
    """
    dotted, equals, text = assignment.partition("=")
    key = dotted.strip().rpartition(".")[2]
    shown = masked(text, key)
    where = f"{flag} {dotted}{equals}{shown}"
    if not equals or not dotted.strip():
        raise UserError(f"{flag} takes {'path.to.' if flag == '--set' else ''}key=value", where=where)
    value = read_yaml_value(text_of(text, where), where) if text else ""
    note_secrets(value, key)
    set_value(source, dotted.strip(), value, where)


def set_value(source: Source, dotted: str, value: Any, where: str) -> None:
    """Set the value at a dotted path. The path names a method, a condition or a list item by its label.

    Args:
        source: The tree, changed in place.
        dotted: The path.
        value: The value.
        where: The new place of the value, for messages.

    Raises:
        UserError: The path leads through something that does not exist.
    """
    segments = dotted.split(".")
    here: Any = source.tree
    path: KeyPath = ()
    for segment in segments[:-1]:
        here, path = _step(here, segment, path, where)
    last = segments[-1]
    if isinstance(here, list):
        index = _index(here, last, where)
        path = (*path, index)
        _forget_places(source, here[index], path)
        here[index] = value
    else:
        path = (*path, last)
        _forget_places(source, here.get(last), path)
        here[last] = value
    source.places[path] = where


def _step(here: Any, segment: str, path: KeyPath, where: str) -> tuple[Any, KeyPath]:
    if isinstance(here, list):
        index = _index(here, segment, where)
        if isinstance(here[index], str):
            here[index] = {"name": here[index]}
        here, path = here[index], (*path, index)
    else:
        child = here.setdefault(segment, {})
        if isinstance(child, str):
            child = here[segment] = {"name": child}
        here, path = child, (*path, segment)
    if not isinstance(here, dict | list):
        raise UserError(f"'{segment}' holds a single value and has nothing below it", where=where)
    return here, path


def _index(items: Sequence[Any], segment: str, where: str) -> int:
    labels = [item_label(item) for item in items]
    if segment in labels:
        return labels.index(segment)
    if segment.isdecimal() and len(segment) < _MAX_INDEX_DIGITS and int(segment) < len(items):
        return int(segment)
    near = difflib.get_close_matches(segment, [label for label in labels if label], n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(
        f"no item here is called '{segment}'", where=where, hint=hint + "choices: " + ", ".join(filter(None, labels))
    )


def item_label(item: Any) -> str:
    """Return the label of a list item of the YAML: `as`, else `name`, else the text itself."""
    if isinstance(item, Mapping):
        return str(item.get("as") or item.get("name") or "")
    return str(item)
