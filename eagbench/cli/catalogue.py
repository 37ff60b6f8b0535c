"""What is there: components, data sets, clinical concepts, the schema of a benchmark's YAML."""

from __future__ import annotations

import inspect
import json
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from eagbench.config.benchmark import Benchmark
from eagbench.errors import UserError
from eagbench.registry.plugins import load_registry
from eagbench.vocabulary.concepts import Concept
from eagbench.vocabulary.vocabulary import vocabulary


def list_datasets() -> str:
    """List the data sets, one line each."""
    registry = load_registry()
    lines = []
    for name in registry.names("dataset"):
        summary = (inspect.getdoc(registry.get("dataset", name).component) or "").partition("\n")[0]
        lines.append(f"{name:<16} {summary}")
    return "\n".join(lines)


def list_concepts(search: str | None, source: str | None) -> str:
    """List the clinical vocabulary, one line per concept.

    Args:
        search: Text in a concept's name, label, synonyms or LOINC code; case does not matter.
        source: A data set that must hold the concept.

    Raises:
        UserError: The vocabulary maps no data set of that name, or no concept fits.
    """
    words = vocabulary()
    concepts = [words.concept(name) for name in words.names]
    sources = sorted({name for concept in concepts for name in concept.sources})
    if source is not None and source not in sources:
        raise UserError(
            f"the vocabulary maps no data set '{source}'", where="--source", hint=f"choices: {', '.join(sources)}"
        )
    sought = (search or "").casefold()
    rows = [
        (
            concept.name,
            concept.unit,
            _range(*concept.reference),
            _range(*concept.plausible),
            ", ".join(concept.conversions) or "-",
            ", ".join((concept.label, *concept.synonyms)),
        )
        for concept in concepts
        if (source is None or source in concept.sources)
        and any(sought in name.casefold() for name in _searched(concept))
    ]
    if not rows:
        raise UserError(
            f"no concept has '{sought}' in its name, label, synonyms or LOINC code"
            + ("" if source is None else f" among those of {source}"),
            hint="A data set of your own may add it: docs/datasets/long_csv.md, `new_concepts`.",
        )
    table = [("concept", "unit", "reference", "plausible", "other units", "names"), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in table)
    return "\n".join(line.rstrip() for line in lines)


def _searched(concept: Concept) -> tuple[str, ...]:
    name = concept.name
    return (name, name.replace("_", " "), concept.label, *concept.synonyms, concept.loinc or "")


def _range(low: float | None, high: float | None) -> str:
    if low is None:
        return "-" if high is None else f"up to {high:g}"
    if high is None:
        return f"from {low:g}"
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def describe_dataset(name: str) -> str:
    """Describe a data set and the parameters that it takes."""
    component: Any = load_registry().get("dataset", name).component
    lines = [name, "", inspect.getdoc(component) or "", "", "parameters of `data:`"]
    for key, field in component.Params.model_fields.items():
        annotation = type_in_words(field.annotation)
        meaning = f": {field.description}" if field.description else ""
        lines.append(f"  {key:<22} {annotation}, {value_in_words(field)}{meaning}")
    return "\n".join(lines)


def value_in_words(field: FieldInfo) -> str:
    """Write a parameter's default, or that it is required."""
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    return f"default {default.model_dump() if isinstance(default, BaseModel) else default}"


def type_in_words(annotation: Any) -> str:
    """Write a parameter's type without pydantic's constraints, e.g. `dict[str, Variable]`."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_in_words(parts[0])
    if origin is Literal:
        return " | ".join(repr(part) for part in parts)
    if origin in (Union, UnionType):
        return " | ".join(type_in_words(part) for part in parts)
    if origin is not None:
        inner = ", ".join("..." if part is Ellipsis else type_in_words(part) for part in parts)
        return f"{origin.__name__}[{inner}]"
    return "None" if annotation is type(None) else getattr(annotation, "__name__", str(annotation))


def schema() -> str:
    """Return the JSON Schema of a benchmark's YAML.

    The parameters of each installed component are under `$components`.
    """
    registry = load_registry()
    document = Benchmark.model_json_schema()
    components: dict[str, dict[str, Any]] = {}
    for registered in registry:
        component: Any = registered.component
        components.setdefault(registered.kind, {})[registered.name] = component.Params.model_json_schema()
    document["$components"] = components
    return json.dumps(document, indent=1, sort_keys=True)
