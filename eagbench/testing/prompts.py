"""Conformance tests for prompts."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from eagbench.config.settings import RecordTextParams
from eagbench.contracts.prompts import FORMATS, Wording
from eagbench.prompting.answers import FeatureVocabulary, read_answer, write_answer
from eagbench.prompting.record import RecordText
from eagbench.prompting.styles import Style, prompt_with_spans
from eagbench.testing.cases import labelled_cases, odd_cases
from eagbench.testing.component import ComponentConformance


class PromptConformance(ComponentConformance):
    """A prompt shows the record and the format, and an answer in its format is read."""

    kind: ClassVar[str] = "prompt"

    @pytest.fixture
    def style(self, made: Any) -> Style:
        """Make the style that asks in these words."""
        return Style(made.name, made.wording())

    def test_the_words_are_valid_and_survive_json(self, made: Any) -> None:
        """Placeholders stand for something, and the text shows every tag of its format; a manifest holds the words."""
        words = made.wording()
        assert isinstance(words, Wording)
        assert Wording.model_validate(words.model_dump(mode="json")) == words

    def test_the_same_parameters_give_the_same_words(self, made: Any, validated: BaseModel) -> None:
        """Words that vary belong into parameters."""
        assert self.component(validated).wording() == made.wording()

    @pytest.mark.parametrize("instructions", ["full", "short"])
    def test_a_prompt_shows_the_record_and_every_feature(self, style: Style, instructions: Any) -> None:
        """Odd cases included; no placeholder is left over, and the policy writes on a line of its own."""
        for cases in (labelled_cases(3, seed=5).cases, odd_cases()):
            text = RecordText(RecordTextParams(instructions=instructions))
            for case in cases:
                record, own = text.render_with_spans(case, cases)
                prompt, spans = prompt_with_spans(style, case, cases, text)
                assert prompt.count(record) == 1
                assert prompt.endswith("\n")
                assert {name: prompt[slice(*span)] for name, span in spans.items()} == {
                    name: record[slice(*span)] for name, span in own.items()
                }
                if instructions == "full":
                    assert all(tag in prompt for tag in FORMATS[style.format].tags)

    def test_an_answer_in_its_format_is_read(self, style: Style) -> None:
        """The strict reader reads what the words ask for."""
        cases = labelled_cases(1, seed=5).cases
        name = cases.feature_names[0]
        answer = write_answer(style, [("is it high?", "it is")], [name], 0.35, "the question")
        read = read_answer(style, cases.items[0], answer, 9, FeatureVocabulary(cases.features))
        assert read.probability == 0.35
        assert read.cited_features == ((name,) if style.cites_features else None)
