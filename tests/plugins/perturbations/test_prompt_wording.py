"""`prompt_wording` changes the words around a record and nothing in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eagbench.api import FORMATS, STYLES, Case, RecordText, RecordTextParams, prompt_text
from eagbench_plugins.perturbations.rewording.prompt_wording import paraphrases
from tests.plugins.perturbations.records import cohort_of, fitted, typical

CASE = typical(1)
OWN = {"name": "polite", "format": "vanilla", "instruction": "Please, only <answer>0.00</answer>"}


def prompt(case: Case, style: str = "vanilla", instructions: Any = "full") -> str:
    return prompt_text(STYLES[style], case, cohort_of(case), RecordText(RecordTextParams(instructions=instructions)))


@pytest.mark.parametrize("instructions", ["full", "short"])
@pytest.mark.parametrize("style", STYLES)
def test_each_paraphrase_is_another_prompt_about_the_same_record_in_the_same_format(
    style: str, instructions: Any
) -> None:
    asked = {prompt(CASE, style, instructions)}
    for variant in range(1, 5):
        changed = fitted("prompt_wording", variant=variant).apply(CASE, 1.0, 7)
        text = RecordText(RecordTextParams(instructions=instructions))
        assert text.render(changed, cohort_of(changed)) == text.render(CASE, cohort_of(CASE))
        asked.add(prompt(changed, style, instructions))
    assert len(asked) == 5
    if instructions == "full":
        tags = FORMATS[style].tags
        assert len({tuple(text.count(tag) for tag in tags) for text in asked}) == 1
        assert all("0.00" in text and "decimals" in text and cohort_of(CASE).task.outcome in text for text in asked)


def test_the_built_in_prompts_have_four_each() -> None:
    assert {name: len(paraphrases(name)) for name in STYLES} == dict.fromkeys(STYLES, 4)


def test_the_severity_is_the_share_of_the_cases_and_each_paraphrase_comes_as_often() -> None:
    perturbation = fitted("prompt_wording")
    found = [perturbation.apply(CASE, 0.5, seed).wordings.get("vanilla") for seed in range(4000)]
    np.testing.assert_allclose(np.mean([words is None for words in found]), 0.5, atol=4 * np.sqrt(0.25 / 4000))
    for words in paraphrases("vanilla"):
        np.testing.assert_allclose(found.count(words) / 4000, 0.125, atol=4 * np.sqrt(0.11 / 4000))


def test_own_words_stand_for_a_prompt_of_ones_own_or_replace_the_built_in_ones() -> None:
    perturbation = fitted("prompt_wording", wordings={"mine": [OWN], "vanilla": [OWN]})
    assert perturbation.reworded() == {*STYLES, "mine"}
    changed = perturbation.apply(CASE, 1.0, 3)
    assert changed.wordings["mine"].instruction == changed.wordings["vanilla"].instruction == OWN["instruction"]
    assert "Please, only" in prompt(changed)


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"variant": 5}, "no variant 5: 'vanilla' has 4"),
        ({"variant": 0}, "greater than or equal to 1"),
        ({"wordings": {"think_answer": [OWN]}}, "several formats: think_answer, vanilla"),
        ({"wordings": {"mine": []}}, "at least 1 item"),
        ({"wordings": {"mine": ["polit"]}}, "no prompt called 'polit'"),
    ],
)
def test_what_can_not_be_asked_is_refused(params: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        fitted("prompt_wording", **params)
