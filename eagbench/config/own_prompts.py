"""Puts the prompts that a benchmark names by file, or among its own `prompts`, in the place of their names.

From then on the words themselves are parameters of the method or condition: they enter its fingerprint and stand in the
manifest, and an edited file makes stale what was asked in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eagbench.config.yaml_source import KeyPath, Source, read_yaml
from eagbench.errors import UserError

_SUFFIXES = (".yaml", ".yml")


def put_prompts(source: Source) -> None:
    """Replace the names of prompt files, and of the benchmark's own prompts, by what they hold.

    Names stand in `prompts`, and in the parameters `style` and `wordings` of methods and conditions. A path is relative
    to the file that names it.

    Args:
        source: The benchmark, changed in place. Names that it does not explain stay as they are.

    Raises:
        UserError: A file is missing or can't be read.
    """
    _read_own(source)
    for key in ("methods", "conditions"):
        _visit(source, source.tree.get(key), (key,))


def _read_own(source: Source) -> None:
    named = source.tree.get("prompts")
    if isinstance(named, list) and all(isinstance(name, str) for name in named):
        source.tree["prompts"] = {}
        for i, name in enumerate(named):
            place = source.places.pop(("prompts", i), source.place(("prompts",)))
            source.places["prompts", Path(name).stem] = place
            source.tree["prompts"][Path(name).stem] = name
    own = source.tree.get("prompts")
    for name, value in own.items() if isinstance(own, dict) else ():
        if isinstance(value, str):
            _put(source, own, name, ("prompts", name), _file(source, value, ("prompts", name)))


def _visit(source: Source, here: Any, path: KeyPath) -> None:
    """Replace names below a value of the tree."""
    if isinstance(here, list):
        for i, item in enumerate(here):
            _visit(source, item, (*path, i))
    if not isinstance(here, dict):
        return
    for key, value in here.items():
        if key == "style":
            _replace(source, here, key, (*path, key))
        elif key == "wordings" and isinstance(value, dict):
            for name, listed in value.items():
                if isinstance(listed, list):
                    for i in range(len(listed)):
                        _replace(source, listed, i, (*path, key, name, i))
        else:
            _visit(source, value, (*path, key))


def _replace(source: Source, holder: Any, key: str | int, path: KeyPath) -> None:
    """Replace one name, if the benchmark explains it."""
    name, own = holder[key], source.tree.get("prompts")
    if not isinstance(name, str):
        return
    if isinstance(own, dict) and isinstance(own.get(name), dict):
        explained = ("prompts", name)
        places = {p[2:]: place for p, place in source.places.items() if p[:2] == explained and len(p) > 2}
        _put(source, holder, key, path, Source({"name": name, **own[name]}, places))
    elif name.endswith(_SUFFIXES):
        found = _file(source, name, path)
        _put(source, holder, key, path, Source({"name": Path(name).stem, **found.tree}, found.places))


def _put(source: Source, holder: Any, key: str | int, path: KeyPath, found: Source) -> None:
    holder[key] = dict(found.tree)
    source.places.update({(*path, *p): place for p, place in found.places.items()})


def _file(source: Source, name: str, path: KeyPath) -> Source:
    where = source.place(path)
    named_in = Path(where.rpartition(":")[0])
    file = (named_in.parent if named_in.is_file() else Path()) / Path(name).expanduser()
    if not file.is_file():
        raise UserError(
            f"there is no prompt file '{name}'", where=where, hint="a path is relative to the file that names it"
        )
    found: Source = read_yaml(file)
    tree: Mapping[str, Any] = found.tree
    if "name" in tree:
        raise UserError(
            "a prompt file has no key 'name'", where=found.place(("name",)), hint="its name is the file's, or its key"
        )
    return found
