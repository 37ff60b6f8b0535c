"""Completes the paths and values of `--set` in a shell: the benchmark's keys, its labels, components' parameters."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from eagbench.errors import UserError

_BASH = {"_EAGBENCH_COMPLETE": "complete_bash"}
_NO_DEFAULT = object()


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in a benchmark.

    Attributes:
        annotation: The type of what may stand there.
        value: What stands there, or the default; `_NO_DEFAULT` if neither is known.
        kinds: The kinds of the component that stands there, or of those in a list or mapping.
    """

    annotation: Any
    value: Any
    kinds: tuple[str, ...] = ()


def complete_set(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete `--set path=value` of a benchmark."""
    given = _given(ctx)
    return _of_benchmark(given.get("benchmark"), given.get("profile"), incomplete)


def complete_described(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete `--set` of what may be a benchmark's file or a data set."""
    given = _given(ctx)
    if Path(given.get("name") or "").suffix in (".yaml", ".yml"):
        return _of_benchmark(given["name"], given.get("profile"), incomplete)
    return complete_data_set(ctx, incomplete)


def _of_benchmark(benchmark: str | Path | None, profile: str | None, incomplete: str) -> list[str]:
    from eagbench.config.benchmark import Benchmark
    from eagbench.config.loading import read_benchmark

    tree: Mapping[str, Any] = {}
    with contextlib.suppress(UserError):  # a file that can't be read yet still has the keys that all have
        tree = read_benchmark(Path(benchmark), profile=profile).tree if benchmark else {}
    return _completed(_Place(Benchmark, tree), incomplete)


def complete_data_set(ctx: typer.Context, incomplete: str) -> list[str]:
    """Complete `--set key=value` of a data set."""
    name = _given(ctx).get("name")
    return _completed(_Place(None, {"name": name}, ("dataset",)), incomplete) if name else []


def _given(ctx: typer.Context) -> Mapping[str, Any]:
    """Return the arguments before the cursor: while `--set` has no value, typer reads none of them."""
    words = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    if "COMP_WORDS" in os.environ:  # bash
        before = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"])]
    else:
        before = words.split() if words.endswith(" ") else words.split()[:-1]
    if ctx.info_name not in before or not before[-1].startswith("-"):
        return ctx.params
    arguments = [*before[before.index(ctx.info_name) + 1 :], "value"]
    parsed = ctx.command.make_context(ctx.info_name, arguments, parent=ctx.parent, resilient_parsing=True)
    return parsed.params


def _completed(root: _Place, incomplete: str) -> list[str]:
    path, equals, begun = incomplete.partition("=")
    *walked, last = path.split(".")
    here = root
    for step in walked:
        children = _children(here)
        if step not in children:
            return []
        here = children[step]
    prefix = "".join(f"{step}." for step in walked)
    children = _children(here)
    if equals:
        values = _values(children[last]) if last in children else []
        return [f"{path}={value}" for value in values if value.startswith(begun)]
    found = []
    for name, child in children.items():
        if name.startswith(last):
            found += [f"{prefix}{name}."] if _children(child) else []
            found += [f"{prefix}{name}="] if _values(child) or not _children(child) else []
    if len(found) > 1:
        return found
    # A shell ends a word with a space if there is one way on; where a word goes on, say how.
    if found and found[0].endswith("."):
        return _completed(root, found[0])
    return [*found, *(value for only in found for value in _completed(root, only))]


def _children(place: _Place) -> dict[str, _Place]:
    """List what lies below a place, by the names that a path has for it."""
    from eagbench.config.yaml_source import item_label

    if not place.kinds:
        found: dict[str, _Place] = {}
        for model in _models(place.annotation):
            found.update(_fields(model, place.value))
        return found
    if isinstance(place.value, list):
        return {item_label(item): _Place(None, item, place.kinds) for item in place.value if item_label(item)}
    if typing.get_origin(place.annotation) is dict:
        values = place.value if isinstance(place.value, Mapping) else {}
        return {str(name): _Place(None, value, place.kinds) for name, value in values.items()}
    return _parameters(place)


# What a benchmark's keys hold.
_KINDS: Mapping[str, tuple[str, ...]] = {
    "data": ("dataset",),
    "domains": ("dataset",),
    "reference_expert": ("expert",),
    "policy": ("policy",),
    "methods": ("method", "expert"),
    "conditions": ("perturbation",),
    "metrics": ("metric",),
    "trackers": ("tracker",),
}


def _fields(model: Any, value: Any) -> dict[str, _Place]:
    from eagbench.config.benchmark import Benchmark

    given = value if isinstance(value, Mapping) else {}
    kinds = _KINDS if model is Benchmark else {}
    found = {}
    for name, field in model.model_fields.items():
        if model is Benchmark and name == "profiles":
            continue  # `--profile` lays one on it before a value is set
        default = _NO_DEFAULT if field.is_required() else field.get_default(call_default_factory=True)
        key = field.alias or name
        found[key] = _Place(field.annotation, given.get(key, default), kinds.get(name, ()))
    return found


def _parameters(place: _Place) -> dict[str, _Place]:
    """List the parameters of the component that a place names."""
    from eagbench.registry.plugins import load_registry

    given = {"name": place.value} if isinstance(place.value, str) else place.value
    name = given.get("name") if isinstance(given, Mapping) else None
    registry = load_registry()
    kind = next((kind for kind in place.kinds if isinstance(name, str) and registry.has(kind, name)), None)
    if kind is None:
        return {}
    amounts = {"severity": _Place(list[float], given.get("severity", _NO_DEFAULT))} if kind == "perturbation" else {}
    component: Any = registry.get(kind, str(name)).component
    return amounts | _fields(component.Params, given)


def _models(annotation: Any) -> Iterator[Any]:
    """Yield the models that may stand at a place."""
    from pydantic import BaseModel

    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated):
        for part in typing.get_args(annotation):
            yield from _models(part)


