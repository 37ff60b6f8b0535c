"""A prompt as a parameter: a name stays one or becomes words, and is the same after JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from eagbench.api import STYLES, PromptSpec, StrictParams, style_of
from eagbench.prompting.prompt_specs import style_if_any

WORDS = {"name": "mine", "format": "vanilla", "instruction": "Only <answer>0.00</answer>"}


class Params(StrictParams):
    style: PromptSpec = "vanilla"


@pytest.mark.parametrize("name", STYLES)
def test_a_built_in_name_stays_one(name: str) -> None:
    made = Params.model_validate({"style": name})
    assert made.model_dump(mode="json") == {"style": name}
    assert style_of(made.style) is STYLES[name]


def test_words_are_filled_in_and_survive_json() -> None:
    made = Params.model_validate({"style": WORDS})
    dumped = json.loads(made.model_dump_json())
    assert dumped["style"]["question"] == STYLES["vanilla"].wording.question
    assert Params.model_validate(dumped) == made
    style = style_of(made.style)
    assert (style.name, style.format, style.instruction) == ("mine", "vanilla", WORDS["instruction"])
    assert style_if_any(dumped["style"]) == style


@pytest.mark.parametrize(
    ("style", "complaint"),
    [
        ("vanila", "no prompt called 'vanila'; did you mean 'vanilla'"),
        ({"name": "vanila"}, "no prompt called 'vanila'"),
        ({**WORDS, "name": "vanilla"}, "'vanilla' is a built-in prompt"),
        ({"format": "vanilla", "instruction": WORDS["instruction"]}, "name"),
        (3, "valid"),
    ],
)
def test_anything_else_is_refused(style: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Params.model_validate({"style": style})


@pytest.mark.parametrize("value", [None, 3, ["vanilla"], "mine", {"colour": "red"}, {**WORDS, "format": "json"}])
def test_another_methods_style_may_mean_something_else(value: Any) -> None:
    assert style_if_any(value) is None
