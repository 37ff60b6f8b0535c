"""The reference from the code: command line, keys of a benchmark, components by kind, what plugins import."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import eagbench.api
from eagbench.cli.main import app
from eagbench.config.benchmark import Benchmark
from eagbench.registry.listing import KINDS
from eagbench.registry.plugins import Registry, load_registry

TITLES = {
    "dataset": "Data sets", "expert": "Experts", "policy": "Policies", "prompt": "Prompts", "search": "Searches",
    "reward": "Rewards", "method": "Methods", "perturbation": "Perturbations", "metric": "Metrics",
    "tracker": "Trackers", "executor": "Executors",
}  # fmt: skip


def generated() -> dict[str, str]:
    """Write every page of the reference that follows from the code, as Markdown by path below docs/."""
    registry = load_registry()
    return {
        "reference/command_line.md": command_line(),
        "reference/benchmark.md": benchmark(),
        "reference/api.md": api(),
        **{f"reference/{kind}.md": components(registry, kind) for kind in KINDS},
    }


def command_line() -> str:
    """Describe every command with its arguments and options, as `--help` does."""
    parts = [
        "# Command line",
        "`eagbench COMMAND --help` prints the same. Exit codes are in [the design](../design.md#messages).",
    ]
    for words, command in _commands(typer.main.get_command(app), ("eagbench",)):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        usage = " ".join([*words, *(p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments)])
        parts += [
            f"## {' '.join(words[1:])}",
            _text(command.help or ""),
            f"    {usage}{' [OPTIONS]' if options else ''}",
        ]
        rows = [(f"`{p.name.upper()}`", _cell(p.help or "")) for p in arguments]
        rows += [(f"`{_option(p)}`", _cell(_with_default(p))) for p in options]
        if rows:
            parts.append(_table(("argument or option", "meaning"), rows))
    return "\n\n".join(parts) + "\n"


def _commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
        return
    for name in sorted(below):
        yield from _commands(below[name], (*words, name))


def _option(option: Any) -> str:
    name = ", ".join(option.opts)
    if option.is_flag:
        return name
    return f"{name} {option.metavar or option.name.upper()}"


def _with_default(option: Any) -> str:
    shown = option.default is not None and not option.is_flag and option.show_default
    repeatable = " May be given several times." if option.multiple else ""
    return f"{option.help or ''}{f' Default: {option.default}.' if shown else ''}{repeatable}"


def benchmark() -> str:
    """Describe every key of a benchmark's YAML, and of the mappings in it."""
    parts = [
        "# Keys of a benchmark",
        "`eagbench schema` prints the same as JSON Schema, with the parameters of every installed component, for "
        "editors that complete and check YAML. A *component* is a name (`lightgbm`), or a mapping with its name and "
        "parameters (`{name: lightgbm, num_leaves: 7}`).",
        *_described(Benchmark),
    ]
    seen = {Benchmark}
    waiting = list(_models(Benchmark))
    while waiting:
        model = waiting.pop(0)
        if model in seen:
            continue
        seen.add(model)
        waiting += _models(model)
        parts += [f"## {model.__name__}", *_described(model)]
    return "\n\n".join(parts) + "\n"


def components(registry: Registry, kind: str) -> str:
    """Describe the components of one kind that come with eagbench: what each is, and its parameters."""
    parts = [f"# {TITLES[kind]}", f"`eagbench plugins list --kind {kind}` also lists those of your own plugins."]
    for name in registry.names(kind):
        component: Any = registry.get(kind, name).component
        parts += [f"## {name}", _text(_own_text(component))]
        parts += _described(component.Params, without_text=True)
        for model in _models(component.Params):
            parts += [f"**`{model.__name__}`**", *_described(model)]
    return "\n\n".join(parts) + "\n"


def api() -> str:
    """List everything that `eagbench.api` exports, by the room that it comes from, for mkdocstrings to describe."""
    by_module: dict[str, list[str]] = {}
    constants: list[str] = []
    for name in eagbench.api.__all__:
        value = getattr(eagbench.api, name)
        module = getattr(value, "__module__", None)
        if (inspect.isclass(value) or inspect.isfunction(inspect.unwrap(value))) and str(module).startswith(
            "eagbench."
        ):
            by_module.setdefault(str(module), []).append(name)
        else:
            constants.append(name)
    parts = [
        "# For plugins: eagbench.api",
        "Everything that a plugin may import, with `from eagbench.api import ...`. Anything else may change without "
        "notice. [Write a plugin](../how_to/plugin.md) begins with a whole one.",
        "Constants, type aliases and the marker of hooks: " + ", ".join(f"`{name}`" for name in constants) + ".",
    ]
    for module in sorted(by_module):
        parts.append(f"## {_heading(module)}")
        parts += [f"::: {module}.{name}" for name in by_module[module]]
    return "\n\n".join(parts) + "\n"


def _heading(module: str) -> str:
    return " / ".join(part.replace("_", " ") for part in module.split(".")[1:])


def _described(model: type[BaseModel], *, without_text: bool = False) -> list[str]:
    """Describe a model: its text, and a table of its keys with type, default and meaning."""
    meanings = _meanings(model)
    rows = [
        (f"`{field.alias or key}`", f"`{_type(field.annotation)}`", _default(field), _cell(meanings.get(key, "")))
        for key, field in model.model_fields.items()
    ]
    text = [] if without_text else [_text(_own_text(model))]
    return [*text, _table(("key", "type", "default", "meaning"), rows)] if rows else text


def _own_text(of: Any) -> str:
    """The docstring of a class without its sections (`Attributes:`, `Source:` stays); empty if it is inherited."""
    text = inspect.cleandoc(of.__doc__ or "")
    return re.split(r"^(?:Attributes|Args|Raises|Returns):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The entries of `Attributes:` in the docstrings of a model and of those it inherits from."""
    found: dict[str, str] = {}
    for of in reversed(model.__mro__):
        _, _, section = inspect.cleandoc(of.__dict__.get("__doc__") or "").partition("\nAttributes:\n")
        for entry in re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n {8}.*)*)", section, flags=re.MULTILINE):
            for name in entry[0].split(", "):
                found[name] = re.sub(r"\s+", " ", entry[1])
    return found


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models within the types of a model's keys, in order, each once."""
    found: dict[type[BaseModel], None] = {}
    for field in model.model_fields.values():
        found.update(dict.fromkeys(_within(field.annotation)))
    return list(found)


def _within(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _within(part)


def _type(annotation: Any) -> str:
    """Write a type as one would in a note, without pydantic's constraints."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(map(repr, parts))
    if origin in (Union, UnionType):
        return " or ".join(map(_type, parts))
    if origin is tuple:
        return f"list of {_type(parts[0])}"
    if origin is not None and issubclass(origin, Mapping | dict):
        return f"mapping of {_type(parts[0])} to {_type(parts[1])}"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, tuple):
        value = [entry if not isinstance(entry, BaseModel) else getattr(entry, "label", entry) for entry in value]
    written = str(value).replace("|", "\\|")
    return f"`{written}`" if written else "empty"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return _text(re.sub(r"\s+", " ", text)).replace("|", "\\|")


def _text(text: str) -> str:
    """Protect what Markdown would read as HTML or emphasis, but not in code."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*_$])", r"\\\1", part) for part in parts)
