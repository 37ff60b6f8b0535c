"""`eagbench plugins show`: what a component is, where it comes from, its parameters, and a benchmark with it."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eagbench.cli.catalogue import type_in_words, value_in_words
from eagbench.cli.plugins.examples import example_benchmark
from eagbench.errors import UserError
from eagbench.registry.blame import refusing
from eagbench.registry.listing import KINDS
from eagbench.registry.plugins import Registered, described_owner, load_registry

_SCALARS = (bool, int, float, str)
_EXPERT = "logistic_regression"


def show(name: str, kind: str | None) -> str:
    """Describe every component of a name.

    Args:
        name: The name, or a former one.
        kind: Only this kind; None for all.

    Raises:
        UserError: There is no such kind, or no component of the name.
    """
    if kind is not None and kind not in KINDS:
        raise UserError(f"there is no kind '{kind}'", where="--kind", hint="choices: " + ", ".join(KINDS))
    registry = load_registry()
    kinds = KINDS if kind is None else (kind,)
    found = [registry.get(each, name) for each in kinds if registry.has(each, name)]
    if not found:
        raise registry.unknown("component" if kind is None else kind, kinds, name, None)
    return "\n\n\n".join(map(_shown, found))


@refusing()
def _shown(registered: Registered) -> str:
    component: Any = registered.component
    lines = [f"{registered.name}: {registered.kind}", "", inspect.getdoc(component) or "(it has no docstring)", ""]
    lines.append(f"from        {described_owner(registered).partition(' of ')[2]}")
    file, line = _place(component)
    lines.append(f"file        {file}, line {line}")
    if registered.former_names:
        lines.append(f"once called {', '.join(registered.former_names)}")
    lines += ["", *parameters(component.Params), ""]
    required = [key for key, field in component.Params.model_fields.items() if field.is_required()]
    fill_in = f"; fill in {', '.join(required)}" if required else ""
    lines += [f"a benchmark with it, with its parameters at their defaults{fill_in}:", ""]
    return "\n".join((*lines, _benchmark(registered, component)))


def _place(component: type) -> tuple[Path, int]:
    return Path(inspect.getfile(component)), inspect.getsourcelines(component)[1]


def parameters(model: type[BaseModel]) -> list[str]:
    """List a model's parameters: name, type, default and meaning."""
    meanings = _meanings(model)
    lines = ["parameters" if model.model_fields else "no parameters"]
    for key, field in model.model_fields.items():
        meaning = field.description or meanings.get(key, "")
        lines.append(f"  {key:<22} {type_in_words(field.annotation)}{_bounds(field)}, {value_in_words(field)}")
        lines += textwrap.wrap(meaning, 115, initial_indent=" " * 25, subsequent_indent=" " * 25)
    return lines


def _bounds(field: FieldInfo) -> str:
    """Write the constraints of a parameter: `> 0, <= 1`."""
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "min_length": "length >=", "max_length": "length <="}
    found = [
        f"{sign} {getattr(bound, name)}"
        for bound in field.metadata
        for name, sign in signs.items()
        if getattr(bound, name, None) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Read what docstrings say of parameters, under `Attributes:`; those of the bases count too."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        section = text.partition("\nAttributes:\n")[2]
        for entry in re.split(r"\n(?=    \S)", "\n" + re.split(r"\n(?=\S)", section)[0]):
            key, colon, meaning = entry.strip().partition(":")
            if colon and key.isidentifier():
                found[key] = " ".join(meaning.split())
    return found


def _benchmark(registered: Registered, component: Any) -> str:
    model: type[BaseModel] = component.Params
    params: dict[str, Any] = {}
    for key, field in model.model_fields.items():
        default = None if field.is_required() else field.get_default(call_default_factory=True)
        if field.is_required():
            params[key] = _placeholder(key, field.annotation)
        elif type(default) in _SCALARS:
            params[key] = default
    if {"expert", "search"} <= set(model.model_fields):  # a search may need its salience
        params["expert"] = _EXPERT
    is_made = not any(field.is_required() for field in model.model_fields.values())
    return example_benchmark(registered.kind, registered.name, params, component(model()) if is_made else component)


def _placeholder(key: str, annotation: Any) -> str:
    """Write what stands for a value that only the reader knows."""
    if key == "expert":
        return _EXPERT
    return "FOLDER" if annotation is Path else key.upper()