def _values(place: _Place) -> list[str]:
    """List the values that may stand at a place: all of them where they are known, else what stands there now."""
    from eagbench.registry.plugins import load_registry

    if place.kinds:
        is_one = not isinstance(place.value, list) and typing.get_origin(place.annotation) is not dict
        return [name for kind in place.kinds for name in load_registry().names(kind)] if is_one else []
    known = list(dict.fromkeys(_choices(place.annotation)))
    if known or place.value is _NO_DEFAULT:
        return known
    try:
        return [json.dumps(place.value) if not isinstance(place.value, str) else place.value]
    except TypeError:  # a model, whose keys are the way on
        return []


def _choices(annotation: Any) -> Iterator[str]:
    if annotation is bool:
        yield from ("true", "false")
    elif typing.get_origin(annotation) is Literal:
        yield from (part if isinstance(part, str) else json.dumps(part) for part in typing.get_args(annotation))
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType, Annotated):
        found = [choice for part in typing.get_args(annotation) for choice in _choices(part)]
        yield from found
        if found and type(None) in typing.get_args(annotation):
            yield "null"


@contextlib.contextmanager
def words_of_bash() -> Iterator[None]:
    """Let a completion that bash asked for see `path=value` as the one word that it is.

    Bash breaks words at `=`: it hands over `path`, `=` and `value`, and replaces the last of them only.
    """
    if any(os.environ.get(name) != value for name, value in _BASH.items()):
        yield
        return
    words, current = os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0"))
    joined: list[str] = []
    index = 0
    for i, word in enumerate(words):
        if joined and len(joined) > 1 and (word == "=" or (i and words[i - 1] == "=")):
            joined[-1] += word
        else:
            joined.append(word)
        index = len(joined) - 1 if i == current else index
    index = index if current < len(words) else len(joined)
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = "\n".join(joined), str(index)
    kept = joined[index].rpartition("=")[0] if index < len(joined) else ""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        sys.stdout.write("".join(line.removeprefix(f"{kept}=") if kept else line for line in _lines(said)))


def _lines(text: io.StringIO) -> list[str]:
    return text.getvalue().splitlines(keepends=True)
