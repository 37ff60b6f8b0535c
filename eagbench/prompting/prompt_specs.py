"""A prompt as a parameter: the name of a registered one, or the words themselves.

The built-in prompts stay names, since their files count with the code that reads them. Any other one becomes its words,
whoever registered it: a fingerprint then holds what is asked, and a run can be read where its plugin is not installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    GetCoreSchemaHandler,
    PlainSerializer,
    Tag,
    ValidationError,
    field_validator,
)
from pydantic_core import CoreSchema

from eagbench.config.suggestions import choices
from eagbench.contracts.prompts import Wording
from eagbench.prompting.styles import STYLES, Style
from eagbench.registry.plugins import load_registry

KIND = "prompt"


class NamedWording(Wording):
    """A wording as a benchmark or a file gives it.

    Attributes:
        name: Its name; no built-in prompt has it.
    """

    name: str

    @field_validator("name")
    @classmethod
    def _is_its_own(cls, name: str) -> str:
        if name in STYLES:
            raise ValueError(f"'{name}' is a built-in prompt: give yours another name")
        return name


def style_of(spec: str | Mapping[str, Any]) -> Style:
    """Return the style that a validated parameter of the type `PromptSpec` means."""
    if isinstance(spec, str):
        return STYLES[spec]
    words = {key: value for key, value in spec.items() if key != "name"}
    return Style(spec["name"], Wording.model_validate(words))


def style_if_any(value: Any) -> Style | None:
    """Return the style that the parameter `style` of some method means; None if it means something else."""
    if isinstance(value, str):
        return STYLES.get(value)
    try:
        return style_of(NamedWording.model_validate(value).model_dump())
    except ValidationError:
        return None


def _written_out(value: Any) -> Any:
    """Replace the name of a registered prompt, or a mapping with its parameters, by its words."""
    if isinstance(value, str):
        value = {"name": value}
        if value["name"] in STYLES:
            return value["name"]
    if not isinstance(value, Mapping) or Wording.model_fields.keys() & value.keys():
        return value
    given = {key: each for key, each in value.items() if key != "name"}
    name, registry = str(value.get("name")), load_registry()
    if not registry.has(KIND, name):
        more = "; one of your own is a file that ends in .yaml, or stands among the benchmark's `prompts`"
        raise ValueError(f"there is no prompt called '{name}'; {choices(name, registry.names(KIND), more)}")
    found: Wording = registry.create(KIND, name, given).wording()
    return {"name": name, **found.model_dump(mode="json")}


def _plain(value: str | Wording) -> str | dict[str, Any]:
    return value if isinstance(value, str) else value.model_dump(mode="json")


class _AsWords:
    """Validates a `PromptSpec`; the value is a built-in name, or the words as JSON."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source
        return handler.generate_schema(_SPEC)


# The tags in brackets are left out of a message's path.
_SPEC: Any = Annotated[
    Annotated[str, Tag("style[name]")] | Annotated[NamedWording, Tag("style[words]")],
    Discriminator(lambda value: "style[name]" if isinstance(value, str) else "style[words]"),
    BeforeValidator(_written_out),
    AfterValidator(_plain),
    PlainSerializer(lambda value: value),
]

# The type of a parameter that names a prompt; a method calls it `style`. `style_of` makes the style.
PromptSpec = Annotated[str | dict[str, Any], _AsWords()]
