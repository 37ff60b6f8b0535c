"""A wording: what may stand in it, and what it writes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from eagbench.api import FORMATS, STYLES, Wording

ANSWER = "Say only <answer>0.00</answer>"
TASK = {"role": "a nurse", "outcome": "die", "window_hours": "48"}


def wording(**texts: Any) -> Wording:
    return Wording.model_validate({"format": "vanilla", "instruction": ANSWER, **texts})


def test_its_own_words_stand_for_placeholders_and_may_say_the_tasks_otherwise() -> None:
    made = wording(
        words={"outcome": "sterben", "unit": "{percent}"},
        question="Wird er {outcome}? In {unit}, nach {window_hours} h.",
        layout="{{json}} {record}\n{question}\n{instruction}\n",
    )
    assert made.asked(TASK) == "Wird er sterben? In {percent}, nach 48 h."
    assert made.prompt("HR {question} 80", TASK, short=False) == (
        "{json} HR {question} 80\nWird er sterben? In {percent}, nach 48 h.\nSay only <answer>0.00</answer>\n"
    )
    assert made.prompt("r", TASK, short=True) == "r\nWird er sterben? In {percent}, nach 48 h.\nFormat: vanilla\n"


@pytest.mark.parametrize(
    ("texts", "complaint"),
    [
        ({"layout": "a\n{recrod} {question} {instruction}"}, r"line 2 .*\{recrod\}.*did you mean \{record\}\?"),
        ({"question": "In {unit}?"}, r"\{unit\}, and nothing stands for it; .*`words`"),
        ({"question": "{record}?"}, r"\{record\}, and nothing stands for it"),
        ({"layout": "{question} {instruction}"}, "shows the record 0 times"),
        ({"short_layout": "{record} {record}"}, "shows the record 2 times"),
        ({"layout": "{record} {question}"}, r"leaves out \{instruction\}"),
        ({"question": "What {"}, r"a single '\{'"),
        ({"question": "What }"}, r"a single '\}'"),
        ({"words": {"record": "x"}}, "can't be a placeholder"),
        ({"words": {"a b": "x"}}, "can't be a placeholder"),
        ({"words": {"unit": "x"}}, "'unit' is declared and no text uses it"),
        ({"format": "json"}, "Input should be 'vanilla'"),
        ({"wording": "x"}, "Extra inputs"),
    ],
)
def test_a_mistake_is_refused(texts: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        wording(**texts)


@pytest.mark.parametrize(
    ("name", "instruction", "complaint"),
    [
        ("vanilla", "Say a number.", "does not show <answer>"),
        ("vanilla", "Say <answer>0.00", "does not show </answer>"),
        ("vanilla", "Say <Answer>0.00</Answer>", "does not show <answer>, and <Answer> is another"),
        ("vanilla", f"<think> a </think> {ANSWER}", "shows <think>, which an answer in the format 'vanilla'"),
        ("think_answer", ANSWER, "does not show <think>"),
        ("question_decomposition", ANSWER, "does not show <Subquestion>"),
    ],
)
def test_the_answer_it_asks_for_is_one_that_is_read(name: str, instruction: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        wording(format=name, instruction=instruction)


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_file_leaves_out_is_as_the_built_in_prompt_says_it(name: str) -> None:
    built_in = STYLES[name].wording
    assert built_in == Wording(format=built_in.format, instruction=built_in.instruction)
