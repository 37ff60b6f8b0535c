"""Reads a benchmark from YAML, a profile and `--set`, and reports errors in the user's terms."""

from __future__ import annotations

import difflib
import reprlib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from eagbench.config.benchmark import Benchmark
from eagbench.config.own_prompts import put_prompts
from eagbench.config.secrets import masked, note_secrets
from eagbench.config.yaml_source import KeyPath, Source, apply_set, item_label, merge, read_yaml
from eagbench.errors import UserError

_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class LoadedBenchmark:
    """A validated benchmark with the tree it was read from, and the place of every value."""

    benchmark: Benchmark
    source: Source
    profile: str | None = None

    def place(self, *path: str | int) -> str:
        """Locate a value in the user's file."""
        return self.source.place(tuple(path))

    def resolved(self) -> dict[str, Any]:
        """Return the benchmark as the user could have written it in one file, with secrets masked."""
        return {key: masked(value, key) for key, value in self.source.tree.items() if key != "profiles"}


def load_benchmark(
    path: Path, *, sets: Sequence[str] = (), profile: str | None = None, seeds: Sequence[int] | None = None
) -> LoadedBenchmark:
    """Read a benchmark, apply the profile, then `--set` and `--seeds`, and validate it.

    Raises:
        UserError: The file, the profile or an assignment has an error; the message names file and line.
    """
    return validate_benchmark(read_benchmark(path, sets=sets, profile=profile, seeds=seeds), profile)


def read_benchmark(
    path: Path, *, sets: Sequence[str] = (), profile: str | None = None, seeds: Sequence[int] | None = None
) -> Source:
    """Read a benchmark like `load_benchmark`, but return the tree before validation, for further changes."""
    source = read_yaml(path)
    if profile is not None:
        profiles = source.tree.get("profiles")
        if not isinstance(profiles, dict) or not isinstance(profiles.get(profile), dict):
            choices = ", ".join(profiles) if isinstance(profiles, dict) else "none"
            raise UserError(f"there is no profile '{profile}'", where=str(path), hint=f"choices: {choices}")
        prefix = ("profiles", profile)
        over = Source(
            tree=profiles[profile],
            places={p[2:]: place for p, place in source.places.items() if p[:2] == prefix},
        )
        merge(source, over)
    for assignment in sets:
        apply_set(source, assignment)
    if seeds is not None:
        source.tree["seeds"] = list(seeds)
        source.places[("seeds",)] = "--seeds"
    _rename_keys(source)
    return source


# Former keys of a benchmark; they work until 0.2.
_RENAMED_KEYS = {"teacher_features": "reference_features"}


def _rename_keys(source: Source) -> None:
    for old, new in _RENAMED_KEYS.items():
        if old in source.tree and new not in source.tree:
            source.notes.append(f"{source.place((old,))}: the key '{old}' is called '{new}' now")
            source.tree[new] = source.tree.pop(old)
            source.places[(new,)] = source.place((old,))


def validate_benchmark(source: Source, profile: str | None = None) -> LoadedBenchmark:
    """Validate the benchmark that a tree describes.

    Raises:
        UserError: The tree, or a prompt file that it names, has an error; the message names file and line.
    """
    note_secrets(source.tree)
    put_prompts(source)
    try:
        benchmark = Benchmark.model_validate(source.tree)
    except ValidationError as error:
        raise validation_error(error, Benchmark, source, ()) from error
    return LoadedBenchmark(benchmark=benchmark, source=source, profile=profile)


def validate_params(model: type[BaseModel], params: Mapping[str, Any], source: Source, path: KeyPath) -> BaseModel:
    """Validate a component's parameters.

    Raises:
        UserError: A key is unknown or a value is invalid; the message names file, line and the nearest valid name.
    """
    try:
        return model.model_validate(dict(params))
    except ValidationError as error:
        raise validation_error(error, model, source, path) from error


def validation_error(error: ValidationError, model: type[BaseModel], source: Source, path: KeyPath) -> UserError:
    """Turn the first of pydantic's complaints into a readable error."""
    first = min(error.errors(include_url=False), key=lambda e: 0 if e["type"] == "extra_forbidden" else 1)
    # pydantic names the model of a union in brackets; an unknown key, which comes last, may hold one too.
    inner, unknown = (
        (first["loc"][:-1], first["loc"][-1:]) if first["type"] == "extra_forbidden" else (first["loc"], ())
    )
    location = (*(p for p in inner if not (isinstance(p, str) and "[" in p)), *unknown)
    written = _as_written(path + location, source)
    where = source.place(written)
    key = ".".join(str(_label_of(source, written, i)) for i in range(len(written)))
    others = error.error_count() - 1
    more = f" ({others} more to fix after this one)" if others else ""
    if first["type"] == "extra_forbidden":
        names = _field_names(model, first["loc"][:-1])
        near = difflib.get_close_matches(str(location[-1]), names, n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        return UserError(f"unknown key '{key}'{more}", where=where, hint=f"{hint}choices: {', '.join(names)}")
    if first["type"] == "missing":
        return UserError(f"the key '{key}' is missing{more}", where=where)
    message = first["msg"].removeprefix("Value error, ")
    key_given = str(location[-1]) if location else ""
    given = "" if first["type"] == "value_error" else f", not {_shown(masked(first['input'], key_given))}"
    about = f"'{key}': " if key else ""
    return UserError(f"{about}{message[:1].lower()}{message[1:]}{given}{more}", where=where)


def _shown(value: Any) -> str:
    text = reprlib.repr(value) if isinstance(value, dict | list | tuple) else repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _as_written(path: KeyPath, source: Source) -> KeyPath:
    """Drop keys that only our models have (`params`, `label`) from a path, so that it fits the user's tree."""
    here: Any = source.tree
    written: KeyPath = ()
    for part in path:
        if isinstance(here, dict) and part not in here and part in {"params", "label"}:
            continue
        written = (*written, part)
        if (isinstance(here, dict) and part in here) or (
            isinstance(here, list) and isinstance(part, int) and part < len(here)
        ):
            here = here[part]  # type: ignore[index]
    return written


def _label_of(source: Source, path: KeyPath, index: int) -> str | int:
    part = path[index]
    if isinstance(part, str):
        return part
    here: Any = source.tree
    for step in path[: index + 1]:
        try:
            here = here[step]
        except (KeyError, IndexError, TypeError):
            return part
    return item_label(here) or part


def _field_names(model: Any, location: Sequence[str | int]) -> list[str]:
    for part in location:
        if isinstance(part, str) and "[" in part:
            # pydantic says which model of a union it means: `split[FileSplit]`.
            model = _model_within(model, part.partition("[")[2].rstrip("]")) or model
            continue
        model = _model_within(model)
        if isinstance(part, str) and isinstance(model, type) and issubclass(model, BaseModel):
            # A part that is no field is a key of a mapping, whose values' model is here already.
            model = model.model_fields[part].annotation if part in model.model_fields else model
    model = _model_within(model)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return []
    return sorted(field.alias or name for name, field in model.model_fields.items())


def _model_within(annotation: Any, name: str | None = None) -> Any:
    """Find the first model in an annotation, or the one of a name."""
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if name in (None, annotation.__name__) else None
    for argument in typing.get_args(annotation):
        found = _model_within(argument, name)
        if isinstance(found, type) and issubclass(found, BaseModel):
            return found
    return None
