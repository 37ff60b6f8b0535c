"""The built-in prompts to the byte, and prompts in other words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eagbench.api import STYLES, RecordText, RecordTextParams, UserError, Wording, prompt_text, prompt_with_spans
from tests.core.prompting.test_record import CASE, cohort

# As written before their words became data.
WRITTEN = Path(__file__).parent / "built_in_prompts"
OTHER = Wording(
    format="vanilla",
    instruction="Only <answer>0.00</answer>",
    layout="{instruction} {question}\n{record}",
    short_layout="{format}\n{record}",
)


@pytest.mark.parametrize("instructions", ["full", "short"])
@pytest.mark.parametrize("name", STYLES)
def test_the_built_in_prompts_are_what_they_were_to_the_byte(name: str, instructions: Any) -> None:
    text = RecordText(RecordTextParams(values="flagged", instructions=instructions))
    written = (WRITTEN / f"{name}.{instructions}.txt").read_bytes()
    assert prompt_text(STYLES[name], CASE, cohort(CASE), text).encode() == written


@pytest.mark.parametrize("instructions", ["full", "short"])
def test_a_case_is_asked_about_in_the_words_that_it_carries(instructions: Any) -> None:
    text, reworded = RecordText(RecordTextParams(instructions=instructions)), replace(CASE, wordings={"vanilla": OTHER})
    record = text.render(CASE, cohort(CASE))
    prompt, spans = prompt_with_spans(STYLES["vanilla"], reworded, cohort(reworded), text)
    asked = "Only <answer>0.00</answer> How likely is it that this patient will die before leaving the hospital?"
    assert prompt == f"{'vanilla' if instructions == 'short' else asked}\n{record}\n"
    assert prompt[slice(*spans["lactate"])].startswith("lactate")


@pytest.mark.parametrize(
    ("wordings", "complaint"),
    [
        ({"mine": OTHER}, "no other words for the prompt 'think_answer'"),
        ({"think_answer": OTHER}, "ask for the format 'vanilla', and its answers are read in 'think_answer'"),
    ],
)
def test_a_prompt_without_other_words_or_in_another_format_is_refused(wordings: Any, complaint: str) -> None:
    changed = replace(CASE, wordings=wordings)
    with pytest.raises(UserError, match=complaint):
        prompt_text(STYLES["think_answer"], changed, cohort(changed), RecordText(RecordTextParams()))
